"""Rotate Keystone's keys, and no token and no user's secret is refused for it.

fernet: of tokens. Keystone keeps max_active_keys of them: the next one, the one that signs, and those before.
A rotation drops the oldest, and with it the tokens that it signed: it is held back while such a token may be
used, and refused when so few are kept that the one that signs would be dropped.

credential: of users' secrets (EC2, TOTP). After each rotation all of them are encrypted anew, in one go:
otherwise the next rotation refuses, and they are lost with the oldest key.
"""

import json
import math
from dataclasses import dataclass
from typing import Literal, get_args

from osbox import log
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.site.site import Site

Kind = Literal["fernet", "credential"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GROUPS: dict[Kind, str] = {"fernet": "fernet_tokens", "credential": "credential"}
WORK: dict[Kind, str] = {"fernet": "sign tokens", "credential": "encrypt users' secrets"}
KEPT = "keystone.fernet_tokens.max_active_keys"
FEWEST = 3  # the next key, the one that signs, and the one before, whose tokens are still used
HOUR, MINUTE = 3600, 60
# A key's file keeps its time when it is renamed: it says when the rotation was that made it, as the next one.
LOOK = """
import json, os, sys, time
import keystone.conf
keystone.conf.configure()
CONF = keystone.conf.CONF
CONF(args=[], project="keystone")
place = CONF[sys.argv[1]].key_repository
names = [int(name) for name in os.listdir(place) if name.isdigit()] if os.path.isdir(place) else []
names.sort(key=lambda name: (name == 0, name))
print(json.dumps({
    "place": place,
    "ages": [time.time() - os.stat(os.path.join(place, str(name))).st_mtime for name in names if 0 in names],
    "kept": CONF.fernet_tokens.max_active_keys,
    "valid": CONF.token.expiration + CONF.token.allow_expired_window,
}))
"""


@dataclass(frozen=True)
class Keys:
    """place: their directory. ages: seconds since the rotation that made each, the oldest key first, the next
    one last; none when there is no next one, with which a rotation begins.

    Of tokens: how many are kept (FEWEST or more, for what follows), and for how many seconds a token may be
    used: a service may show an expired one (allow_expired_window).
    """

    place: str
    ages: list[float]
    kept: int
    valid: float

    @property
    def unused(self) -> float | None:
        """Seconds since a key that a rotation drops has last signed; None when it drops none.

        Made by one rotation, a key signs from the next one to the one after that, which made the key that is
        two after it.
        """
        dropped = (
            len(self.ages) - self.kept
        )  # the youngest of them; more than one when fewer are kept than were
        return self.ages[dropped + 2] if dropped >= 0 else None

    @property
    def too_early(self) -> float:
        """Seconds until a rotation drops no key whose tokens may still be used."""
        return 0.0 if self.unused is None else max(0.0, self.valid - self.unused)


def rotate(site: Site, engine: Engine, kind: Kind) -> None:
    """Raises UserError when there are no keys, or Keystone would refuse valid tokens after it; Error when
    Keystone fails."""
    said = _inside(site, engine, "say what keys it has", "python", "-c", LOOK, GROUPS[kind])
    keys = Keys(**json.loads(said))
    # Keystone's own commands do nothing without them, and end well.
    if not keys.ages:
        raise UserError(
            f"Keystone has no keys to {WORK[kind]} with",
            evidence=f"there is no {keys.place}/0 in keystone.{site.name}",
            hint="osbox up",
        )
    if kind == "fernet":
        require_harmless(keys)
        with log.step("Sign tokens with a new key"):
            _manage(site, engine, "make a new key for tokens", "fernet_rotate")
        return
    encrypt = "encrypt users' secrets with its newest key", "credential_migrate"
    with log.step("Encrypt users' secrets with a new key"):
        # What an interrupted run left undone, first: a rotation refuses otherwise.
        _manage(site, engine, *encrypt)
        _manage(site, engine, "make a new key for users' secrets", "credential_rotate")
        _manage(site, engine, *encrypt)


def require_harmless(keys: Keys) -> None:
    """Raises UserError when a rotation would drop a key of tokens that are valid."""
    if keys.kept < FEWEST:
        raise UserError(
            "a rotation would refuse valid tokens: it would drop the key that signed them",
            evidence=f"{KEPT} is {keys.kept}; the next key, the one that signs and one old one are {FEWEST}",
            hint=f"osbox set {KEPT}={FEWEST}, then osbox up, then the same command",
        )
    if keys.too_early:
        raise UserError(
            "too early: another rotation would refuse valid tokens",
            evidence=f"{keys.kept} keys are kept; the one that it would drop signed until"
            f" {_time(keys.unused or 0)} ago, and a token may be used for {_time(keys.valid)}",
            hint=f"the same command in {_time(keys.too_early)}; to keep more keys:"
            f" osbox set {KEPT}={len(keys.ages) + FEWEST}, then osbox up, then the same command",
        )


def _time(seconds: float) -> str:
    """Rounded up: who waits for so long has waited long enough."""
    return (
        f"{math.ceil(seconds / HOUR)} h"
        if seconds > 2 * HOUR
        else f"{max(0, math.ceil(seconds / MINUTE))} min"
    )


def _manage(site: Site, engine: Engine, doing: str, command: str) -> None:
    _inside(site, engine, doing, "keystone-manage", command)


def _inside(site: Site, engine: Engine, doing: str, *words: str) -> str:
    """Raises Error, which says that Keystone could not be doing that."""
    result = docker.docker(engine, "exec", f"keystone.{site.name}", *words, check=False, timeout=120)
    if result.code != 0:
        raise Error(
            f"Keystone could not {doing}",
            evidence=(result.err or result.out)[-1500:],
            hint="osbox logs keystone, then the same command again",
        )
    return result.out
