"""The host's own settings for fetching packages: apt sources and options, pip's index, CA bundle, proxy.

They reach a build as secrets and predefined proxy arguments, so that none of them ends up in a layer or in an image's history.
"""

import configparser
import os
import re
from collections.abc import Mapping
from pathlib import Path

from osbox import run
from osbox.model.site import Paths

SUITE = "trixie"  # the Debian release that images are made of
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
APT_OPTIONS = re.compile(r"^(Acquire::(?:http|https|ftp)(?:::|\s)|Acquire::Check-Valid-Until|Acquire::Check-Date)", re.IGNORECASE)


def build_secrets(paths: Paths) -> dict[str, Path]:
    """Write the host's settings as files for `docker build --secret` and return them by id; absent settings are left out."""
    texts = {"apt_sources": apt_sources(), "apt_conf": apt_conf(), "uv": uv_toml(pip_config()), "pip": pip_conf(pip_config())}
    directory = paths.home / "build-secrets"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    secrets = {}
    for name, text in texts.items():
        file = directory / name
        if not text:
            file.unlink(missing_ok=True)
            continue
        if not file.exists() or file.read_text() != text:
            file.touch(mode=0o600)
            file.write_text(text)
        secrets[name] = file
    bundle = ca_bundle()
    if bundle:
        # Copied: the private engine sees the state directory, not every place a bundle may be in.
        file = directory / "ca"
        file.write_bytes(bundle.read_bytes())
        secrets["ca"] = file
    return secrets


def proxy_args(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Proxy settings as build arguments; these names are predefined, so BuildKit keeps them out of history and cache keys."""
    found = {name: env.get(name) or env.get(name.upper()) for name in PROXIES}
    return {name: value for name, value in found.items() if value}


def ca_bundle(env: Mapping[str, str] = os.environ) -> Path | None:
    """The CA bundle that programs on this machine are told to use, or the system's own."""
    for candidate in (env.get("SSL_CERT_FILE"), env.get("REQUESTS_CA_BUNDLE"), "/etc/ssl/certs/ca-certificates.crt"):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    return None


def apt_mirrors() -> list[str]:
    """The host's own Debian mirror; empty on a machine that is no Debian (Debian's default is then used)."""
    wanted = os.environ.get("OSBOX_MIRROR")
    if wanted:
        return [wanted]
    if "ID=debian" not in Path("/etc/os-release").read_text().splitlines():
        return []
    for name in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        file = Path(name)
        mirror = first_mirror(file.read_text()) if file.exists() else ""
        if mirror:
            return [mirror]
    return []


def first_mirror(text: str) -> str:
    """The first archive address in an apt sources file, of the one-line or the deb822 kind; "" if there is none."""
    for entry in text.splitlines():
        words = entry.split()
        if len(words) > 1 and words[0] == "URIs:":
            return words[1]
        if len(words) > 2 and words[0] == "deb":  # noqa: PLR2004 - deb [options] URI suite component
            return next((word for word in words[1:] if "://" in word), "")
    return ""


def apt_sources() -> str:
    return "".join(
        f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n"
        for mirror in apt_mirrors()
        for suite in (SUITE, f"{SUITE}-updates")
    )


def apt_conf() -> str:
    """The host's apt options that decide how packages are fetched: proxies, validity checks, certificates."""
    dump = run.run(["apt-config", "dump"], check=False).out
    kept = [entry for entry in dump.splitlines() if APT_OPTIONS.match(entry) and "CAInfo" not in entry]
    return "\n".join([*kept, 'Acquire::https::CAInfo "/run/secrets/ca";', ""])


def pip_config(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """pip's settings on this machine that name an index: index-url, extra-index-url (http and https only), trusted-host."""
    settings: dict[str, str] = {}
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", env.get("PIP_CONFIG_FILE", "")]
    for name in files:
        parser = configparser.RawConfigParser()
        if name and parser.read(Path(name).expanduser()) and parser.has_section("global"):
            settings.update(parser.items("global"))
    for key in ("index-url", "extra-index-url", "trusted-host"):
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            settings[key] = value
    result = {}
    for key in ("index-url", "extra-index-url"):
        urls = [url for url in settings.get(key, "").split() if url.startswith(("http://", "https://"))]
        if urls:
            result[key] = " ".join(urls)
    if settings.get("trusted-host"):
        result["trusted-host"] = " ".join(settings["trusted-host"].split())
    return result


def pip_conf(settings: Mapping[str, str]) -> str:
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()) if settings else ""


def uv_toml(settings: Mapping[str, str]) -> str:
    """The same settings in uv's words (`uv.toml`)."""
    lines = []
    if "index-url" in settings:
        lines.append(f'index-url = "{settings["index-url"]}"')
    for key, name in (("extra-index-url", "extra-index-url"), ("trusted-host", "allow-insecure-host")):
        if key in settings:
            lines.append(f"{name} = [{', '.join(repr(word) for word in settings[key].split())}]".replace("'", '"'))
    return "\n".join(lines) + "\n" if lines else ""
