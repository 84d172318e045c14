"""Every SQL statement of tickets, by the thing it is about."""
