"""Root file systems made of Debian packages by mmdebstrap, which needs nothing installed on the host; the
private engine's is one.

The engine's root also brings the packet filter's tools: `tools` reaches them when no engine runs.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osbox import files, log, run
from osbox.errors import Error
from osbox.site import sources
from osbox.site.site import Paths

PACKAGES = (
    "ca-certificates",
    "docker-buildx",
    "docker-cli",
    "docker-compose",
    "docker.io",
    "iptables",
    "mount",
    "nftables",
)
EPOCH = "1704067200"  # 2024-01-01: any date will do that never changes
OPTIONS = (
    '--aptopt=Apt::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=force-unsafe-io",
    # Removed afterwards: with dpkg's path-exclude, mmdebstrap passes every package through a filter in
    # Python, which takes longer than all else together. A link in doc/ itself is a package whose copyright is
    # another one's.
    (
        '--customize-hook=cd "$1"/usr/share && rm -rf man/* locale/* info/* && find doc -mindepth 2 ! -type d'
        " ! -name copyright -delete && find doc -mindepth 1 -type d -empty -delete"
    ),
    # The mirror is this host's business: builds get it as a secret.
    (
        '--customize-hook=rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*'
        ' "$1"/etc/apt/apt.conf.d/99mmdebstrap'
    ),
    # Nobody there needs a program that lends root's rights.
    '--customize-hook=find "$1" -xdev -type f -perm /6000 -exec chmod a-s {} +',
)
"""How every root file system is made: mmdebstrap's options."""
# A tar is made of a root that nobody needs afterwards: in memory it takes a third less time. It needs 300 MB
# (of a base of 90 packages).
IN_MEMORY = ("sh", "-c", 'mount -t tmpfs -o size=1g,mode=755 tmpfs "$TMPDIR" && exec "$@"', "sh")
MEMORY_BYTES = 2 << 30  # available at least, or the disk is used
RECIPE = "etc/osbox-engine"  # what the root file system was made of
# Whatever ends us, `kill -9` too, ends mmdebstrap and all it started, and takes its mounts away.
CONTAINED = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
)


def ensure(paths: Paths) -> Path:
    """The private engine's root file system; it is made when there is none, or one of another recipe."""
    root = paths.engine / "root"
    if not is_current(root):
        with log.step("Make the private engine from Debian packages"):
            _bootstrap(paths)
    return root


def tools(paths: Paths) -> tuple[str, ...]:
    """What goes in front of a command to run the engine root's own program without an engine; () if there is
    no root."""
    root = paths.engine / "root"
    if not (root / RECIPE).exists():
        return ()
    # A change of root, not of mounts: nothing is there to be left behind when this is killed.
    return ("chroot", str(root), "/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")


def remove_tree(top: Path) -> None:
    """Remove a directory, if it is there, with all that is in it; never crosses into a mount."""
    require_unmounted(top)
    if top.exists():
        shutil.rmtree(top)


def require_unmounted(top: Path) -> None:
    """Raise Error when something is mounted below a directory that is to be removed."""
    real = top.resolve()  # as the kernel names mounts
    mounts = [str(point) for point in _mount_points() if real in point.parents]
    if mounts:
        hint = "umount " + " ".join(reversed(mounts))
        raise Error(
            f"{top} is not removed: something is mounted in it", evidence="\n".join(mounts), hint=hint
        )


def _mount_points() -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    # The kernel writes blanks, tabs, newlines and backslashes as \ooo.
    return [
        Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4])) for line in lines
    ]


def _bootstrap(paths: Paths) -> None:
    with replacing(paths) as new:
        debootstrap(paths, new, PACKAGES, variant="apt")
        (new / RECIPE).write_text(recipe())


@contextmanager
def replacing(paths: Paths) -> Iterator[Path]:
    """A directory to make the root in; it becomes the root when the block has ended.

    Of a failure nothing is left.
    """
    root = paths.engine / "root"
    paths.engine.mkdir(parents=True, exist_ok=True)
    for old in paths.engine.glob("root.*"):
        remove_tree(old)
    new = Path(tempfile.mkdtemp(prefix="root.new-", dir=paths.engine))
    try:
        new.chmod(0o755)
        yield new
        if root.exists():
            root.rename(new.with_name("root.old"))
        new.rename(root)
    finally:
        for rest in (new, new.with_name("root.old")):
            remove_tree(rest)


