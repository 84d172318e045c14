"""`python -m services.search`."""

from shared import process

if __name__ == "__main__":
    process.main(["search"])
