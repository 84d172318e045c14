"""What notify does, between its ways in (handlers, API, tasks) and its store: decide, save, publish."""
