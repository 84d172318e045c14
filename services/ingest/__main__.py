"""`python -m services.ingest`."""

from shared import process

process.main(["ingest"])
