#!/bin/sh
# What an image runs: its service, or the command line or the sink with the arguments given. Python takes this process's place.
case "${SERVICE:?names what this image runs}" in
    sink) exec /opt/venv/bin/python -m deploy.local.sink "$@" ;;
    cli) exec /opt/venv/bin/python -m cli "$@" ;;
    *) exec /opt/venv/bin/python -m "services.$SERVICE" "$@" ;;
esac
