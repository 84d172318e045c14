"""Mechanism and contracts that every service builds on; no business rule."""
