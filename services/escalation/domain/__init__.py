"""What escalation knows and decides, without a database or a broker."""
