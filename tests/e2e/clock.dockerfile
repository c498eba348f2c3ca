# libfaketime as Debian 13 has it: the one of Debian 12 does not know how Python 3.13 sleeps (EINVAL).
FROM os-base-image:latest AS package
USER root
RUN --mount=type=secret,id=apt_sources --mount=type=secret,id=apt_conf --mount=type=secret,id=ca \
    --mount=type=cache,id=apt-lists,target=/var/lib/apt/lists --mount=type=cache,id=apt-clock,target=/var/cache/apt \
    apt-install libfaketime && cp /usr/lib/*/faketime/libfaketimeMT.so.1 /

FROM scratch AS library
COPY --from=package /libfaketimeMT.so.1 /
