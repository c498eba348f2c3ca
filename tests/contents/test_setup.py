"""The cloud's first contents: what is there, and what others wrote into it, is left alone."""

from types import SimpleNamespace
from typing import Any

import pytest

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


BASE = {
    "resources:CUSTOM_BAREMETAL": "1",
    "resources:VCPU": "0",
    "resources:MEMORY_MB": "0",
    "resources:DISK_GB": "0",
}


@pytest.mark.parametrize(
    ("there", "sent"),
    [
        (None, BASE),
        ({}, BASE),
        (BASE, {}),
        (BASE | {"trait:CUSTOM_GPU": "required", "capabilities:boot_mode": "uefi"}, {}),
        (BASE | {"resources:VCPU": "1", "trait:CUSTOM_GPU": "required"}, {"resources:VCPU": "0"}),
    ],
)
def test_an_operators_own_words_in_the_flavor_are_no_difference(
    there: dict[str, str] | None, sent: dict[str, str]
) -> None:
    """With one extra spec more the flavor was "changed" at every run."""
    asked = []

    class Compute:
        def find_flavor(self, _: str, *, get_extra_specs: bool) -> Any:
            assert get_extra_specs
            return None if there is None else SimpleNamespace(extra_specs=dict(there))

        def create_flavor(self, **_: Any) -> Any:
            return SimpleNamespace(extra_specs={})

        def create_flavor_extra_specs(self, _: Any, specs: dict[str, str]) -> None:
            asked.append(specs)

    cloud: Any = SimpleNamespace(compute=Compute())
    assert setup.flavor(cloud) == (["flavor baremetal"] if sent else [])
    assert asked == ([sent] if sent else [])
