#!/bin/sh
# select.sh SERVICE SOURCE TARGET: copy what the image of one service runs.
set -eu
service=$1 source=$2 target=$3
mkdir -p "$target/services"
cp "$source/deploy/containers/start.sh" "$source/deploy/containers/livez.py" "$target/"
cp -R "$source/shared" "$target/"
if [ "$service" = cli ]; then
    # The command line knows every service: schemas, settings, `deskwire run`.
    cp -R "$source/cli" "$source/services" "$target/"
    mkdir -p "$target/deploy"
    cp -R "$source/deploy/__init__.py" "$source/deploy/policies" "$target/deploy/"
elif [ -e "$source/services/$service/__main__.py" ]; then
    cp "$source/services/__init__.py" "$target/services/"
    cp -R "$source/services/$service" "$target/services/"
else
    echo "there is no service $service" >&2
    exit 1
fi
