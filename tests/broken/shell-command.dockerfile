# A shell that takes the signal for itself: what it started never hears of it.
# expect: its command is in shell form
# expect: ends on SIGTERM with exit code 137, and did not end within its 30 s
ARG VERSION=latest
FROM os-memcached:${VERSION}
CMD trap '' TERM; memcached -m 64; true
