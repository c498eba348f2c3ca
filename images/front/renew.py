#!/usr/bin/env python3
"""front-renew: have the HAProxy that runs show the certificate that is in its file now.

Connections that are open go on, new ones see the new one; a reload would close those that are idle. HAProxy
keeps what it is told in its memory: at its next start it reads the file.
"""

import os
import socket
import sys
from pathlib import Path

SOCKET, SECONDS = "/run/osbox/front.sock", 10


def ask(words: str) -> str:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(SECONDS)
        link.connect(SOCKET)
        link.sendall(words.encode() + b"\n")
        link.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: link.recv(4096), b"")).decode().strip()


def main() -> int:
    file = os.environ["FRONT_TLS"]
    text = "\n".join(
        filter(None, Path(file).read_text(encoding="ascii").splitlines())
    )  # an empty line ends it
    said = ask(f"set ssl cert {file} <<\n{text}\n")
    done = ask(f"commit ssl cert {file}")
    if "Success" not in done:
        print(said, done, sep="\n", file=sys.stderr)
        ask(f"abort ssl cert {file}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
