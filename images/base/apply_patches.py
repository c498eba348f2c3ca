"""Apply our patches to the Python packages of a virtual environment: apply_patches.py FOLDER VENV

A patch is a unified diff (-p1, from site-packages) under a header as Debian's patches have it (DEP-3,
dep-team.debian.net/deps/dep3): `X-Package` names the package, `Applied-Upstream` its first version that needs
the patch no more (`not yet`: none has the change); it is for every older one. One that does not fit, though
the package is older, ends the build: a package that changed is looked at by a person. What was applied is
copied to VENV/patches, for `osbox images sbom` and `verify`, and the package's RECORD tells the digests of
the files as they are now.

Ours is GNU patch as os-builder has it, beside this file. Standard library only: it runs with the Python of
the image.
"""

import base64
import csv
import hashlib
import re
import shutil
import subprocess
import sys
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path

FILE = re.compile(r"^\+\+\+ [^/\s]+/(\S+)", re.MULTILINE)
NOT_YET = "not yet"
KEYS = ("Description", "Applied-Upstream", "X-Package")


def main(folder: Path, venv: Path) -> None:
    """Raises SystemExit with one line that names the patch and the package."""
    site = next(venv.glob("lib/python*/site-packages"))
    found = {_canonical(item.metadata["Name"]): item for item in distributions(path=[str(site)])}
    for file in sorted(folder.glob("*.patch")):
        header = HeaderParser().parsestr(file.read_text(encoding="utf-8"))
        missing = [key for key in KEYS if not header[key]]
        if missing:
            sys.exit(f"the patch {file.name} does not say its {missing[0]}")
        item = found.get(_canonical(header["X-Package"]))
        # A layer on top of another one finds done what was done there.
        if (
            item
            and is_for(item.version, header["Applied-Upstream"])
            and not (venv / "patches" / file.name).exists()
        ):
            apply(file, header, item, site)
            (venv / "patches").mkdir(exist_ok=True)
            shutil.copyfile(file, venv / "patches" / file.name)


def is_for(installed: str, upstream: str) -> bool:
    """Whether a version needs a patch that is in upstream's since another one, or `not yet` in any."""
    return upstream == NOT_YET or version(installed) < version(upstream)


def apply(file: Path, header: "Message[str, str]", item: Distribution, site: Path) -> None:
    """Change the files of one package; all of them, or SystemExit and none."""
    words = [
        str(Path(__file__).with_name("patch")),
        "--batch",
        "--forward",
        "--fuzz=0",
        "--strip=1",
        "--no-backup-if-mismatch",
    ]
    words += ["--reject-file=-", f"--input={file.resolve()}"]
    for more in (["--dry-run"], []):
        done = subprocess.run(
            [*words, *more], cwd=site, capture_output=True, text=True, check=False, encoding="utf-8"
        )
        if done.returncode:
            said = " ".join((done.stdout + done.stderr).split())
            sys.exit(
                f"the patch {file.name} does not fit {header['X-Package']} {item.version}: {said}\nMake it"
                " fit again (images/base/patches); if upstream has the change, set Applied-Upstream to"
                f" {item.version}"
            )
    note(site, item, FILE.findall(file.read_text(encoding="utf-8")))


def note(site: Path, item: Distribution, changed: list[str]) -> None:
    """Have the package's RECORD say what the changed files are now (packaging.python.org, "Recording
    installed projects")."""
    record = next(site.glob(f"{re.sub(r'[-_.]+', '_', item.metadata['Name'])}-*.dist-info/RECORD"))
    with record.open(encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))
    for row in rows:
        if row and row[0] in changed:
            content = (site / row[0]).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            row[1:] = [f"sha256={digest}", str(len(content))]
    with record.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text, lineterminator="\n").writerows(rows)


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version; those of OpenStack's libraries have nothing else."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
