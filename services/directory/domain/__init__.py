"""What directory knows without any engine: people, access, packs. Pure: time, randomness and ids are arguments."""
