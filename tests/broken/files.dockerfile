# Each of these is a test of its own; that they are in one image saves time.
# expect: has the setuid or setgid bit: /usr/local/bin/su
# expect: is writable for everybody: /etc/memcached.conf, /srv
# expect: is left behind (a build tool): /usr/bin/gcc
# expect: is left behind (package lists or a cache): /root/.cache/uv/x, /var/lib/apt/lists/mirror_Packages
# expect: is left behind (settings of the build): /etc/pip.conf
# expect: is left behind (something temporary): /tmp/packages.txt
# expect: is left behind (documentation): /usr/share/man/man1/memcached.1.gz
# expect: is left behind (translations): /usr/share/locale/de/LC_MESSAGES/x.mo
# expect: has no copyright file: the package memcached
ARG VERSION=latest
FROM os-memcached:${VERSION}
USER root
RUN cp /usr/bin/true /usr/local/bin/su && chmod 4755 /usr/local/bin/su && touch /etc/memcached.conf && chmod 666 /etc/memcached.conf && chmod 777 /srv
RUN cd / && for file in usr/bin/gcc root/.cache/uv/x var/lib/apt/lists/mirror_Packages etc/pip.conf tmp/packages.txt \
    usr/share/man/man1/memcached.1.gz usr/share/locale/de/LC_MESSAGES/x.mo; do mkdir -p "${file%/*}" && touch "$file"; done
RUN rm /usr/share/doc/memcached/copyright
USER stack
