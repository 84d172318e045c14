"""What the service does, between its ways in (handlers, tasks, API) and its store: read, decide, save, tell."""