def is_current(root: Path) -> bool:
    file = root / RECIPE
    return file.exists() and file.read_text() == recipe()


def recipe() -> str:
    """What a root that is made now is made of."""
    return " ".join((sources.SUITE, *PACKAGES))


def debootstrap(paths: Paths, target: Path, packages: tuple[str, ...], *, variant: str) -> None:
    """Make a Debian root file system (a directory, or a tar file by its name) from the host's own mirror.

    Raises Error that names the mirror's answer when packages cannot be had, or says that the disk is full.
    """
    tools_at, scratch = _mmdebstrap(paths), paths.tmp
    scratch.mkdir(parents=True, exist_ok=True)
    settings = scratch / "apt.conf"  # a file: a proxy's password must not stand on a command line
    trusted = str(sources.apt_ca() or sources.ca_bundle() or sources.SYSTEM_CA)
    files.write(settings, sources.apt_conf(trusted), mode=files.PRIVATE, shared=True)
    # With a date of its own mmdebstrap writes the same bytes for the same packages.
    work = scratch / "root"
    work.mkdir(exist_ok=True)
    env = {
        "PATH": f"{tools_at}/usr/bin:{os.environ['PATH']}",
        "TMPDIR": str(work),
        "SOURCE_DATE_EPOCH": EPOCH,
    }
    argv = [
        *CONTAINED,
        *(IN_MEMORY if target.suffix == ".tar" and sources.memory()["MemAvailable"] > MEMORY_BYTES else ()),
        "perl",
        f"{tools_at}/usr/bin/mmdebstrap",
        f"--variant={variant}",
        "--mode=root",
        f"--include={','.join(packages)}",
        *OPTIONS,
        f"--aptopt={settings}",
        *_keyring(tools_at),
        sources.SUITE,
        str(target),
        *sources.apt_mirrors(),
    ]
    result = run.run(argv, env=env, check=False)
    if result.code != 0:
        raise _why(paths, argv, result)


def _why(paths: Paths, argv: list[str], result: run.Result) -> Error:
    said = result.err or result.out
    full = [
        line for line in said.splitlines() if os.strerror(errno.ENOSPC) in line or "enough free space" in line
    ]
    if full:
        hint = "free some space, or set OSBOX_HOME to a directory on a larger disk"
        return Error(
            f"the disk under {paths.home} is full",
            evidence=run.tail("\n".join(dict.fromkeys(full)), 3),
            hint=hint,
        )
    wrong = [
        line
        for line in said.splitlines()
        if line.startswith(("E: Failed to fetch", "E: Unable to locate", "W: Failed"))
    ]
    if wrong:
        hint = (
            "the Debian package mirror must be reachable: try `apt-get update`, or name another:"
            " OSBOX_MIRROR=http://…"
        )
        return Error(
            "Debian packages could not be had",
            evidence=run.tail("\n".join(dict.fromkeys(wrong)), 3),
            hint=hint,
        )
    return run.failed(argv, result.code, said)


def _mmdebstrap(paths: Paths) -> Path:
    """mmdebstrap is a Perl script: it is taken from its package without being installed on the host."""
    if shutil.which("mmdebstrap"):
        return Path("/")
    place = paths.tools
    if not (place / "usr/bin/mmdebstrap").exists():
        place.mkdir(parents=True, exist_ok=True)
        wanted = ["mmdebstrap"] + (
            []
            if Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists()
            else ["debian-archive-keyring"]
        )
        for package in wanted:
            if run.run(["apt-get", "download", "-q", package], cwd=place, check=False).code != 0:
                run.run(["apt-get", "update", "-q"], hint="`apt-get update` must work on this machine")
                run.run(["apt-get", "download", "-q", package], cwd=place, hint=f"apt-get install {package}")
        for deb in place.glob("*.deb"):
            run.run(["dpkg-deb", "-x", str(deb), str(place)])
            deb.unlink()
    return place


def _keyring(tools_at: Path) -> list[str]:
    own = tools_at / "usr/share/keyrings"
    return [f"--keyring={own}"] if own.is_dir() and tools_at != Path("/") else []
