"""Every SQL statement of ingest, one file for each thing stored."""
