# expect: started, it ended with exit code 1
ARG VERSION=latest
FROM os-memcached:${VERSION}
CMD ["false"]
