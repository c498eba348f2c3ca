"""The authorities that BMCs' certificates are held against: from a file of this machine to where Ironic reads
it.

`verify_ca` in nodes.yaml is a path of this machine, which the conductor's container does not see. Its
certificates are copied into `$OSBOX_HOME/bmc-ca`, which that container has at INSIDE, under a name made of
their content: a file that was changed has another name, and so reaches the nodes as any difference does.
"""

import hashlib
import re
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from osbox import files, utf8
from osbox.errors import UserError
from osbox.metal.node import Inventory
from osbox.site.site import Paths

INSIDE = Path("/etc/osbox/bmc-ca")
"""Where compose/stack.yaml mounts the directory into ironic-conductor."""
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n?", re.DOTALL)


def certificates(file: Path) -> str:
    """The certificates of a PEM file, and nothing else that is in it: a private key stays where it is.

    Raises UserError when it cannot be read or has none.
    """
    # What stands around the blocks is of any encoding (an issuer's name): a certificate itself is ASCII.
    text = utf8.content(file).decode("ascii", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    found = "".join(f"{block.strip()}\n" for block in BLOCK.findall(text))
    if not found:
        raise UserError(f"{file} has no certificate in it (-----BEGIN CERTIFICATE-----, the format PEM)")
    if not found.isascii():
        raise UserError(f"a certificate in {file} is damaged: it has bytes that are no PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except ssl.SSLError as error:
        raise UserError(f"a certificate in {file} is damaged: {error.reason or 'no PEM'}") from error
    return found


def seen(inventory: Inventory, take: Callable[[str, str], object] = lambda *_: None) -> Inventory:
    """The nodes as Ironic is told of them: each `verify_ca` is the path that the conductor has it at.

    take is called with the name and the text of each file.
    """
    names: dict[Path, str] = {}
    nodes = []
    for node in inventory.nodes:
        file = node.bmc.verify_ca
        if isinstance(file, bool):
            nodes.append(node)
            continue
        if file not in names:
            text = certificates(file)
            names[file] = _name(text)
            take(names[file], text)
        bmc = node.bmc.model_copy(update={"verify_ca": INSIDE / names[file]})
        nodes.append(node.model_copy(update={"bmc": bmc}))
    return Inventory.model_construct(nodes=tuple(nodes))


def one(paths: Paths, file: Path) -> Path:
    """Keep the certificates of a file where the conductor reads them; returns where that is for it."""
    text = certificates(file)
    name = _name(text)
    _take(paths, name, text)
    return INSIDE / name


def keep(paths: Paths, inventory: Inventory) -> Inventory:
    """As `seen`, with the files where the conductor reads them; those of before stay, for a node may name
    them."""
    return seen(inventory, partial(_take, paths))


def _name(text: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.pem"


def _take(paths: Paths, name: str, text: str) -> None:
    files.write_changed(paths.bmc_ca / name, text, mode=files.PUBLIC)
    paths.bmc_ca.chmod(files.PUBLIC_DIRECTORY)  # the conductor is no root, and the umask is a person's
