# expect: its health check does not say that it is well again
ARG VERSION=latest
FROM os-memcached:${VERSION}
HEALTHCHECK CMD ["sh", "-c", "test ! -e /tmp/ill && timeout 2 bootstrap health && touch /tmp/well || { test -e /tmp/well && touch /tmp/ill; false; }"]
