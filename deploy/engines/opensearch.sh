#!/bin/sh
# Variables with dots (discovery.type=single-node) become settings, as with the official image. They are read from the
# kernel, since the shell drops variables that it could not name.
set -eu
home=/opt/opensearch
mkdir -p /data/config /data/tmp /data/data /data/logs
cp -n "$home/config/log4j2.properties" /data/config/
{
    echo "cluster.name: deskwire"
    echo "network.host: 0.0.0.0"
    echo "path.data: /data/data"
    echo "path.logs: /data/logs"
    tr '\0' '\n' < "/proc/$$/environ" | grep -E '^[a-z_]+(\.[a-z_]+)+=' | sed 's/=/: /'
} > /data/config/opensearch.yml
# shellcheck disable=SC2086 # options are several words
exec /opt/java/bin/java -Xms512m -Xmx512m ${OPENSEARCH_JAVA_OPTS:-} -Xss1m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError \
    -Dopensearch.networkaddress.cache.ttl=60 -Dopensearch.networkaddress.cache.negative.ttl=10 \
    -Djava.awt.headless=true -Dfile.encoding=UTF-8 -Djna.nosys=true -Dio.netty.noUnsafe=true \
    -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true -Djava.locale.providers=SPI,CLDR \
    --add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED \
    -Djava.io.tmpdir=/data/tmp -javaagent:$home/agent/opensearch-agent.jar \
    -Dopensearch.path.home=$home -Dopensearch.path.conf=/data/config \
    -Dopensearch.distribution.type=docker -Dopensearch.bundled_jdk=false \
    -cp "$home/lib/*" org.opensearch.bootstrap.OpenSearch
