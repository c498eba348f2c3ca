"""Lock a release: resolve all its services together, split the result by project, and see whether a lock is
of its inputs."""

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from osbox import checksums, fault, run
from osbox.errors import Error, UserError
from osbox.releases import folder as releases
from osbox.releases import lock, release
from osbox.releases.lock import Change
from osbox.releases.release import Release
from osbox.site import package, sources
from osbox.site.site import Paths

PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
UV_LOCK = Path("base") / "uv.lock.txt"
TIMEOUT_SECONDS = 900  # an empty cache and a slow index
HTTP_SECONDS = 30
RETRIES = 3
CONFLICT, UNREADABLE = "No solution found", "Couldn't parse requirement"
CONFLICT_LINES = 12
EXCLUDED = "excluded.in"


def check(paths: Paths, name: str) -> None:
    """Raise UserError unless the release is here with all its locks, each made of the inputs that are here
    now."""
    folder = releases.require(paths.releases, name)
    carried = package.read(paths.project)
    relock = package.REPAIR if carried else f"osbox lock --release {name}"
    try:
        known = checksums.parse(_text(folder / checksums.FILE))
    except ValueError as error:
        raise UserError(f"releases/{name}/{checksums.FILE}: {error}", hint=relock) from error
    for file in (*release.INPUTS, *release.LOCKS):
        label = f"releases/{name}/{file}"
        if not (folder / file).is_file():
            back = package.REPAIR if carried else f"git checkout -- {label}"
            raise UserError(f"{label} is missing", hint=relock if file in release.LOCKS else back)
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        if known.get(file) != digest:
            what = f"it is older than {file}" if file in release.INPUTS else f"{file} is not what was locked"
            evidence = f"{digest}  {label}, now\n{known.get(file, 'not there'):64}  in {checksums.FILE}"
            raise UserError(
                f"the lock of release {name} is out of date: {what}", evidence=evidence, hint=relock
            )


def refresh(paths: Paths, name: str, *, write: bool = True) -> list[Change]:
    """Resolve a release anew and write its locks, all or none; returns what changed.

    Without write, nothing is touched.
    """
    folder = releases.require(paths.releases, name)
    wanted = releases.read(folder)
    found = _resolve(paths, folder, wanted)
    old = {group: _text(folder / f"{group}.lock") for group in release.GROUPS}
    if write:
        _write(folder, found)
    return lock.changes(old, found)


def _resolve(paths: Paths, folder: Path, wanted: Release) -> dict[str, str]:
    """The text of each lock."""
    uv = _uv(paths)
    with _workplace(paths, folder, wanted) as place:
        resolver = Resolver(wanted, uv, place, _environment(paths, place))
        services = [group for group in release.GROUPS if group != release.RAMDISK]
        parts = lock.split(resolver.packages(services), services)
        parts[release.RAMDISK] = resolver.packages([release.RAMDISK])
    return {group: lock.render(wanted, group, parts[group]) for group in release.GROUPS}


@contextlib.contextmanager
def _workplace(paths: Paths, folder: Path, wanted: Release) -> Iterator[Path]:
    """A directory with the inputs as uv wants them; the index's settings are in it, and go with it."""
    place = paths.tmp
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lock-", dir=place) as directory:
        work = Path(directory)
        for group, lines in wanted.requirements.items():
            (work / f"{group}.in").write_text("".join(f"{line}\n" for line in lines))
        upstream = (folder / release.CONSTRAINTS).read_text()
        (work / release.CONSTRAINTS).write_text(lock.constrain(upstream, wanted.constraints))
        (work / EXCLUDED).write_text("".join(f"{line}\n" for line in wanted.excluded))
        (work / "uv.toml").write_text(sources.uv_toml(sources.pip_config()))
        yield work


