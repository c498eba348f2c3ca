"""The Debian image that everything starts from: a registry's if one answers, else made here from Debian
packages.

OSBOX_DEBIAN names the registry's image to take, for example `registry.example/debian:trixie-slim`; nothing
else will do then.
"""

import hashlib
import os

from osbox import lock, log
from osbox.engine import docker
from osbox.engine import root as engine_root
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error, UserError
from osbox.images import contents
from osbox.site import sources
from osbox.site.site import Paths

TAG = f"osbox-debian:{sources.SUITE}"
PUBLISHED = f"debian:{sources.SUITE}-slim"
SOURCE = "org.opencontainers.image.base.name"
"""The label that tells where it came from: a registry's name for it, or TAG where it was made here.

os-base-image inherits it.
"""
RECIPE = "io.osbox.recipe"  # the label that tells how it was made here
PACKAGES = ("debian-archive-keyring",)
ANSWER_SECONDS = 6
PULL_SECONDS = 300


def ensure(paths: Paths, engine: Engine) -> str:
    """Have the Debian base image and return a digest of its content; it is fetched or made once and then
    kept.

    Raises Error when the image that OSBOX_DEBIAN names cannot be had.
    """
    wanted = os.environ.get("OSBOX_DEBIAN", "")
    with lock.alone(paths.lock("debian"), "The Debian base image is being made"):
        found = docker.image(engine, TAG)
        if not found or (wanted and found.labels.get(SOURCE, "") != wanted) or _is_stale(found):
            if wanted:
                _fetch(paths, engine, wanted)
            elif not _pull(paths, engine):
                _bootstrap(paths, engine)
            found = docker.image(engine, TAG)
    if not found:
        raise Error(f"the image {TAG} was removed while it was made", hint="the same command again")
    # Not its id: that differs between engines, and between two images of the same files.
    return contents.content(found.layers)


def _is_stale(entry: ImageInfo) -> bool:
    """Whether it was made here, and is made in another way now."""
    return entry.labels.get(SOURCE, "") in ("", TAG) and entry.labels.get(RECIPE, "") != _recipe()


def _recipe() -> str:
    return hashlib.sha256("\n".join((*PACKAGES, *engine_root.OPTIONS)).encode()).hexdigest()[:16]


def _pull(paths: Paths, engine: Engine) -> bool:
    """Take the public registry's image, if that answers within seconds."""
    try:
        if (
            docker.docker(engine, "manifest", "inspect", PUBLISHED, check=False, timeout=ANSWER_SECONDS).code
            != 0
        ):
            return False
        _fetch(paths, engine, PUBLISHED)
    except Error:
        return False
    return True


def _fetch(paths: Paths, engine: Engine, name: str) -> None:
    """Take an image of a registry and give it our tag, and the label that tells its source."""
    mine = not docker.image(engine, name)
    with log.step(f"Fetch the Debian base image {name}"), docker.logins(paths, engine) as env:
        result = docker.docker(engine, "pull", "--quiet", name, check=False, timeout=PULL_SECONDS, env=env)
        if result.code != 0:
            hint = (
                "OSBOX_DEBIAN names an image in a registry that this machine reaches; without it,"
                " Debian is made from packages"
            )
            raise UserError(
                f"the Debian base image {name} could not be fetched", evidence=result.err, hint=hint
            )
        words = ["build", "--quiet", "--provenance=false", "--label", f"{SOURCE}={name}", "--tag", TAG, "-"]
        docker.docker(engine, *words, text=f"FROM {name}\n", env=env)
    if mine:
        docker.docker(engine, "image", "rm", name)


def _bootstrap(paths: Paths, engine: Engine) -> None:
    """No registry: the same packages from the host's mirror. Trusted by apt's check of signatures."""
    tar = paths.debian_tar
    with log.step("Make the Debian base image from Debian packages"):
        try:
            engine_root.debootstrap(paths, tar, PACKAGES, variant="apt")
            docker.docker(
                engine, "import", "--change", f"LABEL {SOURCE}={TAG} {RECIPE}={_recipe()}", tar, TAG
            )
        finally:
            tar.unlink(missing_ok=True)
