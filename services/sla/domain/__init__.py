"""Clocks as pure functions: of a policy, calendars, a ledger and an instant."""
