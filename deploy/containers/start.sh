#!/bin/sh
# What an image runs: its service, or the command line with the arguments given. Python takes this process's place.
case "${SERVICE:?names what this image runs}" in
    cli) exec /opt/venv/bin/python -m cli "$@" ;;
    *) exec /opt/venv/bin/python -m "services.$SERVICE" "$@" ;;
esac
