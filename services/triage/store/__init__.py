"""Every SQL statement of triage."""
