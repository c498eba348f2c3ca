"""What Keystone's image writes into a cloud, and that clouds which are there already get it."""

import ast
import hashlib
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.conftest import PROJECT

# What `then` of [migrate] runs, by the file of that part: what the programs are made of, the revision, and a
# digest of them.
WRITTEN: dict[str, tuple[list[str], int, str]] = {
    "images/keystone/etc/osbox/bootstrap.toml": (
        ["images/keystone/catalogue.py", "images/keystone/etc/osbox/catalogue.toml"],
        2,
        "e77d43364753c967",
    ),
    "images/nova/bootstrap-api.toml": (["images/nova/cells.py"], 1, "70c2996643b8492b"),
}


def test_every_program_that_writes_after_a_migration_is_looked_at() -> None:
    found = {
        str(file.relative_to(PROJECT))
        for file in (PROJECT / "images").rglob("bootstrap*.toml")
        if "then" in tomllib.loads(file.read_text()).get("migrate", {})
    }
    assert found == set(WRITTEN)


@pytest.mark.parametrize("file", WRITTEN)
def test_what_is_written_anew_is_written_into_old_clouds_too(file: str) -> None:
    """A migration runs once for what its part of the file says, and programs are no part of that.

    Red here? Raise `revision` in the file when the program now writes something that clouds lack; then say
    the new revision and digest above.
    """
    made_of, revision, digest = WRITTEN[file]
    assert tomllib.loads((PROJECT / file).read_text())["migrate"].get("revision", 1) == revision
    text = b"\0".join((PROJECT / name).read_bytes() for name in made_of)
    assert hashlib.sha256(text).hexdigest()[:16] == digest


# --- osbox-catalogue, with modules in place of Keystone's
# --------------------------------------------------------------------------------


class LostError(Exception):
    pass


class Credentials:
    """Keystone's, by their ids: the hash of the key that each was encrypted with; None: of a lost one."""

    def __init__(self, hashes: dict[str, str | None]) -> None:
        self.hashes, self.updated, self.driver = hashes, dict[str, str](), self

    def list_credentials(self, hints: object) -> list[dict[str, str | None]]:
        return [
            {"id": name, "key_hash": key, "encrypted_blob": key and f"{name} by {key}"}
            for name, key in self.hashes.items()
        ]

    def decrypt(self, blob: str | None) -> str:
        if blob is None:
            raise LostError
        return blob.partition(" ")[0]

    def update_credential(self, name: str, values: dict[str, str]) -> None:
        self.updated[name] = values["blob"]


def program(monkeypatch: pytest.MonkeyPatch, found: Credentials) -> Any:
    fernet = SimpleNamespace(
        get_multi_fernet_keys=lambda: (None, ["newest", "older", "zeros"]),
        primary_key_hash=lambda keys: keys[0],
    )
    inside: dict[str, Any] = {
        "keystone": {"conf": SimpleNamespace(CONF=None), "exception": None},
        "keystone.conf": {"CONF": None},
        "keystone.cmd": {"bootstrap": None, "cli": None},
        "keystone.common": {
            "driver_hints": SimpleNamespace(Hints=lambda: None),
            "fernet_utils": None,
            "provider_api": SimpleNamespace(
                ProviderAPIs=SimpleNamespace(credential_api=found, credential_provider_api=found)
            ),
            "sql": None,
        },
        "keystone.credential.providers": {"fernet": fernet},
        "keystone.credential": {},
    }
    inside["keystone"]["exception"] = SimpleNamespace(CredentialEncryptionError=LostError)
    for name, values in inside.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return loaded(PROJECT / "images/keystone/catalogue.py")


def loaded(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"{file.stem}_of_an_image", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("hashes", "updated"),
    [
        ({}, {}),
        ({"a": "newest", "b": "newest"}, {}),
        ({"a": "zeros", "b": "newest", "c": "older"}, {"a": "a", "c": "c"}),
        ({"lost": None, "z": "zeros"}, {"z": "z"}),  # one lost secret is no reason not to start
    ],
)
def test_secrets_of_before_there_were_keys_are_encrypted_anew(
    monkeypatch: pytest.MonkeyPatch, hashes: dict[str, str | None], updated: dict[str, str]
) -> None:
    found = Credentials(hashes)
    program(monkeypatch, found).encrypt_anew()
    assert found.updated == updated


def test_they_are_encrypted_anew_at_each_run() -> None:
    """Also when the keys are there: the run that made them may have been killed. After administrator, which
    loads Keystone's managers."""
    parts = ast.parse((PROJECT / "images/keystone/catalogue.py").read_text()).body
    [main] = [part for part in parts if isinstance(part, ast.FunctionDef) and part.name == "main"]
    called = [ast.unparse(line).partition("(")[0] for line in main.body if isinstance(line, ast.Expr)]
    wanted = ["credential_keys", "administrator", "encrypt_anew"]
    assert [name for name in called if name in wanted] == wanted
