"""The cloud's first contents: what is there, and what others wrote into it, is left alone."""

from types import SimpleNamespace
from typing import Any

from osbox.contents import setup
from osbox.site.site import Paths


def test_half_a_key_of_a_killed_run_is_not_taken_for_the_key(paths: Paths) -> None:
    """Killed while it wrote: what is there is of another name, and the key is made anew."""

    class Compute:
        def find_keypair(self, _: str) -> None:
            return None

        def create_keypair(self, **_: str) -> None:
            return None

    paths.home.mkdir(parents=True)
    (paths.home / "id_ed25519.new").write_text("-----BEGIN OPENSSH")
    cloud: Any = SimpleNamespace(compute=Compute())
    assert setup.key_pair(cloud, paths) == [f"key {paths.home / 'id_ed25519'}", "key pair osbox"]
    assert (paths.home / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert not (paths.home / "id_ed25519.new").exists()
    assert setup.key_pair(cloud, paths) == ["key pair osbox"]
