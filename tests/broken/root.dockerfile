# expect: runs as root, and no label io.osbox.root says why
ARG VERSION=latest
FROM os-memcached:${VERSION}
USER root
