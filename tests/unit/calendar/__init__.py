"""Business time."""
