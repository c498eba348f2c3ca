# expect: its health check succeeds although the service does not run
# expect: its health check says that it is well while all its processes stand still
ARG VERSION=latest
FROM os-memcached:${VERSION}
HEALTHCHECK CMD ["true"]
