"""Every SQL statement of sla."""
