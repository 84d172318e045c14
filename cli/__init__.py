"""The `deskwire` command."""
