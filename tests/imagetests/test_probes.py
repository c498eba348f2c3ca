"""The tests of images that read files and configurations, on made-up ones; with real images they run in
test_images.py."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from osbox.engine.info import ImageInfo
from osbox.images import oslo
from osbox.images.contents import DIRECTORY, FILE, LINK, Entry, Layer
from osbox.images.runspec import load
from osbox.imagetests import files, reading, subject
from osbox.imagetests.subject import Subject
from osbox.site import sources
from tests.conftest import PROJECT

SITE = "opt/x/lib/python3.13/site-packages"
Probe = Callable[[Subject], Iterator[str]]


def entry(path: str, mode: int = 0o644, kind: str = FILE, link: str = "") -> Entry:
    return Entry(path, kind, mode, 0, 0, link)


def layer(
    *entries: Entry, texts: dict[str, str] | None = None, notes: dict[str, tuple[str, ...]] | None = None
) -> Layer:
    content = {path: text.encode() for path, text in (texts or {}).items()}
    whole = [*entries, *(entry(path) for path in content if path not in {one.path for one in entries})]
    return Layer("sha256:x", {one.path: one for one in whole}, content, notes or {})


def found(
    probe: Probe, *layers: Layer, exceptions: dict[str, str] | None = None, history: str = ""
) -> list[str]:
    made = SimpleNamespace(
        read=lambda: reading.files_of(layers),
        exceptions=lambda _: exceptions or {},
        info=ImageInfo("sha256:x"),
        history=history,
        needles={"the secret x": b"s3cret"},
    )
    return list(probe(cast(Subject, made)))


def test_a_bit_that_a_later_layer_takes_away_is_no_problem() -> None:
    low = layer(entry("bin/su", 0o4755), entry("bin/ok", 0o755))
    assert found(files.set_id_files, low) == ["has the setuid or setgid bit: /bin/su"]
    assert found(files.set_id_files, low, exceptions={"/bin/s*": "why"}) == []
    assert found(files.set_id_files, low, layer(entry("bin/su", 0o755))) == []
    assert found(files.set_id_files, layer(entry("d", 0o2755, DIRECTORY))) == []


def test_what_is_writable_for_everybody() -> None:
    good = layer(
        entry("tmp", 0o1777, DIRECTORY), entry("l", 0o777, LINK), entry("dev/null", 0o666, "character device")
    )
    assert found(files.world_writable, good) == []
    low = layer(*(entry(name, 0o666) for name in "abcde"), entry("open", 0o777, DIRECTORY))
    assert found(files.world_writable, low) == ["is writable for everybody: /a, /b, /c and 3 more"]


def test_a_secret_in_a_layer_that_is_hidden() -> None:
    hidden = layer(entry("held"), notes={"held": ("the secret x",)}), layer(entry(".wh.held"))
    assert found(files.leaks, *hidden) == ["/held holds the secret x"]
    assert found(files.leaks, layer(), history="RUN echo s3cret") == [
        "its settings or its history name the secret x"
    ]


def test_needles_are_looked_for_in_texts() -> None:
    examine = reading.examiner({"a name": b"mirror.example"})
    assert examine("x", b"http://mirror.example/") == ("a name",)
    assert examine("x", b"\0mirror.example") is None
    assert examine("x", b"nothing") is None


def test_bytecode_is_there_and_of_its_source() -> None:
    source, compiled = f"{SITE}/a/b.py", f"{SITE}/a/__pycache__/b.cpython-313.pyc"
    both = layer(entry(source), entry(compiled))
    assert found(files.bytecode, both) == []
    assert found(files.bytecode, layer(entry(source))) == [f"has no bytecode: /{source}"]
    assert found(files.bytecode, layer(entry(compiled))) == [f"is bytecode without a source: /{compiled}"]
    assert found(files.bytecode, both, layer(entry(source))) == [
        f"is bytecode of an older source: /{compiled}"
    ]
    assert found(files.bytecode, layer(entry(source)), layer(entry(compiled))) == []


def test_licences_by_link_file_and_field() -> None:
    status = "".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: 1\n\n" for name in ("a", "b", "c")
    )
    texts = {
        "var/lib/dpkg/status": status,
        f"{SITE}/one-1.dist-info/METADATA": "Name: one\n",
        f"{SITE}/two-1.dist-info/METADATA": "License: MIT\n",
    }
    made = layer(
        entry("usr/share/doc/a/copyright"), entry("usr/share/doc/b", kind=LINK, link="a"), texts=texts
    )
    assert found(files.licences, made) == [
        "has no copyright file: the package c",
        "names no licence: the distribution one-1.dist-info",
    ]
    more = layer(
        entry("usr/share/doc/c/copyright"), entry(f"{SITE}/one-1.dist-info/licenses/LICENSE"), texts=texts
    )
    assert found(files.licences, made, more) == []


def test_leftovers_but_for_copyright_files() -> None:
    made = layer(
        entry("usr/share/doc/a/copyright"),
        entry("usr/share/doc/a/README"),
        entry(f"{SITE}/a/tests/x.py"),
        entry("usr/bin/gcc-14"),
    )
    assert found(files.leftovers, made) == [
        "is left behind (a build tool): /usr/bin/gcc-14",
        "is left behind (documentation): /usr/share/doc/a/README",
        f"is left behind (tests): /{SITE}/a/tests/x.py",
    ]


@pytest.mark.parametrize(
    ("url", "names"),
    {
        "http://mirror.example:8080/debian": {"mirror.example"},
        "http://u:p@127.0.0.1:3128/": {"127.0.0.1:3128"},
        "http://localhost/": set(),
        "http://deb.de" + "bian.org/debian": set(),
        "https://[::1]:80/": {"[::1]:80"},
    }.items(),
)
def test_names_of_this_machine(url: str, names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "apt_mirrors", lambda: [url])
    monkeypatch.setattr(sources, "pip_config", dict)
    monkeypatch.setattr(sources, "proxy_args", lambda: {"no_proxy": "://not.looked.at"})
    assert subject.host_names() == names


def test_the_drivers_that_a_configuration_names() -> None:
    text = """
[DEFAULT]
enabled_boot_interfaces = ipxe,pxe
enabled_backends = swift:swift
transport_url = rabbit://openstack:{x}@rabbitmq:5672/
compute_driver = ironic.IronicDriver
service_plugins =
[placement]
auth_type = password
"""
    assert oslo.drivers(text, {"/etc/swift/x.conf": "[a]\nuse = egg:swift#proxy\n"}) == {
        ("ironic.hardware.interfaces.boot", "ipxe"),
        ("ironic.hardware.interfaces.boot", "pxe"),
        ("glance_store.drivers", "swift"),
        ("oslo.messaging.drivers", "rabbit"),
        ("", "nova.virt.ironic.IronicDriver"),
        ("keystoneauth1.plugin", "password"),
        ("paste", "proxy"),
    }


def test_the_grace_period_is_composes() -> None:
    specs = load(PROJECT / "compose")
    assert (specs["os-mysql"].grace, specs["os-rack"].grace, specs["os-keystone"].grace) == (60, 40, 140)
