"""`python -m services.escalation`."""

from shared import process

if __name__ == "__main__":
    process.main(["escalation"])
