"""`python -m services.sla`."""

from shared import process

if __name__ == "__main__":
    process.main(["sla"])
