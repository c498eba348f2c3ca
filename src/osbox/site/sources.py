"""The host's own settings for fetching packages: apt sources and options, pip's index and proxy, CA bundle,
proxy.

They reach a build as secrets and predefined proxy arguments, so that none of them ends up in a layer or in an
image's history. docs/anywhere.md lists what is taken from where.
"""

import configparser
import functools
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from osbox import files as whole
from osbox import run
from osbox.site.site import Paths

SUITE = "trixie"  # the Debian release that images are made of
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
APT_OPTIONS = re.compile(
    r"^(Acquire::(?:http|https|ftp)(?:::|\s)|Acquire::Retries|Acquire::Check-Valid-Until|Acquire::Check-Date)",
    re.IGNORECASE,
)
# A mirror that is silent is given up, and named, within minutes; what the host's own apt is told wins.
APT_PATIENCE = 'Acquire::Retries "2";\nAcquire::http::Timeout "20";\nAcquire::https::Timeout "20";\n'
DETECT = re.compile(r"^Acquire::(https?)::Proxy-Auto-?Detect \"(.+)\";$", re.IGNORECASE)
PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout")
PASSED_ON = PIP_KEYS[:4] + PIP_KEYS[5:]  # the certificates are a secret of their own


def memory() -> dict[str, int]:
    """Bytes by the names of proc_meminfo(5), such as MemAvailable."""
    lines = [line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines()]
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in lines}


def build_secrets(paths: Paths) -> dict[str, Path]:
    """Write the host's settings as files for `docker build --secret` and return them by id; absent settings
    are left out."""
    texts = {
        "apt_sources": apt_sources(),
        "apt_conf": apt_conf(),
        "uv": uv_toml(pip_config()),
        "pip": pip_conf(pip_config()),
    }
    # The CA bundle is copied: the private engine sees the state directory, not every place that a bundle may
    # be in.
    contents = {**{name: text.encode() for name, text in texts.items()}, "ca": ca_text()}
    directory = paths.build_secrets
    whole.private_directory(directory)
    secrets = {}
    for name, content in contents.items():
        file = directory / name
        if not content:
            file.unlink(missing_ok=True)
            continue
        whole.write_changed(
            file, content, mode=whole.PRIVATE, shared=True
        )  # another build may be reading it, or writing it, too
        secrets[name] = file
    return secrets


def proxy_args(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Proxy settings by name, as environment and as build arguments.

    These names are predefined, so BuildKit keeps them out of history and cache keys. They may hold a
    password: on a command line stands the name only, and the value comes from the environment.
    """
    found = {name: env.get(name) or env.get(name.upper()) for name in PROXIES}
    return {name: value for name, value in found.items() if value}


def ca_bundle(env: Mapping[str, str] = os.environ) -> Path | None:
    """The CA bundle that programs on this machine are told to use, or the system's own."""
    told = [env.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    for candidate in (*told, pip_settings(env).get("cert"), SYSTEM_CA):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    return None


def ca_text() -> bytes:
    """All authorities that a fetch may need: the CA bundle, and the one that apt was told of besides."""
    files = dict.fromkeys(filter(None, (ca_bundle(), apt_ca())))
    return b"\n".join(file.read_bytes() for file in files)


def apt_ca() -> Path | None:
    """The CA bundle that apt on this machine is told to use, if it is one of its own."""
    found = re.search(r'^Acquire::https::CAInfo "(.+)";$', _apt_config(), re.MULTILINE | re.IGNORECASE)
    return Path(found[1]) if found and Path(found[1]).is_file() else None


def apt_mirrors() -> list[str]:
    """The host's own Debian mirror; empty on a machine that is no Debian (Debian's default is then used)."""
    wanted = os.environ.get("OSBOX_MIRROR")
    if wanted:
        return [wanted]
    if "ID=debian" not in Path("/etc/os-release").read_text(errors="replace").splitlines():
        return []
    for name in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        file = Path(name)
        mirror = first_mirror(file.read_text(errors="replace")) if file.exists() else ""
        if mirror:
            return [mirror]
    return []


def first_mirror(text: str) -> str:
    """The first archive address in an apt sources file, of the one-line or the deb822 kind; "" if there is
    none."""
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


def apt_conf(bundle: str = "/run/secrets/ca") -> str:
    """The host's apt options that decide how packages are fetched: proxies, patience, validity checks; and
    where the CA bundle is."""
    kept = []
    for entry in _apt_config().splitlines():
        detect = DETECT.match(entry)
        if detect:
            kept += _detected(detect[1], detect[2])
        elif APT_OPTIONS.match(entry) and "CAInfo" not in entry:
            kept.append(entry)
    return APT_PATIENCE + "\n".join([*kept, f'Acquire::https::CAInfo "{bundle}";', ""])


def _apt_config() -> str:
    return _dump(os.environ.get("APT_CONFIG", ""))


@functools.cache
def _dump(_: str) -> str:
    return run.run(["apt-config", "dump"], check=False).out if shutil.which("apt-config") else ""


def _detected(kind: str, program: str) -> list[str]:
    """What a program that detects apt's proxy says now: it is not in a container."""
    argv = [*program.split(), *apt_mirrors()]
    answer = run.run(argv, check=False).out.strip() if shutil.which(argv[0]) else ""
    return [f'Acquire::{kind}::Proxy "{answer}";'] if answer and answer != "DIRECT" else []


def pip_settings(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What pip on this machine is told, in its files and in the environment, of the settings that matter
    here."""
    settings: dict[str, str] = {}
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", env.get("PIP_CONFIG_FILE", "")]
    for name in files:
        parser = configparser.RawConfigParser()
        with suppress(OSError, RuntimeError):  # missing, or not ours to read; a ~ that is nobody's
            # Only addresses are taken, which are ASCII: a comment may be of any encoding.
            text = Path(name).expanduser().read_text(encoding="utf-8-sig", errors="replace") if name else ""
            parser.read_string(text, name)
        if parser.has_section("global"):
            settings.update(parser.items("global"))
    for key in PIP_KEYS:
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            settings[key] = value
    return {key: settings[key] for key in PIP_KEYS if settings.get(key)}


def pip_config(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """pip's settings that reach a build: index-url, extra-index-url (http and https only), trusted-host,
    proxy, timeout (seconds)."""
    result = {}
    for key, value in pip_settings(env).items():
        words = [
            word
            for word in value.split()
            if "index-url" not in key or word.startswith(("http://", "https://"))
        ]
        if words and key in PASSED_ON:
            result[key] = " ".join(words)
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
            lines.append(
                f"{name} = [{', '.join(repr(word) for word in settings[key].split())}]".replace("'", '"')
            )
    if "proxy" in settings:
        lines += [f'{name} = "{settings["proxy"]}"' for name in ("http-proxy", "https-proxy")]
    if "timeout" in settings:
        lines.append(f"# timeout = {settings['timeout']}")  # no key of uv's: images/base/uv-run reads it
    return "\n".join(lines) + "\n" if lines else ""