@dataclass(frozen=True)
class Resolver:
    """uv, with the inputs of one release in `place`."""

    wanted: Release
    uv: Path
    place: Path
    env: Mapping[str, str]

    def packages(self, groups: Sequence[str]) -> list[lock.Package]:
        """The packages of some groups, resolved together; the same on every platform, or it is an error."""
        results = [lock.parse(self._compile(groups, platform)) for platform in PLATFORMS]
        sets = [{(package.name, package.version) for package in packages} for packages in results]
        if sets[0] != sets[1]:
            odd = ", ".join(f"{name} {version}" for name, version in sorted(sets[0] ^ sets[1]))
            message = f"release {self.wanted.name} is not the same on x86-64 and arm64"
            raise UserError(
                message,
                evidence=odd,
                hint=f"hold these versions in releases/{self.wanted.name}/{release.FILE}",
            )
        return results[0]

    def _compile(self, groups: Sequence[str], platform: str) -> str:
        argv = [
            str(self.uv),
            "pip",
            "compile",
            "--quiet",
            "--python-version",
            self.wanted.python,
            "--python-platform",
            platform,
            "--generate-hashes",
            "--no-header",
            "--no-emit-index-url",
            "--no-emit-find-links",
            "--annotation-style",
            "split",
            "--constraints",
            release.CONSTRAINTS,
            "--excludes",
            EXCLUDED,
            *(f"{group}.in" for group in groups),
        ]
        result = run.run(argv, env=self.env, cwd=self.place, timeout=TIMEOUT_SECONDS, check=False)
        if result.code:
            raise _failed(self.wanted.name, result.err)
        return result.out


def _environment(paths: Paths, place: Path) -> dict[str, str]:
    bundle = sources.ca_bundle()
    return {
        "UV_CONFIG_FILE": str(place / "uv.toml"),
        "UV_CACHE_DIR": str(paths.tools / "uv-cache"),
        "UV_HTTP_TIMEOUT": str(HTTP_SECONDS),
        "UV_HTTP_RETRIES": str(RETRIES),
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
        **({"SSL_CERT_FILE": str(bundle)} if bundle else {}),
    }


def _failed(name: str, output: str) -> Error:
    """What uv's complaint means."""
    evidence = _shortened(output)
    if CONFLICT in output:
        hint = f"change the requirements in releases/{name}/{release.FILE}, then the same command again"
        return UserError(
            f"the requirements of release {name} cannot be met together", evidence=evidence, hint=hint
        )
    if UNREADABLE in output:
        message = f"releases/{name}/{release.FILE} has a requirement that is none"
        return UserError(message, evidence=evidence, hint="put it right, then the same command again")
    known = fault.of_messages(output)
    if known:
        tries = f" (tried {RETRIES + 1} times)" if known.transient else ""
        return Error(known.message + tries, evidence=evidence, hint=known.hint)
    return Error(
        f"release {name} could not be resolved",
        evidence=evidence,
        hint="see that uv reaches its index: pip config list",
    )


def _shortened(output: str) -> str:
    """The first lines of uv's explanation, without its progress and the passwords of an index's address."""
    lines = [line for line in re.sub(r"//[^/@\s]+@", "//", output).splitlines() if line.strip()]
    return "\n".join([*lines[:CONFLICT_LINES], *(["…"] if len(lines) > CONFLICT_LINES else [])])


def _write(folder: Path, locks: Mapping[str, str]) -> None:
    """Write all files beside the old ones, then rename each; the digests come last, so that half a set is
    seen."""
    texts = {f"{group}.lock": text for group, text in locks.items()}
    contents = {
        **{name: (folder / name).read_bytes() for name in release.INPUTS},
        **{name: text.encode() for name, text in texts.items()},
    }
    texts[checksums.FILE] = checksums.render(
        {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    )
    new = {name: folder / f"{name}.new" for name in texts}
    try:
        for name, text in texts.items():
            new[name].write_text(text)
        for name, file in new.items():
            file.rename(folder / name)
    finally:
        for file in new.values():
            file.unlink(missing_ok=True)


def _uv(paths: Paths) -> Path:
    """uv in the version that the images are made with, installed with hashes into the state directory."""
    wanted = paths.images / UV_LOCK
    directory = paths.tools / f"uv-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    if (directory / "bin" / "uv").is_file():
        return directory / "bin" / "uv"
    new = directory.with_name(f"{directory.name}.{os.getpid()}")
    new.parent.mkdir(parents=True, exist_ok=True)
    words = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
        *("--target", str(new)),
        "--no-user",  # whatever pip is told of other places
        "-r",
        str(wanted),
    ]
    try:
        run.run([sys.executable, "-m", "pip", *words], hint="see that pip reaches its index: pip config list")
        with contextlib.suppress(OSError):  # another osbox was quicker
            new.rename(directory)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return directory / "bin" / "uv"


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""
