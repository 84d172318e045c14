"""Contracts: what goes over the topics."""
