# expect: ends on SIGTERM with exit code 137, and did not end within its 15 s
ARG VERSION=latest
FROM os-memcached:${VERSION}
CMD ["sh", "-c", "trap '' TERM; memcached & while :; do sleep 1; done"]
