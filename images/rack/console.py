#!/usr/bin/python3
"""rack-console PTY: join our terminal and a node's serial port until Ctrl-] or power off.

virsh could do it, but looks for a polkit agent first, which is not here.
"""

import os
import select
import sys
import termios
import tty

ESCAPE = b"\x1d"  # Ctrl-], as virsh and telnet have it
SIZE = 4096


def join(keyboard: int, screen: int, port: int) -> str:
    """Copy both ways; returns why it ended."""
    while True:
        ready, _, _ = select.select([keyboard, port], [], [])
        if port in ready:
            try:
                data = os.read(port, SIZE)
            except OSError:  # EIO: the other end of the pty is gone
                data = b""
            if not data:
                return "the node was switched off"
            os.write(screen, data)
        if keyboard in ready:
            data = os.read(keyboard, SIZE)
            head, escape, _ = data.partition(ESCAPE)
            os.write(port, head)
            if escape or not data:
                return "detached"


def main(path: str) -> int:
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    before = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
    print("Connected; Ctrl-] leaves, Enter may wake the node's prompt up.", end="\r\n", flush=True)
    try:
        tty.setraw(port)
        if before:
            tty.setraw(keyboard)
        reason = join(keyboard, screen, port)
    finally:
        if before:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
    print(f"\nrack-console: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
