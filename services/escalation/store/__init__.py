"""Every SQL statement of escalation."""
