"""What search knows without a database, a broker or an engine."""
