"""From what is there to what is wanted: the changes to the provisioning network, in order, by comparing
values. Pure.

Two rules run through it. What osbox did not make is used where it fits and never changed or removed. And
every change leaves a state from which planning again leads to the same end, so that a run can be killed
anywhere.
"""

import re

from osbox.engine import firewall
from osbox.errors import Error, UserError
from osbox.network import claims
from osbox.network.values import Before, Change, Link, NetState, Wish

USER_CHAIN = "filter DOCKER-USER"
NO_PORTS = {"bridge": "a bridge", "vrf": "a routing domain (VRF)"}
NO_MEDIA = {
    "wireless": "wireless, and an access point takes frames of one address only",
    "other": "no Ethernet, but a tunnel or a point-to-point link",
}
"""What the kernel takes into no bridge, in its own words "Operation not supported" or "Invalid argument"."""


def plan(state: NetState, wish: Wish) -> list[Change]:
    """The changes that lead from state to wish, [] if there are none.

    Raises UserError rather than touch a stranger.
    """
    if wish.do == "disconnect":
        return _disconnect(state, bridge=not state.pid and not _guests(state))
    if wish.do == "remove":
        return _disconnect(state, bridge=True)
    _refuse_strangers(state, wish)
    if wish.do == "bridge":
        return _bridge(state)
    if not state.pid:
        raise UserError(
            f"the container {state.holder} does not run, so there is nothing to connect", hint="osbox up"
        )
    physical = _physical(state, wish)
    return [*_bridge(state), *_veth(state), *_firewall(state, _taken(state, physical)), *physical]


def rules(state: NetState, uplinks: list[str]) -> list[str]:
    """The firewall rules we want, spelled as `iptables -S` spells them, each with its table in front."""
    site, mark = state.site, f"-m comment --comment {state.mark}"
    inner = site.control_bridge
    wanted = [
        f"{USER_CHAIN} -i {site.bridge} -o {site.bridge} {mark} -j ACCEPT",
        # Docker keeps others from ports that are not published by the policy of FORWARD alone, and sets that
        # only where it was who turned forwarding on (moby's setupIPForwarding): with libvirt or a VPN there,
        # whoever has a route, a node first, would reach all ports of the services, in clear.
        (
            f"{USER_CHAIN} ! -i {inner} -o {inner} "
            f"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT {mark} -j DROP"
        ),
    ]
    for uplink in uplinks:
        wanted += [
            f"{USER_CHAIN} -s {site.subnet} -i {site.bridge} -o {uplink} {mark} -j ACCEPT",
            (
                f"{USER_CHAIN} -d {site.subnet} -i {uplink} -o {site.bridge} "
                f"-m conntrack --ctstate RELATED,ESTABLISHED {mark} -j ACCEPT"
            ),
            f"nat POSTROUTING -s {site.subnet} -o {uplink} {mark} -j MASQUERADE",
        ]
    return wanted


def bridge_mac(state: NetState) -> str:
    """A fixed MAC: without one a bridge takes its lowest port's, and nodes lose the host when a tap comes or
    goes."""
    return "02:0b:" + ":".join(f"{byte:02x}" for byte in state.site.address.packed)


def _refuse_strangers(state: NetState, wish: Wish) -> None:
    site, bridge = state.site, state.link(state.site.bridge)
    other_name = f'choose another name, bridge = "NAME" in {state.file}, or remove {site.bridge}'
    if bridge and bridge.kind != "bridge":
        what = bridge.kind or "hardware interface"
        raise UserError(
            f"{site.bridge} exists on this machine and is no bridge but a {what}", hint=other_name
        )
    if bridge and f"link:{site.bridge}" not in state.made:
        foreign = [text for text in bridge.addresses if ":" not in text and text != state.address]
        if foreign:
            listed = ", ".join(foreign)
            raise UserError(
                f"a bridge {site.bridge} that osbox did not make has the address {listed}", hint=other_name
            )
    spared = {wish.interface, *retaken(state)}
    found = claims.refused(claims.conflicts(state, ["subnet"], spared))
    if found:
        raise claims.refusal(state, found)


def _bridge(state: NetState) -> list[Change]:
    name = state.site.bridge
    bridge = state.link(name)
    if bridge is None:
        return [
            Change(do="add-bridge", name=name, value=bridge_mac(state)),
            Change(do="add-address", name=name, value=state.address),
            Change(do="up", name=name),
        ]
    changes = []
    if bridge.forward_delay and f"link:{name}" in state.made:
        changes.append(Change(do="no-delay", name=name))
    if state.address not in bridge.addresses:
        changes.append(Change(do="add-address", name=name, value=state.address))
    if not bridge.up:
        changes.append(Change(do="up", name=name))
    return changes


