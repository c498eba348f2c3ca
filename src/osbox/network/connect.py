"""The provisioning network's verbs: `osbox net connect`, `show`, `disconnect`, and its removal for `down
--purge`."""

from osbox import log
from osbox.engine.engine import Engine, require_root
from osbox.network import converge as net
from osbox.network.plan import left_out, plan
from osbox.network.values import AGAIN, Change, NetState, Wish
from osbox.site.ledger import ledger
from osbox.site.site import Paths, Site


def connect(
    paths: Paths, site: Site, engine: Engine, interface: str = "", *, force: bool = False
) -> list[Change]:
    """Join bridge, neutron namespace and, if named, a physical interface; connecting again changes
    nothing."""
    require_root()
    at = net.doors(paths, site, engine)
    wish = Wish(do="connect", interface=interface, force=force)
    changes = _say(net.converge(at, wish, "osbox net connect"))
    _tell_left_out(at)
    return changes


def disconnect(paths: Paths, site: Site, engine: Engine | None) -> list[Change]:
    """Undo `connect`. The bridge stays while nodes are plugged in or the cloud, published there, runs."""
    require_root()
    at = net.doors(paths, site, engine)
    changes = _say(net.converge(at, Wish(do="disconnect"), "osbox net disconnect"))
    state = net.observe(at)
    if state.link(site.bridge):
        users = ["the cloud, whose ports are published on it"] * bool(state.pid) + [
            port.name for port in state.ports
        ]
        reason = "used by " + ", ".join(users) if users else "osbox did not make it"
        log.say(f"The bridge {site.bridge} stays: {reason}")
    return changes


def remove(paths: Paths, site: Site, engine: Engine | None) -> list[Change]:
    """Remove all that this network is on the host (`osbox down --purge`).

    Do it while the engine still runs.
    """
    require_root()
    return net.converge(net.doors(paths, site, engine), Wish(do="remove"), "osbox down --purge")


def show(paths: Paths, site: Site, engine: Engine | None) -> NetState:
    """What there is now: `picture.draw` draws it, `model_dump(mode="json")` is its JSON."""
    require_root()
    return net.observe(net.doors(paths, site, engine))


def _say(changes: list[Change]) -> list[Change]:
    if not changes:
        log.say("Nothing to change")
    return changes


def reconnect(paths: Paths, site: Site, engine: Engine) -> list[Change]:
    """Bring the network back as it was last connected (`osbox up`, after a reboot or a replaced container),
    if it ever was."""
    if not ledger(paths.home).find("link", site.veth[0]):
        return []
    at = net.doors(paths, site, engine)
    changes = net.converge(at, AGAIN, "osbox up")
    _tell_left_out(at)
    return changes


def pending(paths: Paths, site: Site, engine: Engine, *, replaced: bool) -> list[str]:
    """What `osbox up` would change of the network on the host, in words.

    replaced: Neutron's namespace will be a new one. The host is looked at once.
    """
    connected = ledger(paths.home).find("link", site.veth[0])
    at = net.doors(paths, site, engine if connected else None)
    state = net.observe(at)
    found = [change.text for change in plan(state, Wish(do="bridge"))]
    if not connected:
        return found
    _tell_left_out(at, state)
    if replaced or not state.pid:
        return [*found, f"join {site.bridge} and Neutron's new network namespace, as it was connected before"]
    texts = [change.text for change in plan(state, AGAIN)]
    return found + [text for text in texts if text not in found]


def _tell_left_out(at: net.Doors, seen: NetState | None = None) -> None:
    """Warn of interfaces that were connected: real nodes behind them are not reached."""
    if not at.ledger.entries("port"):
        return
    for name, reason in left_out(seen or net.observe(at)).items():
        log.warn(
            f"{name} was connected to {at.site.bridge} and is left out: {reason}"
            f" (osbox net connect --interface {name} takes it, or says what that needs)"
        )
