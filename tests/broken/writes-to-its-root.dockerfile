# expect: started, it ended with exit code 1: bootstrap: OSError: [Errno 30] Read-only file system
ARG VERSION=latest
FROM os-memcached:${VERSION}
USER root
RUN sed -i '1i directories = ["/nowhere"]' /etc/osbox/bootstrap.toml
USER stack
