"""The files of the entrance's certificate in `$OSBOX_HOME/tls`, each written whole.

ca.key           our own authority: certificate and key
installed.pem    a certificate that was installed in place of ours: its chain, its key, then its root
trusted/ca.pem   what clients trust
front/front.pem  what the entrance shows: its chain and its key, as HAProxy's `crt` reads them

The last two follow from the first two, in this order: whoever is killed in between leaves files that are
whole, and the next run makes of them what it would have made. `front` and `trusted` are directories of their
own, for a container sees one of them and nothing else: a mounted file stays the old one when a new one takes
its name.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from osbox import files, lock
from osbox.errors import Error, UserError
from osbox.site import secrets
from osbox.site.site import Paths, Site
from osbox.tls import authority, decide, examine, names, reading
from osbox.tls.authority import Pair
from osbox.tls.decide import Decision, Do
from osbox.tls.reading import File, Problem, Wrong

KEY_ENDS, BEGINS = b"-----END PRIVATE KEY-----", b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Files:
    """Where they are."""

    authority: Path
    installed: Path
    trusted: Path
    front: Path

    @classmethod
    def of(cls, paths: Paths) -> "Files":
        place = paths.tls
        front = place / "front" / "front.pem"
        return cls(place / "ca.key", place / "installed.pem", paths.trusted, front)


@dataclass(frozen=True)
class Kept:
    """What was done. certificate: what to do about it was this, and is done; of an installed one it is told,
    and nobody does it but who issued it. authority: likewise, of our own; None when it was not looked at."""

    installed: bool
    certificate: Decision
    authority: Decision | None = None


def ensure(
    paths: Paths, site: Site, wanted: Sequence[str], now: datetime, *, anew: bool = False, own: bool = False
) -> Kept:
    """Have a certificate for these names that is good for a while, and the authority that it is of.

    anew: another one though this one is good. own: ours, though another one is installed; that is removed.
    """
    at = Files.of(paths)
    with _alone(at):
        if own:
            at.installed.unlink(missing_ok=True)
        if at.installed.exists():
            return _follow(at, now)
        signer, which = _authority(at, site, now)
        _put(at.trusted, signer.pem())
        front = _pair(at.front)
        what = decide.decide(front.certificate if front else None, signer.certificate, wanted, now)
        if anew and what.do is Do.FRESH:
            what = Decision(Do.RENEW, "it was asked for")
        if what.do is not Do.FRESH:
            leaf = authority.leaf(signer, wanted, now)
            _put(at.front, leaf.pem() + signer.pem() + leaf.key_pem())
        else:
            _put(at.front, at.front.read_bytes())  # as it is, with its mode and owner
        return Kept(installed=False, certificate=what, authority=which)


def due(paths: Paths, wanted: Sequence[str], now: datetime) -> Decision:
    """What `ensure` would do, told by the first of the two that is to be made; reads only."""
    at = Files.of(paths)
    if at.installed.exists():
        return Decision(Do.FRESH, "it was installed")
    signer, what = _pair(at.authority), due_authority(paths, now)
    if signer is None or what.do is not Do.FRESH:
        return what
    front = _pair(at.front)
    return decide.decide(front.certificate if front else None, signer.certificate, wanted, now)


def due_authority(paths: Paths, now: datetime) -> Decision:
    """What is to be done about our own authority."""
    signer = _pair(Files.of(paths).authority)
    return decide.decide_authority(signer.certificate if signer else None, now)


def names_here(site: Site) -> tuple[str, ...]:
    """All names and addresses that a certificate of ours is for, on this machine."""
    return names.wanted(site, socket.gethostname())


def install(paths: Paths, found: examine.Examined, now: datetime) -> Kept:
    """Have the entrance show a certificate that was examined, and clients trust its authority."""
    if found.root is None or found.key is None:
        raise ValueError("a certificate is installed with its key and its authority")
    at = Files.of(paths)
    with _alone(at):
        chain = "".join(one.public_bytes(examine.PEM).decode() for one in found.chain)
        root = found.root.public_bytes(examine.PEM).decode()
        _put(at.installed, chain + examine.key_text(found.key) + root)
        return _follow(at, now)


def shown(paths: Paths, wanted: Sequence[str], now: datetime) -> tuple[list[x509.Certificate], list[Problem]]:
    """The certificates that the entrance shows, its own first, and what is wrong with the files; none when
    there are none."""
    at = Files.of(paths)
    if not _is_there(at.front):
        return [], []
    front = File(str(at.front), at.front.read_bytes())
    trusted = File(str(at.trusted), at.trusted.read_bytes() if at.trusted.exists() else b"")
    roots, problems = reading.certificates(trusted)
    found = examine.examine(front, front, roots, now=now, needed=wanted)
    certificates = reading.certificates(front)[0]
    what = [*problems, *found.problems, *(_ending(certificates[0], now) if certificates else [])]
    if not at.installed.exists():  # ours: whatever it is, another one is better
        what = [replace(problem, hint="osbox tls renew") for problem in what]
    return certificates, [*what, *(problem for file in _private(at) for problem in readable(file))]


def leaf(paths: Paths) -> x509.Certificate | None:
    """The certificate that the entrance is to show; None when there is none that can be read."""
    file = Files.of(paths).front
    found = reading.certificates(File(str(file), file.read_bytes()))[0] if _is_there(file) else []
    return found[0] if found else None


def is_installed(paths: Paths) -> bool:
    return _is_there(Files.of(paths).installed)


def trusted(paths: Paths) -> str:
    """What clients have to trust."""
    file = Files.of(paths).trusted
    if not _is_there(file):
        raise UserError("there is no certificate yet, and so no authority", hint="osbox tls renew")
    return file.read_text()


def readable(file: Path) -> list[Problem]:
    """Whether others than its owner can read a file with a key."""
    mode = files.mode_of(file)
    if not mode & 0o077:
        return []
    said = f"{file} can be read by others (mode {mode:o}), and has a key in it"
    return [Problem(Wrong.READABLE, said, f"chmod 600 {file}")]


def _is_there(file: Path) -> bool:
    """As Path.exists, which in newer versions of Python says no of what we may not look at, too."""
    try:
        file.stat()
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _alone(at: Files) -> Iterator[None]:
    """One at a time. The directory itself is the lock; those of the files are there as they have to be."""
    top = at.authority.parent
    files.private_directory(top)
    with lock.alone(top):
        for shown in (at.front.parent, at.trusted.parent):
            files.private_directory(shown)
            if shown.stat().st_uid != secrets.UID:
                os.chown(shown, secrets.UID, secrets.UID)
        yield


def _put(file: Path, text: str | bytes) -> None:
    """Have a file with this content for the containers' user alone, written only when it is another."""
    if not files.is_so(file, text, mode=files.PRIVATE) or file.stat().st_uid != secrets.UID:
        files.write(file, text, mode=files.PRIVATE, owner=secrets.UID)


