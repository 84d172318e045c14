"""Reading mail as the world sends it: pure functions over bytes that never raise and never take long."""
