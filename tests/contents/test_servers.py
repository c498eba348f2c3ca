"""Whether a login prompt on a console means that a server is up."""

import pytest

from osbox.contents import servers
from osbox.errors import Error

BIOS = "SeaBIOS (version 1.16.3)\nBooting from Hard Disk...\n"


def test_a_prompt_of_this_boot() -> None:
    text = f"{BIOS}Linux\nbm-node-1 login: cloud-init still talks"
    assert servers.wait_login(lambda: text, "bm-node-1").endswith("bm-node-1 login:")


@pytest.mark.parametrize("banner", ["SeaBIOS (version 1.16.3)", 'BdsDxe: starting Boot0001 "UEFI"'])
def test_a_prompt_of_the_boot_before_is_none(banner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOGIN_SECONDS", 0)
    with pytest.raises(Error, match="no `bm-node-1 login:`"):
        servers.wait_login(lambda: f"{BIOS}bm-node-1 login: \n{banner}\nBooting", "bm-node-1")


def test_the_prompt_of_another_host_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOGIN_SECONDS", 0)
    with pytest.raises(Error, match="login:"):
        servers.wait_login(lambda: f"{BIOS}localhost login:", "bm-node-1")
