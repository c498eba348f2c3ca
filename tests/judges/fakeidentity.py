"""Keystone's API, as far as people of a suite need it: real HTTP, under the real client."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from openstack.connection import Connection

from tests.fakecloud import Cloud, serving

KINDS = ("domains", "projects", "roles", "users")
APIS = {"identity": "/v3"}


@dataclass
class Identity(Cloud):
    """has: what is there, by kind and then id. assigned: roles, as Keystone's paths name them. done: what was
    changed, in order.
    """

    has: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    assigned: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def put(self, kind: str, name: str, **more: Any) -> str:
        """Something that is there; returns its id, which is made of its name."""
        place = more.get("domain_id", "")
        key = f"{kind[:-1]}-{name}" + (f"-of-{place}" if place else "")
        self.has[kind][key] = {"id": key, "name": name, "description": None, "enabled": True, **more}
        return key

    def named(self, kind: str) -> list[str]:
        return sorted(one["name"] for one in self.has[kind].values())

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, str]:
        if path.rstrip("/") == "/v3":
            return 200, self._version(path.strip("/"))
        if "/roles/" in path.removeprefix("/v3/roles/"):
            self.assigned.append(path.removeprefix("/v3"))
            return 204, ""
        if found := re.fullmatch(r"/v3/users/([^/]+)/credentials/OS-EC2", path):
            tenant = json.loads(body)["tenant_id"]
            made = {"access": f"key of {found[1]}", "secret": f"secret in {tenant}"}
            return 201, json.dumps({"credential": made})
        found = re.fullmatch(r"/v3/(domains|projects|roles|users)(?:/([^/]+))?", path)
        if not found or (found[2] and found[2] not in self.has[found[1]]):
            return 404, "{}"
        return self._of(method, found[1], found[2], query, json.loads(body or b"{}"))

    def _of(
        self, method: str, kind: str, key: str | None, query: dict[str, list[str]], given: dict[str, Any]
    ) -> tuple[int, str]:
        there, single = self.has[kind], kind[:-1]
        if method == "GET" and not key:
            wanted = {name: values[0] for name, values in query.items() if name in ("name", "domain_id")}
            listed = [one for one in there.values() if wanted.items() <= one.items()]
            return 200, json.dumps({kind: listed, "links": {"next": None}})
        if method == "POST":
            key = self.put(kind, **given[single])
            self.done.append(f"make {key}")
        assert key
        if method == "PATCH":
            there[key] |= given[single]
            self.done.append(f"change {key}: {', '.join(sorted(given[single]))}")
        if method == "DELETE":
            if kind == "domains" and there[key]["enabled"]:
                return 403, json.dumps({"error": {"message": "Cannot delete a domain that is enabled"}})
            del there[key]
            self.done.append(f"remove {key}")
            return 204, ""
        return 201 if method == "POST" else 200, json.dumps({single: there[key]})


@contextmanager
def speaking(identity: Identity) -> Iterator[Connection]:
    """A connection to it."""
    with serving(identity, APIS) as connection:
        yield connection
