"""The picture of the provisioning network: the drawing of 2015, with the names and states of now. Pure.

It is drawn on a grid, box by box, so that rows stay aligned whatever the names are; a long name is cut.
"""

from dataclasses import dataclass, field

from osbox.network.values import Link, NetState

WIDTH = 100
MACHINE, NEUTRON, CLOUD, NETWORK = (0, 77), (2, 41), (44, 75), (80, 99)  # first and last column of each box
VETH, PUBLISHED = 8, 50  # columns of the lines between the boxes
BRIDGE_TOP = 9
GUESTS_TOP = BRIDGE_TOP + 4


@dataclass
class _Canvas:
    """Characters on a grid; what is drawn later lies on top."""

    cells: dict[tuple[int, int], str] = field(default_factory=dict)

    def text(self, row: int, column: int, words: str, width: int = WIDTH) -> None:
        shown = words if len(words) <= width else words[: width - 1] + "…"
        for n, char in enumerate(shown):
            self.cells[row, column + n] = char

    def row(self, row: int, box: tuple[int, int], name: str, words: str) -> None:
        """A name and its state inside a box."""
        left, right = box[0] + 2, box[1] - 1
        self.text(row, left, name, 15)
        self.text(row, left + 16, words, right - left - 16)

    def box(self, top: int, bottom: int, columns: tuple[int, int], title: str = "") -> None:
        left, right = columns
        for row, ends in ((top, "┌┐"), (bottom, "└┘")):
            self.text(row, left, ends[0] + "─" * (right - left - 1) + ends[1])
        for row in range(top + 1, bottom):
            self.text(row, left, "│")
            self.text(row, right, "│")
        if title:
            self.text(top, left + 1, f" {title} ", right - left - 1)

    def __str__(self) -> str:
        rows = range(max(row for row, _ in self.cells) + 1)
        lines = (
            "".join(self.cells.get((row, column), " ") for column in range(WIDTH)).rstrip() for row in rows
        )
        return "\n".join(lines) + "\n"


def draw(state: NetState) -> str:
    """The network as it is, in at most 100 columns."""
    canvas = _Canvas()
    guests = [
        port for port in state.ports if port.name != state.site.veth[0] and not _is_physical(state, port)
    ]
    bottom = GUESTS_TOP + max(len(guests), 1) + 3
    canvas.box(0, bottom, MACHINE, "this machine")
    _neutron(canvas, state)
    _cloud(canvas, state)
    _bridge(canvas, state)
    _physical(canvas, state)
    _guests(canvas, guests)
    canvas.text(bottom - 2, 4, f"way out    {_way_out(state)}", 70)
    canvas.text(bottom - 1, 4, f"firewall   {_firewall(state)}", 70)
    return str(canvas)


def _neutron(canvas: _Canvas, state: NetState) -> None:
    canvas.box(1, 7, NEUTRON, state.holder)
    if not state.pid:
        canvas.text(7, NEUTRON[0] + 1, " the container does not run ")
    canvas.row(2, NEUTRON, "OVN", _runs(state, "ovn-controller"))
    canvas.row(3, NEUTRON, "Open vSwitch", _runs(state, "ovs-vswitchd"))
    # Open vSwitch's taps and the promiscuous mode of its ports outlive it: both mean something only while it
    # runs.
    switch = bool(state.programs.get("ovs-vswitchd"))
    canvas.row(4, NEUTRON, "br-ex", ("made" if switch else "idle") if state.inner("br-ex") else "missing")
    inner = state.inner(state.site.veth[1])
    used = (", port of br-ex" if switch and inner.promiscuous else ", not in br-ex") if inner else ""
    canvas.text(5, VETH, "│")
    canvas.row(6, NEUTRON, state.site.veth[1], _link(inner) + used)
    if state.paired:
        canvas.text(7, VETH, "┬")
        canvas.text(8, VETH, "│ veth")


def _cloud(canvas: _Canvas, state: NetState) -> None:
    canvas.box(1, 7, CLOUD, "containers of the cloud")
    services = ("Keystone, Glance, Nova,", "Neutron, Ironic, Swift,", "TFTP, HTTP, DNS", "")
    for row, words in enumerate((*services, f"ports on {state.site.address}")):
        canvas.text(2 + row, CLOUD[0] + 2, words, CLOUD[1] - CLOUD[0] - 3)
    canvas.text(7, PUBLISHED, "┬")
    canvas.text(8, PUBLISHED, "│ NAT by the engine")


def _bridge(canvas: _Canvas, state: NetState) -> None:
    columns = (NEUTRON[0], CLOUD[1])
    canvas.box(BRIDGE_TOP, BRIDGE_TOP + 3, columns)
    outer = state.link(state.site.veth[0])
    plugged = "" if outer is None or outer.master == state.site.bridge else ", not in the bridge"
    canvas.row(BRIDGE_TOP + 1, columns, state.site.veth[0], _link(outer) + plugged)
    bridge = state.link(state.site.bridge)
    shown = [text for text in bridge.addresses if ":" not in text] if bridge else []
    canvas.row(BRIDGE_TOP + 2, columns, state.site.bridge, ", ".join([_link(bridge), *shown]))
    if state.paired:
        canvas.text(BRIDGE_TOP, VETH, "┴")
    canvas.text(BRIDGE_TOP, PUBLISHED, "┴")


def _physical(canvas: _Canvas, state: NetState) -> None:
    row, wall = BRIDGE_TOP + 2, CLOUD[1]
    ports = [port for port in state.ports if _is_physical(state, port)]
    words = ", ".join(f"{port.name} {_link(port)}" for port in ports) or "no physical interface"
    shown = words if len(words) <= 24 else words[:23] + "…"  # noqa: PLR2004 - what is left of the row
    canvas.text(row, wall - 1 - len(shown), shown)
    if ports:
        canvas.box(row - 2, row + 2, NETWORK, "network")
        canvas.text(row, wall, "├" + "─" * (NETWORK[0] - wall - 1) + "┤")
        canvas.text(row, MACHINE[1], "┼")
        canvas.text(row, NETWORK[0] + 2, "bare-metal nodes")


def _guests(canvas: _Canvas, guests: list[Link]) -> None:
    if not guests:
        canvas.text(GUESTS_TOP, 4, "no virtual nodes")
        return
    canvas.text(BRIDGE_TOP + 3, VETH, "┬")
    for n, port in enumerate(guests):
        canvas.text(GUESTS_TOP + n, VETH, "└─" if n == len(guests) - 1 else "├─")
        canvas.text(GUESTS_TOP + n, VETH + 3, port.name, 15)
        what = "virtual node" if port.kind == "tun" else "other port"
        canvas.text(GUESTS_TOP + n, VETH + 20, f"{_link(port)}, {what}")


def _way_out(state: NetState) -> str:
    outs = [rule.split(" -o ")[1].split()[0] for rule in state.rules or () if rule.startswith("nat ")]
    return (
        f"nodes reach the Internet through {', '.join(outs)} (masqueraded)" if outs else "none for the nodes"
    )


def _firewall(state: NetState) -> str:
    if state.rules is None:
        return "unknown: the engine does not run"
    return f"{len(state.rules)} rules with the comment {state.mark}" if state.rules else "no rules of osbox"


def _is_physical(state: NetState, port: Link) -> bool:
    return port.name in state.before or port.kind not in ("tun", "veth")


def _runs(state: NetState, program: str) -> str:
    return "runs" if state.programs.get(program) else "does not run"


def _link(link: Link | None) -> str:
    if link is None:
        return "missing"
    return "up" if link.up else "down"