def _veth(state: NetState) -> list[Change]:
    outer, inner = state.site.veth
    changes = []
    one, two = state.link(outer), state.inner(inner)
    if not state.paired:
        if one and f"link:{outer}" not in state.made:
            raise UserError(
                f"an interface {outer} exists on this machine and osbox did not make it",
                hint=f'choose other names: veth = ["NAME0", "NAME1"] in {state.file}',
            )
        # The pair of a container that was replaced: its far end is in a namespace that nobody uses any more.
        changes += [Change(do="delete-link", name=outer)] if one else []
        changes += [Change(do="delete-link", name=inner, inside=True)] if two else []
        changes.append(Change(do="add-veth", name=outer, value=inner))
        one = two = None
    # Off before the first packet: with it on, TCP between the bridge and Open vSwitch's userspace datapath
    # hangs.
    if one is None or one.tx_checksum is not False:
        changes.append(Change(do="offload-off", name=outer))
    if two is None or two.tx_checksum is not False:
        changes.append(Change(do="offload-off", name=inner, inside=True))
    if one is None or one.master != state.site.bridge:
        changes.append(Change(do="set-master", name=outer, value=state.site.bridge))
    if one is None or not one.up:
        changes.append(Change(do="up", name=outer))
    if two is None or not two.up:
        changes.append(Change(do="up", name=inner, inside=True))
    return changes


def _firewall(state: NetState, taken: set[str]) -> list[Change]:
    if state.swept:
        raise firewall.gone(state.swept)
    if not state.chain or state.rules is None:
        raise Error(
            "the engine's firewall has no chain DOCKER-USER, so bridged frames cannot be let through",
            hint=(
                'Docker must manage iptables: see "iptables" and "firewall-backend" in'
                " /etc/docker/daemon.json"
            ),
        )
    wanted = rules(
        state, sorted(link.name for link in state.links if link.default_route and link.name not in taken)
    )
    changes = [Change(do="add-rule", name=rule) for rule in wanted if rule not in state.rules]
    return changes + [Change(do="delete-rule", name=rule) for rule in _surplus(state.rules, wanted)]


def _surplus(present: tuple[str, ...], wanted: list[str]) -> list[str]:
    """Rules of ours that are not wanted any more, and second copies of those that are."""
    return [rule for n, rule in enumerate(present) if rule not in wanted or rule in present[:n]]


def _taken(state: NetState, physical: list[Change]) -> set[str]:
    """Links that lead into the bridge, now or after these changes: never a way out."""
    taken = {item.name for item in physical if item.do == "take"}
    return {state.site.bridge, *(port.name for port in state.ports), *taken}


def _physical(state: NetState, wish: Wish) -> list[Change]:
    if not wish.interface:
        return [change for name, before in state.before.items() for change in _again(state, name, before)]
    # One at a time: two ports into the same switch would be a loop, and the bridge runs no spanning tree.
    changes = [
        change for name in state.before if name != wish.interface for change in _give_back(state, name)
    ]
    link = _require_usable(state, wish.interface)
    if link.master == state.site.bridge:
        return changes + ([] if link.up else [Change(do="up", name=link.name)])
    _require_consent(link, wish)
    return [*changes, _take(state, link, forced=wish.force)]


def retaken(state: NetState) -> set[str]:
    """Interfaces that were connected once and that the next `connect` takes again, addresses and all."""
    waiting = [name for name in state.before if (link := state.link(name)) and not link.master]
    return {name for name in waiting if not _left_out(state, name)}


def left_out(state: NetState) -> dict[str, str]:
    """Interfaces that were connected once and that nobody takes again without being asked, each with the
    reason."""
    return {name: reason for name in state.before if (reason := _left_out(state, name))}


def _left_out(state: NetState, name: str) -> str:
    link, before = state.link(name), state.before[name]
    if link is None:
        return "it is not on this machine any more"
    if link.master:
        return "" if link.master == state.site.bridge else f"it is a port of {link.master} now"
    if link.carries_the_machine and not (before.forced and before.carried_the_machine):
        return "it carries this machine's default route now"
    if link.addresses and not before.forced:
        return f"it has the address {', '.join(link.addresses)} now"
    return ""


