"""The rules of the desk, without engines."""
