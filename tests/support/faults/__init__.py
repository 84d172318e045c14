"""Fault tests: a small service in processes of its own, a journal of what it was given, a checker that names ids."""
