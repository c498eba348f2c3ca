"""Docker's rules among those of others: read what `iptables-save` prints, say which text takes exactly ours
out again. Pure.

A rule is ours when it names a bridge or a subnet of our engine and has a shape that Docker gives to its
rules. What all engines of a machine share (chains, jumps to them, the policy of FORWARD) goes only when no
other engine runs, when it was not there before ours, and when nothing of others is in it.
"""

import ipaddress
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from osbox.errors import Error

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Chains = Mapping[str, Mapping[str, str]]
"""Table → chain → policy; "-" stands for a chain that somebody made."""

SHAPES = re.compile(
    "|".join(
        (
            r"FORWARD -o B (?:-j DOCKER|-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT)",
            r"FORWARD -i B (?:! )?-o B -j (?:ACCEPT|DROP)",
            r"POSTROUTING -s N ! -o B -j (?:MASQUERADE|SNAT --to-source \S+)",
            r"POSTROUTING -s N -d N -p \w+ -m \w+ --dport \d+ -j MASQUERADE",
            r"POSTROUTING -o B -m addrtype --src-type LOCAL -j (?:MASQUERADE|SNAT --to-source \S+)",
        )
    )
)
DNAT = re.compile(
    r"-A DOCKER (?:-d (\S+)/32 )?(?:! -i \S+ )?-p (\w+) -m \w+ --dport (\d+)"
    r" -j DNAT --to-destination ([\d.]+):\d+"
)
HOST = re.compile(r"(?<=-[sd] )[\d.]+(?=/32 )")  # one address, not a subnet
Published = Mapping[tuple[str, str, str], str]
"""Protocol, address and port of the host → the address of the container that is published there."""
JUMPS = re.compile(
    r"(?:FORWARD|PREROUTING|OUTPUT)(?: ! -d \S+)?(?: -m addrtype --dst-type LOCAL)? -j (DOCKER\S*)"
)


@dataclass(frozen=True)
class Table:
    """One table: its chains with their policies, its rules as `-A CHAIN …`."""

    chains: Mapping[str, str]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Own:
    """What tells our rules from those of another engine."""

    bridges: frozenset[str]
    networks: tuple[Network, ...]


@dataclass(frozen=True)
class Undo:
    """Input for `iptables-restore --noflush` ("" when there is nothing to do), and the chains that must stay,
    as `table chain`."""

    text: str
    kept: tuple[str, ...]


