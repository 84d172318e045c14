"""`python -m services.console`."""

from shared import process

process.main(["console"])