def _again(state: NetState, name: str, before: Before) -> list[Change]:
    """An interface that was connected once stays so: after a reboot it comes back, if that needs no new
    consent."""
    link = state.link(name)
    if link is None or _left_out(state, name):
        return []
    if link.master:
        return [] if link.up else [Change(do="up", name=name)]
    return [_take(state, link, forced=before.forced)]


def _take(state: NetState, link: Link, *, forced: bool) -> Change:
    before = Before(
        boot=state.boot,
        up=link.up,
        addresses=link.addresses,
        routes=link.routes,
        default_ipv6=link.default_ipv6,
        forced=forced,
    )
    return Change(do="take", name=link.name, value=state.site.bridge, before=before)


def _require_consent(link: Link, wish: Wish) -> None:
    if link.carries_the_machine and not wish.force:
        raise UserError(
            f"{link.name} carries this machine's default route: in the bridge it would cut the machine off",
            hint=(
                f"use another interface, or, from a console: osbox net connect --interface {link.name}"
                " --force"
            ),
        )
    if link.addresses and not wish.force:
        raise UserError(
            f"{link.name} has the address {', '.join(link.addresses)}, which stops working in the bridge",
            hint=f"osbox net connect --interface {link.name} --force (`osbox net disconnect` gives it back)",
        )


def _require_usable(state: NetState, name: str) -> Link:
    link = state.link(name)
    usable = [item.name for item in state.links if not _unusable(state, item)]
    listed = "interfaces that can be used: " + (", ".join(usable) or "none")
    if link is None:
        own = re.split("[@:]", name.strip())[0]  # as ip and ifconfig show eth1.29@eth1 and eth1:0
        other = f"its name here is {own}; " if own != name and state.link(own) else ""
        raise UserError(f"there is no interface {name} on this machine", hint=other + listed)
    why = _unusable(state, link)
    if why:
        raise UserError(f"{name} cannot be used: it is {why}", hint=listed)
    return link


def _unusable(state: NetState, link: Link) -> str:
    if link.loopback:
        return "the loopback interface"
    if link.name == state.site.veth[0]:
        return "osbox's own"
    if link.kind in NO_PORTS:
        return NO_PORTS[link.kind]
    if link.master not in ("", state.site.bridge):
        return f"a port of {link.master}"
    if link.kind == "tun":
        return "a tap of a virtual machine"
    return NO_MEDIA.get(link.medium, "")


def _guests(state: NetState) -> list[str]:
    """Ports of the bridge that are neither our veth nor a physical interface that we took: nodes' taps,
    mostly."""
    return [
        port.name for port in state.ports if port.name != state.site.veth[0] and port.name not in state.before
    ]


def _give_back(state: NetState, name: str) -> list[Change]:
    link, before = state.link(name), state.before[name]
    if link is None or before.boot != state.boot or link.master not in ("", state.site.bridge):
        return [Change(do="forget", name=f"port:{name}")]
    return [Change(do="give-back", name=name, before=before)]


def _disconnect(state: NetState, *, bridge: bool) -> list[Change]:
    name, (outer, _) = state.site.bridge, state.site.veth
    if state.rules is None and any(entry.startswith("firewall:") for entry in state.made):
        raise Error(
            "the engine does not run, so its firewall rules cannot be removed", hint="osbox engine start"
        )
    changes = [change for taken in state.before for change in _give_back(state, taken)]
    changes += [Change(do="delete-rule", name=rule) for rule in state.rules or ()]
    # By the ledger and not by today's names: site.toml may have been changed since.
    ours = {entry.removeprefix("link:") for entry in state.made if entry.startswith("link:")}
    ours |= {outer} if state.paired else set()
    changes += [Change(do="delete-link", name=link) for link in sorted(ours & _names(state)) if link != name]
    found = state.link(name)
    if bridge and found and f"address:{name}" in state.made:
        changes.append(Change(do="delete-address", name=name, value=state.address))
    if bridge and found and name in ours:
        changes.append(Change(do="delete-link", name=name))
    return changes + [Change(do="forget", name=entry) for entry in sorted(_gone(state))]


def _names(state: NetState) -> set[str]:
    return {link.name for link in state.links}


def _gone(state: NetState) -> set[str]:
    """Entries of the ledger whose thing is not there any more, so that no change strikes them out."""
    there = {f"link:{name}" for name in _names(state)} | {f"firewall:{rule}" for rule in state.rules or ()}
    there |= {f"address:{name}" for name in _names(state)}
    return {entry for entry in state.stale | state.made - there if not entry.startswith("port:")}
