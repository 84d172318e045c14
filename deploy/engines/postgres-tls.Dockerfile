# PostgreSQL from a package that was built with TLS, which the one of `make engine-images` was not: for `make secure-test`.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN groupadd --system --gid 10001 engine \
 && useradd --system --uid 10001 --gid engine --home-dir /data --no-create-home --shell /usr/sbin/nologin engine \
 && install -d -o engine -g engine -m 0750 /data
VOLUME /data
COPY postgres /opt/postgres
COPY postgres.sh /usr/local/bin/start
STOPSIGNAL SIGINT
USER engine
EXPOSE 5432
ENTRYPOINT ["/usr/local/bin/start"]
CMD ["postgres"]
