"""The host's package settings, read from the files that hold them."""

from pathlib import Path

import pytest

from osbox.site import sources
from osbox.site.site import Paths

MIRRORS = {
    "one line": ("# comment\ndeb http://mirror.example/debian trixie main\n", "http://mirror.example/debian"),
    "with options": (
        "deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://mirror.example/debian trixie main",
        "https://mirror.example/debian",
    ),
    "source first": ("deb-src http://a.example/ x\ndeb http://b.example/ x main", "http://b.example/"),
    "deb822": (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n",
        "http://mirror.example/debian",
    ),
    "nothing": ("# deb http://mirror.example/debian trixie main\n", ""),
    "empty": ("", ""),
    "cd-rom": ("deb cdrom:[Debian]/ trixie main", ""),
}


@pytest.mark.parametrize(("text", "mirror"), MIRRORS.values(), ids=MIRRORS.keys())
def test_first_mirror(text: str, mirror: str) -> None:
    assert sources.first_mirror(text) == mirror


@pytest.fixture
def pip_file(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://index.example/simple\n"
        "extra-index-url = file:///opt/local https://more.example/simple\n    http://third.example/simple\n"
        "trusted-host = a.example\n  b.example\n[install]\nindex-url = https://not.example/\n"
    )
    return {"PIP_CONFIG_FILE": str(file)}


def test_pip_settings_that_reach_an_index(pip_file: dict[str, str]) -> None:
    assert sources.pip_config(pip_file) == {
        "index-url": "https://index.example/simple",
        "extra-index-url": "https://more.example/simple http://third.example/simple",
        "trusted-host": "a.example b.example",
    }


def test_the_environment_wins(pip_file: dict[str, str]) -> None:
    assert (
        sources.pip_config({**pip_file, "PIP_INDEX_URL": "http://env.example/"})["index-url"]
        == "http://env.example/"
    )


def test_the_same_in_the_words_of_uv() -> None:
    settings = {"index-url": "https://i/", "extra-index-url": "https://a/ https://b/", "trusted-host": "h"}
    assert (
        sources.uv_toml(settings)
        == 'index-url = "https://i/"\nextra-index-url = ["https://a/", "https://b/"]\nallow-insecure-host ='
        ' ["h"]\n'
    )
    assert sources.uv_toml({}) == sources.pip_conf({}) == ""


def test_pips_proxy_and_certificate(tmp_path: Path) -> None:
    bundle = tmp_path / "private.pem"
    bundle.touch()
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nproxy = http://u:p@proxy.example:3128\ncert = {bundle}\n")
    env = {"PIP_CONFIG_FILE": str(file), "PIP_TIMEOUT": "5"}
    assert sources.pip_config(env) == {"proxy": "http://u:p@proxy.example:3128", "timeout": "5"}
    assert sources.ca_bundle(env) == bundle
    assert (
        sources.uv_toml(sources.pip_config(env))
        == 'http-proxy = "http://u:p@proxy.example:3128"\nhttps-proxy = "http://u:p@proxy.example:3128"\n#'
        " timeout = 5\n"
    )


def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """What of apt's settings on a machine reaches a build."""
    (tmp_path / "apt.conf").write_text(text)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return sources.apt_conf()


def test_apts_own_settings_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = apt(
        tmp_path,
        monkeypatch,
        'Acquire { http::Proxy "http://u:p@proxy.example:3142"; http::Timeout "3"; Retries "1"; };\n',
    )
    assert 'Acquire::http::Proxy "http://u:p@proxy.example:3142";' in said
    assert said.index('Timeout "20"') < said.index('Acquire::http::Timeout "3"')
    assert said.index('Retries "2"') < said.index('Acquire::Retries "1"')
    assert "Dir" not in said


def test_a_proxy_that_apt_detects_is_asked_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "detect"
    program.write_text("#!/bin/sh\necho http://found.example:3142\n")
    program.chmod(0o755)
    assert 'Acquire::http::Proxy "http://found.example:3142";' in apt(
        tmp_path, monkeypatch, f'Acquire::http::Proxy-Auto-Detect "{program}";\n'
    )
    program.write_text("#!/bin/sh\necho DIRECT\n")
    assert "Proxy" not in sources.apt_conf()
    program.unlink()
    assert "Proxy" not in sources.apt_conf()


def test_apts_own_authority_is_brought_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.pem").write_text(f"{name}\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))
    said = apt(tmp_path, monkeypatch, f'Acquire::https::CAInfo "{tmp_path}/two.pem";\n')
    assert "two.pem" not in said
    assert sources.ca_text().split() == [b"one", b"two"]


def test_pip_conf_is_what_pip_reads() -> None:
    assert sources.pip_conf({"index-url": "https://i/"}) == "[global]\nindex-url = https://i/\n"


def test_proxies_in_either_case() -> None:
    env = {"HTTP_PROXY": "http://p:1", "no_proxy": "localhost", "https_proxy": ""}
    assert sources.proxy_args(env) == {"http_proxy": "http://p:1", "no_proxy": "localhost"}


def test_ca_bundle_is_what_the_environment_says(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    assert sources.ca_bundle({"SSL_CERT_FILE": str(bundle)}) == bundle
    assert sources.ca_bundle({"SSL_CERT_FILE": "/no/such/file", "REQUESTS_CA_BUNDLE": str(bundle)}) == bundle


def test_build_secrets_are_private_and_follow_the_host(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "pip_config", lambda: {"index-url": "https://user:password@index.example/"})
    first = sources.build_secrets(paths)
    assert "password" in first["pip"].read_text()
    assert all(file.stat().st_mode & 0o077 == 0 for name, file in first.items() if name != "ca")
    monkeypatch.setattr(sources, "pip_config", dict)
    assert "pip" not in sources.build_secrets(paths)
    assert not first["pip"].exists()
