#!/bin/sh
# select.sh SERVICE SOURCE TARGET: copy what the image of one service runs.
set -eu
service=$1 source=$2 target=$3
mkdir -p "$target/services"
cp "$source/deploy/containers/start.sh" "$source/deploy/containers/livez.py" "$target/"
[ "$service" = sink ] || cp -R "$source/shared" "$target/"
if [ "$service" = cli ]; then
    # The command line knows every service: schemas, settings, `deskwire run`.
    cp -R "$source/cli" "$source/services" "$target/"
    mkdir -p "$target/deploy"
    cp -R "$source/deploy/__init__.py" "$source/deploy/policies" "$target/deploy/"
elif [ "$service" = sink ]; then
    # For trials: what takes the mails and webhooks that an installation sends out (compose.trial.yaml).
    mkdir -p "$target/deploy/local"
    cp "$source/deploy/__init__.py" "$target/deploy/"
    cp -R "$source/deploy/local/__init__.py" "$source/deploy/local/sink" "$target/deploy/local/"
elif [ -e "$source/services/$service/__main__.py" ]; then
    cp "$source/services/__init__.py" "$target/services/"
    cp -R "$source/services/$service" "$target/services/"
else
    echo "there is no service $service" >&2
    exit 1
fi
