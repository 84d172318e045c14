"""`python -m services.tickets`."""

from shared import process

if __name__ == "__main__":
    process.main(["tickets"])
