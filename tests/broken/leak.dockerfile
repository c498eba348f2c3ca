# A later layer hides what an earlier one holds; the image has it all the same.
# expect: its settings or its history name the path PLACE
# expect: /srv/hidden holds the path PLACE
# expect: /etc/kept holds the secret of-the-test
ARG VERSION=latest
FROM os-memcached:${VERSION}
USER root
ARG PLACE
RUN echo "built in $PLACE" >/srv/hidden
RUN rm /srv/hidden
RUN --mount=type=secret,id=of-the-test cp /run/secrets/of-the-test /etc/kept
USER stack
