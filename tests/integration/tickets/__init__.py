"""Tickets on a real database, and on a real broker where order and time matter."""
