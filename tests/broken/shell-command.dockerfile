# expect: its command is in shell form
ARG VERSION=latest
FROM os-memcached:${VERSION}
CMD memcached -m 64
