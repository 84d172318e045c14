#!/bin/sh
# KAFKA_NODE_ID=1 becomes node.id=1, as with the official image; the log folder is formatted once.
# A secret kafka_settings has further settings, with passwords in them; a secret kafka_users has the first users, one a
# line: SCRAM-SHA-512=[name=…,password=…].
set -eu
settings=/data/server.properties
{
    env | grep '^KAFKA_' | grep -v -E '^KAFKA_(HEAP_OPTS|LOG_DIRS)=' | while IFS='=' read -r name value; do
        printf '%s=%s\n' "$(printf '%s' "${name#KAFKA_}" | tr 'A-Z_' 'a-z.')" "$value"
    done
    echo log.dirs=/data/log
    if [ -f /run/secrets/kafka_settings ]; then cat /run/secrets/kafka_settings; fi
} > "$settings"
chmod 600 "$settings"
java="/opt/java/bin/java -Djava.awt.headless=true -Djava.io.tmpdir=/data/tmp"
mkdir -p /data/tmp
if [ ! -e /data/log/meta.properties ]; then
    set --
    if [ -f /run/secrets/kafka_users ]; then
        while read -r user; do set -- "$@" --add-scram "$user"; done < /run/secrets/kafka_users
    fi
    $java -Xmx128m -cp '/opt/kafka/*' kafka.tools.StorageTool format --ignore-formatted \
        -t "${CLUSTER_ID:?a cluster id is needed}" -c "$settings" "$@"
fi
# shellcheck disable=SC2086 # options are several words
exec $java ${KAFKA_HEAP_OPTS:--Xmx384m} -XX:+ExitOnOutOfMemoryError -cp '/opt/kafka/*' kafka.Kafka "$settings"