def parse(text: str) -> dict[str, Table]:
    """The tables of one family, from the output of iptables-save."""
    tables: dict[str, tuple[dict[str, str], list[str]]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("*"):
            name = line[1:]
            tables[name] = {}, []
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            tables[name][0][chain] = policy
        elif line.startswith("-A "):
            tables[name][1].append(line)
    return {name: Table(chains, tuple(rules)) for name, (chains, rules) in tables.items()}


def chains(tables: Mapping[str, Table]) -> dict[str, dict[str, str]]:
    """What is to be written down before an engine starts."""
    return {name: dict(table.chains) for name, table in tables.items()}


def undo(before: Chains, now: Mapping[str, Table], own: Own, *, shared: bool) -> Undo:
    """Take our rules out; unless shared with another engine, also what Docker made for all engines."""
    texts, kept = [], []
    for name, table in now.items():
        known = before.get(name, {})
        made = (
            set() if shared else {chain for chain in table.chains if chain.startswith("DOCKER")} - set(known)
        )
        others = [rule for rule in table.rules if not ours(rule, own)]
        doomed = _unused(made, others)
        kept += [f"{name} {chain}" for chain in sorted(made - doomed)]
        lines = [
            f"-D{rule[2:]}"
            for rule in table.rules
            if _chain(rule) not in doomed and (ours(rule, own) or _jump(rule) in doomed)
        ]
        lines += [f"-F {chain}" for chain in sorted(doomed)] + [f"-X {chain}" for chain in sorted(doomed)]
        policy = known.get("FORWARD", "ACCEPT")
        if name == "filter" and not shared and table.chains.get("FORWARD", policy) != policy:
            lines.append(f"-P FORWARD {policy}")
        if lines:
            texts.append("\n".join([f"*{name}", *lines, "COMMIT", ""]))
    return Undo("".join(texts), tuple(kept))


def lost(before: Mapping[str, Table], now: Mapping[str, Table]) -> str:
    """Input for `iptables-restore --noflush` that gives another engine the rules back that a dockerd,
    starting, swept away."""
    texts = []
    for name, table in now.items():
        missing = [rule for rule in before[name].rules if rule not in table.rules] if name in before else []
        # In front, and so from the last to the first: some of these chains end with a RETURN.
        lines = [
            f"-I{rule[2:]}"
            for rule in reversed(missing)
            if _chain(rule).startswith("DOCKER") and _chain(rule) in table.chains
        ]
        texts += ["\n".join([f"*{name}", *lines, "COMMIT", ""])] if lines else []
    return "".join(texts)


def ours(rule: str, own: Own) -> bool:
    """Whether our engine's Docker wrote this rule."""
    words = shlex.split(rule)
    plain = [_plain(before, word, own) for before, word in pairwise(words)]
    chain = plain[0]
    if chain.startswith("DOCKER") and chain != "DOCKER-USER":
        # An interface tells more than an address: subnets come to mean another network, bridges' names do
        # not.
        return "B" in plain or ("N" in plain and not {"-i", "-o"} & set(words))
    return bool({"B", "N"} & set(plain)) and bool(SHAPES.fullmatch(" ".join(plain)))


# --- should somebody flush the packet filter while dockerd lives
# --------------------------------------------------------------------------------


def dockers(tables: Mapping[str, Table], own: Own) -> dict[str, Table]:
    """What Docker has in the tables for our engine, and what it has there for all: what there is to keep."""
    found = {}
    for name, table in tables.items():
        rules = tuple(rule for rule in table.rules if ours(rule, own) or _shared(rule))
        chains = {chain: policy for chain, policy in table.chains.items() if chain.startswith("DOCKER")}
        if rules or chains:
            found[name] = Table(chains, rules)
    return found


def swept(kept: Mapping[str, Table], now: Mapping[str, Table], bridges: Collection[str]) -> bool:
    """Whether somebody flushed what was kept, in whole or in part.

    A living dockerd never takes its chains away, nor what leads to them, nor all rules of a bridge that is
    there; rules of ports come and go with containers.
    """
    for name, table in kept.items():
        there = now.get(name, Table({}, ()))
        if set(table.chains) - set(there.chains):
            return True
        if any(_shared(rule) and rule not in there.rules for rule in table.rules):
            return True
        left = _interfaces(there.rules)
        if any(bridge not in left for bridge in _interfaces(table.rules) & set(bridges)):
            return True
    return False


def restore(
    kept: Mapping[str, Table], now: Mapping[str, Table], bridges: Collection[str], published: Published
) -> str:
    """Input for `iptables-restore --noflush` that puts back what is missing of what was kept; "" when nothing
    is.

    Left out are the rules of bridges and published ports that are not there any more; a container that has
    another address by now gets its rules with that. Policies are not touched: whoever flushed may have set
    them. What others have meanwhile put into the same chains stays, behind ours.
    """
    moved = _moved(kept, published)
    texts = []
    for name, table in kept.items():
        there = now.get(name, Table({}, ()))
        new = [chain for chain in table.chains if chain not in there.chains]
        wanted = [found for rule in table.rules if (found := _today(rule, bridges, published, moved))]
        lines = [f":{chain} - [0:0]" for chain in new]
        for chain in dict.fromkeys(map(_chain, wanted)):
            lines += _in_order([rule for rule in wanted if _chain(rule) == chain], there.rules, chain in new)
        texts += ["\n".join([f"*{name}", *lines, "COMMIT", ""])] if lines else []
    return "".join(texts)


def _in_order(wanted: Sequence[str], there: Sequence[str], new: bool) -> list[str]:
    """The commands after which a chain has these rules, in this order, before all others; a RETURN of
    Docker's is its last rule, behind those of others."""
    if all(rule in there for rule in wanted):
        return []
    if new:
        return list(wanted)
    ends = [rule for rule in wanted if shlex.split(rule)[2:] == ["-j", "RETURN"]]
    first = [rule for rule in wanted if rule not in ends]
    return [
        *(f"-D{rule[2:]}" for rule in first if rule in there),
        *(f"-I{rule[2:]}" for rule in reversed(first)),
        *(rule for rule in ends if rule not in there),
    ]


AGAIN = {
    "private": "osbox up puts them back",
    "lost": "osbox engine stop (it ends every container), then osbox up",
    "host": "systemctl restart docker (it ends every container, unless live-restore is set), then osbox up",
}
"""What brings Docker's rules back: those of the private engine, also when nobody wrote them down, and of the
machine's own."""


def gone(kind: str) -> Error:
    """What to say when Docker manages the packet filter, and its rules are not there."""
    return Error(
        "Docker's firewall rules are gone: something flushed the packet filter while the engine ran",
        evidence=(
            "FORWARD does not lead to a chain DOCKER-USER; `nft flush ruleset`, `iptables -F` and the reload"
            " of a firewall (nftables.service, ufw, firewalld) do this"
        ),
        hint=AGAIN[kind],
    )


def _shared(rule: str) -> bool:
    """Whether a rule is of what Docker has for all bridges: it leads to Docker's chains, or out of them."""
    words = shlex.split(rule)[2:]
    inside = _chain(rule).startswith("DOCKER") and len(words) == 2 and words[0] == "-j"  # noqa: PLR2004 - -j X
    return bool(_jump(rule)) or (inside and (words[1] == "RETURN" or words[1].startswith("DOCKER")))


def _interfaces(rules: Iterable[str]) -> set[str]:
    return {word for rule in rules for option, word in pairwise(shlex.split(rule)) if option in ("-i", "-o")}


def _moved(kept: Mapping[str, Table], published: Published) -> dict[str, str]:
    """The address that a container had when its rules were kept → the one that it has now."""
    found = dict[str, str]()
    for match in (DNAT.fullmatch(rule) for table in kept.values() for rule in table.rules):
        if match:
            now = published.get(_key(match))
            found |= {match[4]: now} if now else {}
    return found


def _today(rule: str, bridges: Collection[str], published: Published, moved: Mapping[str, str]) -> str:
    """A rule that was kept as it has to be now; "" when what it is about is gone."""
    if not _interfaces([rule]) <= set(bridges):
        return ""
    match = DNAT.fullmatch(rule)
    if match:
        now = published.get(_key(match))
        return f"{rule[: match.start(4)]}{now}{rule[match.end(4) :]}" if now else ""
    if all(address in moved for address in HOST.findall(rule)):
        return HOST.sub(lambda found: moved[found[0]], rule)
    return ""


def _key(match: re.Match[str]) -> tuple[str, str, str]:
    return match[2], match[1] or "0.0.0.0", match[3]  # noqa: S104 - as Docker says it


def _plain(option: str, word: str, own: Own) -> str:
    """A word of a rule with our names taken out: B for a bridge, N for an address in a subnet."""
    if option in ("-i", "-o") and word in own.bridges:
        return "B"
    if option in ("-s", "-d", "--to-destination") and _within(word, own.networks):
        return "N"
    return word


def _within(word: str, networks: tuple[Network, ...]) -> bool:
    match = re.fullmatch(r"\[(\S+)\](?::\d+)?|([\d.]+)(?::\d+)?|(\S+)", word)
    try:
        found = ipaddress.ip_network(next(filter(None, match.groups())) if match else word, strict=False)
    except ValueError:
        return False
    return any(found.version == network.version and network.supernet_of(found) for network in networks)  # type: ignore[arg-type]


def _unused(made: set[str], rules: list[str]) -> set[str]:
    """Those of the chains that hold nothing but what Docker puts there, and that nobody else jumps to."""
    doomed = set(made)
    while True:
        held = set()
        for rule in rules:
            chain, targets = _chain(rule), set(_targets(rule))
            if chain in doomed and shlex.split(rule)[2:] != ["-j", "RETURN"] and not targets & doomed:
                held.add(chain)
            if chain not in doomed and _jump(rule) not in doomed:
                held |= targets & doomed
        if not held:
            return doomed
        doomed -= held


def _chain(rule: str) -> str:
    return rule.split()[1]


def _targets(rule: str) -> Iterator[str]:
    return (word for option, word in pairwise(shlex.split(rule)) if option in ("-j", "-g"))


def _jump(rule: str) -> str:
    """The Docker chain that a rule of Docker's in a built-in chain jumps to, or ""."""
    match = JUMPS.fullmatch(rule.removeprefix("-A "))
    return match[1] if match else ""
