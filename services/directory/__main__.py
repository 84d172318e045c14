"""`python -m services.directory`."""

from shared import process

if __name__ == "__main__":
    process.main(["directory"])
