"""What the service does, between its ways in (handlers, API, timers) and its store: decide, save, publish."""
