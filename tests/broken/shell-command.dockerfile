# Its shell is the first process then: it hands no signal on.
# expect: its command is in shell form
# expect: ends on SIGTERM with exit code 137, and did not end within its 15 s
ARG VERSION=latest
FROM os-memcached:${VERSION}
CMD memcached -m 64
