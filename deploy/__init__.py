"""How Deskwire is run: on one machine without containers (`local`), as images, and on a cluster."""
