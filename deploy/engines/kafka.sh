#!/bin/sh
# KAFKA_NODE_ID=1 becomes node.id=1, as with the official image; the log folder is formatted once.
set -eu
settings=/data/server.properties
{
    env | grep '^KAFKA_' | grep -v -E '^KAFKA_(HEAP_OPTS|LOG_DIRS)=' | while IFS='=' read -r name value; do
        printf '%s=%s\n' "$(printf '%s' "${name#KAFKA_}" | tr 'A-Z_' 'a-z.')" "$value"
    done
    echo log.dirs=/data/log
} > "$settings"
java="/opt/java/bin/java -Djava.awt.headless=true -Djava.io.tmpdir=/data/tmp"
mkdir -p /data/tmp
if [ ! -e /data/log/meta.properties ]; then
    $java -Xmx128m -cp '/opt/kafka/*' kafka.tools.StorageTool format --ignore-formatted \
        -t "${CLUSTER_ID:?a cluster id is needed}" -c "$settings"
fi
# shellcheck disable=SC2086 # options are several words
exec $java ${KAFKA_HEAP_OPTS:--Xmx384m} -XX:+ExitOnOutOfMemoryError -cp '/opt/kafka/*' kafka.Kafka "$settings"
