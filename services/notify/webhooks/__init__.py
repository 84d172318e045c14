"""Webhooks at work: choosing whom a fact is sent to, sending, what became of it."""
