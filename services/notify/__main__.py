"""`python -m services.notify`."""

from shared import process

if __name__ == "__main__":
    process.main(["notify"])
