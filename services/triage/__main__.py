"""`python -m services.triage`."""

from shared import process

if __name__ == "__main__":
    process.main(["triage"])
