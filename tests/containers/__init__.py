"""The whole in containers, played by `make compose-test`: not part of `make test`, since it needs a Docker daemon."""
