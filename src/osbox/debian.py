"""The Debian image that everything starts from: a registry's if one answers, else made here from Debian packages."""

from osbox import docker, engine, host, log
from osbox.errors import Error
from osbox.model.site import Paths

TAG = f"osbox-debian:{host.SUITE}"
PUBLISHED = f"debian:{host.SUITE}-slim"
ANSWER_SECONDS = 6
PULL_SECONDS = 300


def ensure(paths: Paths, at: engine.Engine) -> str:
    """Have the Debian base image and return its id; it is fetched or made once and then kept."""
    found = docker.inspect(at, "image", TAG)
    if not found:
        if not _pull(at):
            _bootstrap(paths, at)
        found = docker.inspect(at, "image", TAG)
    return str(found[0]["Id"])


def _pull(at: engine.Engine) -> bool:
    """Take the registry's image, if a registry answers within seconds."""
    try:
        if docker.docker(at, "manifest", "inspect", PUBLISHED, check=False, timeout=ANSWER_SECONDS).code != 0:
            return False
        mine = not docker.inspect(at, "image", PUBLISHED)
        with log.step("Fetch the Debian base image from the registry"):
            docker.docker(at, "pull", "--quiet", PUBLISHED, timeout=PULL_SECONDS)
    except Error:
        return False
    docker.docker(at, "tag", PUBLISHED, TAG)
    if mine:
        docker.docker(at, "image", "rm", PUBLISHED)
    return True


def _bootstrap(paths: Paths, at: engine.Engine) -> None:
    """No registry: the same packages from the host's mirror. Trusted by apt's check of signatures."""
    tar = paths.home / "debian.tar"
    with log.step("Make the Debian base image from Debian packages"):
        try:
            engine.debootstrap(paths, tar, ("debian-archive-keyring",), variant="apt")
            docker.docker(at, "import", tar, TAG)
        finally:
            tar.unlink(missing_ok=True)
