# expect: has no health check in exec form
# expect: started, and nothing says whether it is well
ARG VERSION=latest
FROM os-memcached:${VERSION}
HEALTHCHECK NONE
