"""Measurements against a bare figure of the same run: `make bench`."""