def _authority(at: Files, site: Site, now: datetime) -> tuple[Pair, Decision]:
    """Our own one; a new one when there is none that can be used. No container needs its key."""
    known = _pair(at.authority)
    what = decide.decide_authority(known.certificate if known else None, now)
    if known and what.do is Do.FRESH:
        at.authority.chmod(files.PRIVATE)
        return known, what
    new = authority.authority(site.name, now)
    files.write(at.authority, new.pem() + new.key_pem(), mode=files.PRIVATE)
    return new, what


def _pair(file: Path) -> Pair | None:
    """A certificate with its own key out of a file; None when it is not there, or not that."""
    if not file.exists():
        return None
    content = File(str(file), file.read_bytes())
    found, key = reading.certificates(content)[0], reading.private_key(content)[0]
    if not found or not isinstance(key, EllipticCurvePrivateKey) or found[0].public_key() != key.public_key():
        return None
    return Pair(found[0], key)


def _follow(at: Files, now: datetime) -> Kept:
    """Have the entrance show what was installed, and clients trust its authority."""
    content = File(str(at.installed), at.installed.read_bytes())
    own, key, root = content.content.partition(KEY_ENDS)
    found, problems = reading.certificates(content)
    if problems or not key or BEGINS not in root:
        raise Error(
            f"the certificate that was installed cannot be read: {at.installed}",
            evidence="\n".join(problem.said for problem in problems),
            hint="osbox tls install CERT KEY CA again, or for one of our own: osbox tls renew --own",
        )
    _put(at.installed, content.content)
    _put(at.trusted, root.lstrip())
    _put(at.front, own + key + b"\n")
    return Kept(installed=True, certificate=decide.ending(found[0], now, decide.BEFORE))


def _ending(certificate: x509.Certificate, now: datetime) -> list[Problem]:
    """Whether it ends soon; of one that has ended another problem tells."""
    what = decide.ending(certificate, now, decide.BEFORE)
    if what.do is Do.FRESH or now >= certificate.not_valid_after_utc:
        return []
    hint = "have another one issued, then: osbox tls install CERT KEY CA"
    return [Problem(Wrong.ENDING, f"the certificate ends soon: {what.why}", hint)]


def _private(at: Files) -> list[Path]:
    return [file for file in (at.authority, at.installed, at.front) if file.exists()]
