"""Rotate Keystone's keys, and no token and no user's secret is refused for it.

fernet: of tokens. Keystone keeps max_active_keys of them: the next one, the one that signs, and those before.
A rotation drops the oldest, and with it the tokens that it signed: it is held back while such a token may be
used.

credential: of users' secrets (EC2, TOTP). After each rotation all of them are encrypted anew, in one go:
otherwise the next rotation refuses, and they are lost with the oldest key.
"""

import json
from dataclasses import dataclass
from typing import Literal, get_args

from osbox import log
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.site.site import Site

Kind = Literal["fernet", "credential"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LOOK = """
import json, os, time
import keystone.conf
keystone.conf.configure()
CONF = keystone.conf.CONF
CONF(args=[], project="keystone")
place = CONF.fernet_tokens.key_repository
names = [name for name in os.listdir(place) if name.isdigit()]
ages = {int(name): time.time() - os.stat(os.path.join(place, name)).st_mtime for name in names}
print(json.dumps({
    "keys": len(ages),
    "kept": CONF.fernet_tokens.max_active_keys,
    "last": ages[0],
    "valid": CONF.token.expiration + CONF.token.allow_expired_window,
}))
"""


@dataclass(frozen=True)
class Keys:
    """Of tokens: how many there are, how many are kept, seconds since the last rotation, and for how many a
    token may be used: a service may show an expired one (allow_expired_window)."""

    keys: int
    kept: int
    last: float
    valid: float

    @property
    def too_early(self) -> float:
        """Seconds until a rotation drops no key whose tokens may still be used.

        The key that it drops was followed by kept - 2 others; with three kept, it signed until the last one.
        """
        return max(0.0, self.valid - self.last) if self.keys >= self.kept else 0.0


def rotate(site: Site, engine: Engine, kind: Kind) -> None:
    """Raises UserError when Keystone would refuse valid tokens after it, Error when Keystone fails."""
    if kind == "credential":
        with log.step("Encrypt users' secrets with a new key"):
            # What an interrupted run left undone, first: a rotation refuses otherwise.
            for words in ("credential_migrate", "credential_rotate", "credential_migrate"):
                _manage(site, engine, words)
        return
    keys = Keys(**json.loads(_inside(site, engine, "python", "-c", LOOK)))
    if keys.too_early:
        raise UserError(
            f"the last rotation was {keys.last / 3600:.0f} h ago: another one would refuse valid tokens",
            evidence=f"{keys.kept} keys are kept, and a token may be used for {keys.valid / 3600:.0f} h",
            hint=f"the same command in {keys.too_early / 3600:.0f} h; to keep more keys:"
            " osbox set keystone.fernet_tokens.max_active_keys=6",
        )
    with log.step("Sign tokens with a new key"):
        _manage(site, engine, "fernet_rotate")


def _manage(site: Site, engine: Engine, command: str) -> None:
    _inside(site, engine, "keystone-manage", command)


def _inside(site: Site, engine: Engine, *words: str) -> str:
    result = docker.docker(engine, "exec", f"keystone.{site.name}", *words, check=False, timeout=120)
    if result.code != 0:
        raise Error(
            f"Keystone could not rotate its keys: {words[-1] if len(words) == 2 else words[0]} failed",  # noqa: PLR2004
            evidence=(result.err or result.out)[-1500:],
            hint="osbox logs keystone, then the same command again",
        )
    return result.out
