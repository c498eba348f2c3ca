# expect: its entry point is ['sh', '-c', 'true'], not bootstrap
# expect: without secrets it says, with exit code 0: nothing
# expect: with nothing reachable it says, with exit code 0: nothing
# expect: it ended with exit code 0
ARG VERSION=latest
FROM os-placement:${VERSION}
ENTRYPOINT ["sh", "-c", "true"]
