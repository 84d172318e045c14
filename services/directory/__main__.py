"""`python -m services.directory`."""

from shared.process import main

main(["directory"])
