"""iPXE scripts, as far as Ironic writes them: which file comes next, which kernel and ramdisk are booted.

Pure.

Every command is taken to succeed, so what stands behind `||` is not followed; conditional lines (iseq, isset)
are passed over.
"""

import re
from dataclasses import dataclass
from urllib.parse import urljoin

MAGIC = "#!ipxe"
MAC = re.compile(r"\$\{(?:net\$\{netid\}/|net\d+/)?mac(:\w+)?\}")
CONDITIONAL = ("iseq", "isset")
STEPS = 300  # more than any script of Ironic's has lines; a loop ends here


@dataclass(frozen=True)
class Boot:
    """What a script ends in: a kernel with its ramdisk and words, the machine's own disk, or nothing that we
    understand."""

    kernel: str = ""
    initrd: str = ""
    words: str = ""
    disk: bool = False


def is_script(text: str) -> bool:
    return text.lstrip().startswith(MAGIC)


def chained(script: str, url: str, mac: str) -> str:
    """The address of the first file that a script goes on to, with this MAC address filled in; "" when it
    names none."""
    for line in script.splitlines():
        words = line.split(" || ")[0].split()
        if "chain" in words:
            target = _target(words[words.index("chain") + 1 :])
            return urljoin(url, _filled(target, mac)) if target else ""
    return ""


def follow(script: str, url: str, mac: str) -> Boot:
    """Run through a script from its top to where it boots."""
    lines = [line.strip() for line in script.splitlines()]
    labels = {
        line[1:].split()[0]: n for n, line in enumerate(lines) if line.startswith(":") and len(line) > 1
    }
    at, kernel, initrd, words = 0, "", "", ""
    for _ in range(STEPS):
        if at >= len(lines):
            break
        command, *rest = lines[at].split(" || ")[0].split() or [""]
        at += 1
        if command in CONDITIONAL or command.startswith(("#", ":")):
            continue
        if command == "goto" and rest and rest[0] in labels:
            at = labels[rest[0]]
        elif command == "kernel":
            target = _target(rest)
            kernel, words = (
                urljoin(url, _filled(target, mac)),
                _filled(" ".join(rest[rest.index(target) + 1 :] if target else []), mac),
            )
        elif command == "initrd":
            initrd = urljoin(url, _filled(_target(rest), mac))
        elif command in ("boot", "sanboot"):
            return Boot(kernel, initrd, words, disk=command == "sanboot" or not kernel)
    return Boot(kernel, initrd, words)


def _target(words: list[str]) -> str:
    """The first word that is neither an option nor an option's value (`--timeout 60000`)."""
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("--"):
            skip = "=" not in word and word in ("--timeout", "--name")
        elif not word.startswith("-"):
            return word
    return ""


def _filled(text: str, mac: str) -> str:
    def spelled(found: re.Match[str]) -> str:
        return mac.lower().replace(":", "-") if found[1] == ":hexhyp" else mac.lower()

    return MAC.sub(spelled, text)
