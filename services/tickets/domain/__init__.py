"""What a ticket is and what may happen to it: pure values and functions; time, ids and randomness are arguments."""
