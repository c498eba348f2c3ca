"""Why a node does not get on: rules as data.

An event or a fact is a sign; the first rule whose signs are there names the cause. Pure.

SIGNS   which words of which source are which sign
RULES   which signs, seen and not seen in the last attempt, mean what, and the next command
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from osbox.metal.timeline import STRANGER, Event

ATTEMPT = re.compile(r'moved to provision state "(verifying|inspecting|cleaning|deploying|adopting)"')
FAILED = re.compile(r'moved to provision state "(deploy failed)"')
DONE = re.compile(r'moved to provision state "active"')
WAITING = re.compile(r"inspect wait|clean wait|wait call-back")
EARLY = timedelta(seconds=30)  # a virtual node asks for an address 5 s after power on; a server takes minutes
BOOTING = timedelta(seconds=150)  # an emulated ramdisk's first heartbeat came 60 to 90 s after it was fetched


@dataclass(frozen=True)
class Story:
    """All that is known of a node. `facts` are signs that no event shows, each with its evidence."""

    name: str
    state: str
    now: datetime
    events: Sequence[Event]
    words: Mapping[str, str] = field(default_factory=dict)
    """For the texts of causes: macs, bmc, server, error, …"""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """The likely cause: which rule, what it means in words, what shows it, the next command."""

    name: str
    text: str
    next: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """If the state fits (a pattern; "" is any), all of `seen` and none of `unseen` are signs, then this is
    the cause."""

    name: str
    states: str
    seen: str
    unseen: str
    text: str
    next: str


# sign, sources, pattern
SIGNS: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (sign, sources, re.compile(pattern))
    for sign, sources, pattern in (
        (
            "bmc-login",
            "ironic conductor",
            (
                r"returned code 40[13]|Incorrect username or"
                r" password|[Uu]nauthorized|AccessError|RAKP|[Pp]rivilege level"
            ),
        ),
        (
            "bmc-system",
            "ironic conductor",
            r"Systems/\S+ returned code 404|ResourceNotFound|System \S+ not found",
        ),
        ("bmc-certificate", "ironic conductor", r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
        (
            "bmc-silent",
            "ironic conductor",
            r"Unable to connect to http|ConnectionError|Connection refused|No route to host|Connection"
            r" timed out"
            r"|ConnectTimeout|Unable to establish LAN|Name or service not known|Max retries"
            r" exceeded|[Ff]ailed to get power state",
        ),
        ("dhcp-stranger", "dhcp", re.escape(STRANGER)),
        ("dhcp-request", "dhcp", rf"^DHCP(?:DISCOVER|REQUEST)(?!.*{re.escape(STRANGER)})"),
        ("dhcp-answer", "dhcp", r"^DHCP(?:OFFER|ACK)"),
        ("tftp-missing", "tftp", r"^not found"),
        ("tftp", "tftp", r"^/"),
        ("http", "http", r": [23]\d\d, "),
        ("http-refused", "http", r": [45]\d\d, "),
        ("ramdisk", "http", r"ramdisk\S* by \S+ 200, "),
        ("heartbeat", "ironic", r"^heartbeat"),
        ("panic", "console", r"Kernel panic|not syncing|end trace|Out of memory: Kill"),
        (
            "no-api",
            "console",
            r"error looking up node|Error getting configuration from Ironic|[Ee]rror (?:attempting to"
            r" heartbeat|sending heartbeat)"
            r"|Connection error when accessing|Error finding IP|No route to host|No reachable Ironic API",
        ),
        (
            "memory-small",
            "ironic conductor nova",
            # Ironic's check before, the agent's failure once it fetches, qemu-img's while it converts.
            r"Memory size is too small for requested image|Unable to write image to /tmp/.*[Nn]o space left"
            r"|Cannot allocate memory",
        ),
        (
            "disk-small",
            "ironic conductor nova",
            r"[Nn]o space left on device|too small|is (?:larger|smaller) than|enough (?:disk )?space",
        ),
        (
            "disk-none",
            "ironic conductor nova",
            r"No suitable device was found|No disks? (?:is|are|was|were)? ?found|DeviceNotFound",
        ),
        (
            "checksum",
            "ironic conductor nova",
            r"failed to verify against checksum|[Cc]hecksum (?:mismatch|verification)|checksum.*differ",
        ),
        ("image-fetch", "ironic conductor nova", r"Error downloading image|ImageDownload|TempURL|temp_url"),
        (
            "callback",
            "ironic conductor",
            r"Timeout reached while (?:waiting for callback|cleaning|inspecting)",
        ),
        ("conductor-restart", "ironic conductor nova", r"can't be resumed by conductor"),
        (
            "power",
            "ironic conductor",
            r"maintenance: .*power (?:state|failure)|[Ff]ailed to set node power state",
        ),
        ("no-host", "nova", r"No valid host"),
    )
)

UNDER_WAY = (
    r"inspecting|inspect wait|cleaning|clean wait|deploying|wait call-back|verifying|deleting|adopting"
)
FAILURES = r"inspect failed|clean failed|deploy failed|error|adopt failed|rescue failed"
UNSHOWN = ("late", "unheard-conductor", "unheard-network", "unheard-placement")
"""Signs that are no words of a source: a warning has told those that said nothing."""
MOVING = f"{UNDER_WAY}|{FAILURES}|enroll|manageable"
UNUSED = r"(?!active).*"
AGAIN = "osbox node enroll nodes.yaml"
DRIVERS = f"osbox setup --kernel generic --firmware, then {AGAIN}"  # which points nodes to the new ramdisk
CONSOLE = "osbox node console {name} --log"
RULES: tuple[Rule, ...] = tuple(
    Rule(*row)
    for row in (
        (
            "service-down",
            MOVING,
            "service-down",
            "",
            "{service-down} does not run, and the node needs it",
            "osbox up",
        ),
        (
            "unheard-conductor",
            MOVING,
            "unheard-conductor",
            "",
            "not known: the conductor's log said nothing, and what others say may be of an earlier try",
            "osbox explain {name}, again; osbox logs ironic-conductor",
        ),
        (
            "conductor-restart",
            UNUSED,
            "conductor-restart",
            "",
            "ironic-conductor was restarted while it worked on the node, and gave that up",
            "{retry}",
        ),
        (
            "bmc-login",
            MOVING,
            "bmc-login",
            "heartbeat",
            "the BMC at {bmc} refuses user name or password",
            f"correct them in nodes.yaml, then {AGAIN}",
        ),
        (
            "bmc-system",
            MOVING,
            "bmc-system",
            "heartbeat",
            "the BMC at {bmc} knows no such system",
            f"correct system_id in nodes.yaml, then {AGAIN}",
        ),
        (
            "bmc-certificate",
            MOVING,
            "bmc-certificate",
            "heartbeat",
            "the certificate of the BMC at {bmc} is not trusted",
            f"verify_ca: false or the CA's file in nodes.yaml, then {AGAIN}",
        ),
        (
            "bmc-silent",
            MOVING,
            "bmc-silent",
            "heartbeat",
            "the BMC at {bmc} does not answer: cable, address, or it is restarting",
            f"try {{bmc-try}}, then {AGAIN}",
        ),
        (
            "memory-small",
            UNUSED,
            "memory-small",
            "",
            (
                "the image does not fit in the node's memory: what is not raw is fetched into it whole,"
                " beside the ramdisk, before it is written"
            ),
            (
                "qemu-img convert -O raw IMAGE NAME.raw; osbox setup --image NAME.raw (raw is streamed to the"
                " disk); then {retry}"
            ),
        ),
        (
            "disk-small",
            UNUSED,
            "disk-small",
            "",
            "the image does not fit on the node's disk",
            (
                "root_device in nodes.yaml names another disk; or a smaller image: osbox openstack image show"
                " NAME; then {retry}"
            ),
        ),
        (
            "disk-none",
            UNUSED,
            "disk-none",
            "",
            (
                "the ramdisk finds no disk to write to: none is there, it lacks the driver, or root_device"
                " fits none"
            ),
            f"look at root_device in nodes.yaml; for drivers: {DRIVERS}",
        ),
        (
            "checksum",
            UNUSED,
            "checksum",
            "",
            "what the node fetched is not the image that Glance has: its checksum differs",
            "osbox openstack image show NAME; upload it anew, then {retry}",
        ),
        (
            "image-fetch",
            UNUSED,
            "image-fetch",
            "",
            (
                "the node could not fetch the image: Swift's temporary URL was refused or not reached (port"
                " 8080, clocks)"
            ),
            "osbox logs swift-proxy; date, here and in the BMC's clock; then {retry}",
        ),
        (
            "power-cut",
            WAITING.pattern,
            "off",
            "",
            "the node is off while Ironic waits for its ramdisk: it was switched off, or lost its power",
            "{resume}",
        ),
        (
            "early",
            WAITING.pattern,
            "early",
            "service-down",
            (
                "nothing is overdue: the state is new, and firmware takes 5 s (virtual) to some minutes"
                " (servers)"
            ),
            "osbox explain {name}, in a minute",
        ),
        (
            "panic",
            "",
            "late panic",
            "heartbeat",
            "the kernel of the ramdisk stopped: its last words are on the console",
            f"{CONSOLE}; more memory (at least 768 MiB), or {DRIVERS}",
        ),
        (
            "working",
            UNDER_WAY,
            "heartbeat",
            "callback",
            "nothing is wrong so far: the ramdisk runs and talks to Ironic",
            f"wait, or {CONSOLE}",
        ),
        (
            "booting",
            UNDER_WAY,
            "late ramdisk booting",
            "heartbeat",
            "nothing is overdue: the ramdisk was fetched and boots",
            f"{CONSOLE}",
        ),
        (
            "no-api",
            "",
            "late no-api",
            "heartbeat",
            "the ramdisk runs and does not reach Ironic's API at {address}:6385: firewall or address",
            f"{CONSOLE}; iptables -S INPUT",
        ),
        (
            "ramdisk",
            "",
            "late ramdisk",
            "heartbeat",
            (
                "kernel and ramdisk were fetched, and no heartbeat came: the kernel does not start, does not"
                " know the network card, or has too little memory"
            ),
            f"{CONSOLE}; for drivers: {DRIVERS}",
        ),
        (
            "http-refused",
            "",
            "late http-refused",
            "ramdisk heartbeat",
            "the boot server refused what the node asked for",
            "osbox logs ipxe-httpd",
        ),
        (
            "kernel",
            "",
            "late http",
            "ramdisk heartbeat",
            "the boot script was fetched and the ramdisk was not, or not wholly: the node stopped on the way",
            CONSOLE,
        ),
        (
            "tftp-missing",
            "",
            "late tftp-missing",
            "http heartbeat",
            "TFTP does not have the file that the node asked for",
            "osbox logs pxe-tftp",
        ),
        (
            "tftp-only",
            "",
            "late tftp",
            "http heartbeat",
            (
                "the loader was fetched over TFTP and nothing over HTTP: a firewall on port 8090 of"
                " {address}, or a loader that does not know the network card"
            ),
            "iptables -S INPUT; osbox logs ipxe-httpd",
        ),
        (
            "answer-only",
            "",
            "late dhcp-answer",
            "tftp http heartbeat",
            (
                "DHCP answered, and the node fetched nothing: a firewall on 69/udp and 8090/tcp of {address},"
                " or another DHCP server was quicker"
            ),
            "iptables -S INPUT; osbox net show",
        ),
        (
            "no-neutron-port",
            "",
            "late dhcp-request no-port",
            "dhcp-answer heartbeat",
            (
                "{asker} asked for an address and got none: Neutron has no port with that MAC, which"
                " nodes.yaml does not name for booting"
            ),
            (
                "correct ports in nodes.yaml (the node has {macs} in Ironic); osbox node forget {name};"
                f" {AGAIN}"
            ),
        ),
        (
            "no-answer",
            "",
            "late dhcp-request",
            "dhcp-answer heartbeat",
            ("the node asked for an address and got none: OVN does not know {macs} yet, or does not answer"),
            "osbox probe",
        ),
        (
            "wrong-mac",
            "",
            "late dhcp-stranger",
            "dhcp-request heartbeat",
            "nothing came from {macs}, but a MAC that no node has asked for an address: is it this node's?",
            f"correct ports in nodes.yaml; osbox node forget {{name}}; {AGAIN}",
        ),
        (
            "unheard-network",
            "",
            "late unheard-network",
            "dhcp-request heartbeat",
            "not known: {unheard-network} said nothing, so whether the node asked is unseen",
            "osbox explain {name}, again",
        ),
        (
            "no-request",
            "",
            "late",
            "dhcp-request heartbeat",
            (
                "no DHCP request came from {macs}: the node does not boot from the network (boot order), or"
                " the cable or the MAC is another one"
            ),
            f"{CONSOLE}; osbox net show",
        ),
        (
            "power",
            "",
            "power",
            "",
            "the BMC at {bmc} does not do what it is told about power",
            "{bmc-try}; osbox openstack baremetal node show {name}",
        ),
        (
            "maintenance",
            "",
            "maintenance",
            "",
            "the node is in maintenance, and Ironic leaves it alone: {maintenance}",
            "osbox openstack baremetal node maintenance unset {name}",
        ),
        (
            "clean-failed",
            "clean failed",
            "",
            "",
            "cleaning failed: {error}",
            f"{CONSOLE}; {AGAIN} tries again",
        ),
        (
            "inspect-failed",
            "inspect failed",
            "",
            "",
            "inspection failed: {error}",
            f"{CONSOLE}; {AGAIN} tries again",
        ),
        ("failed", FAILURES, "", "", "Ironic gave up: {error}", f"{CONSOLE}; {{retry}}"),
        (
            "not-placed",
            "available",
            "no-host not-placed",
            "",
            "Nova finds no valid host: Placement does not know the node yet",
            "osbox logs nova-compute; it looks every 10 s",
        ),
        (
            "reserved",
            "available",
            "no-host reserved",
            "",
            "Nova found no valid host: Placement has the node as reserved (all of it)",
            "wait 10 s, then create the server again; osbox logs nova-compute",
        ),
        (
            "class",
            "available",
            "no-host class",
            "",
            "Nova finds no valid host: the flavor asks for other resources than {class}, which the node is",
            "osbox openstack flavor list --long; resource_class in nodes.yaml",
        ),
        (
            "unheard-placement",
            "available",
            "no-host unheard-placement",
            "",
            "not known why Nova found no valid host for {server}: {unheard-placement} said nothing",
            "osbox explain {name}, again",
        ),
        (
            "no-host",
            "available",
            "no-host",
            "",
            "Nova found no valid host for {server}, and the node is free now",
            "delete that server and create it again",
        ),
        ("in-use", "active", "", "", "nothing is wrong: the node is deployed{server-words}", f"{CONSOLE}"),
        (
            "available",
            "available",
            "",
            "",
            "nothing is wrong: the node is free",
            "osbox openstack server create …",
        ),
        (
            "verify",
            "enroll",
            "error",
            "",
            "Ironic cannot use the BMC at {bmc}: {error}",
            f"correct nodes.yaml, then {AGAIN}",
        ),
        (
            "waiting-for-you",
            "enroll|manageable",
            "",
            "",
            "nothing is under way: the node was not brought to `available`",
            AGAIN,
        ),
        (
            "under-way",
            "",
            "",
            "",
            "nothing is wrong so far: Ironic is at work ({state})",
            f"osbox explain {{name}}, in a minute; {CONSOLE}",
        ),
    )
)


def begin(story: Story) -> datetime:
    """When the last attempt at something began: signs of earlier ones tell nothing.

    A deployment that failed and was cleaned up counts.
    """
    moves = [
        event
        for event in story.events
        if event.source == "conductor" and "moved to provision state" in event.what
    ]
    starts = [event for event in moves if ATTEMPT.search(event.what)]
    if not starts:
        return datetime.min.replace(tzinfo=UTC)
    failed = [event.time for event in moves if FAILED.search(event.what)]
    done = [event.time for event in moves if DONE.search(event.what)]
    if failed and '"cleaning"' in starts[-1].what and (not done or done[-1] < failed[-1]):
        before = [event.time for event in starts if event.time <= failed[-1]]
        return before[-1] if before else starts[-1].time
    return starts[-1].time


def signs(story: Story) -> dict[str, str]:
    """The signs of the last attempt, each with what shows it."""
    since = begin(story)
    recent = [event for event in story.events if event.time >= since.replace(microsecond=0)]
    found = {
        sign: f"{event.source}: {event.what}"
        for sign, sources, pattern in SIGNS
        for event in recent
        if event.source in sources.split() and pattern.search(event.what)
    }
    found |= {name: value for name, value in story.facts.items() if value}
    waits = bool(WAITING.fullmatch(story.state))
    if waits or "callback" in found:
        found["late"] = f"ironic: state {story.state}"
    if waits and since > story.now - EARLY:
        found["early"] = f"ironic: since {since:%H:%M:%S}"
    fetched = [event.time for event in recent if event.source == "http" and "ramdisk" in event.what]
    if fetched and story.now - fetched[-1] < BOOTING:
        found["booting"] = f"http: the ramdisk was fetched {(story.now - fetched[-1]).seconds} s ago"
    return found


def diagnose(story: Story) -> Cause:
    """The first rule that fits; the last one fits everything."""
    found = signs(story)
    rule = next(rule for rule in RULES if _fits(rule, story.state, found))
    words: dict[str, Any] = {"name": story.name, "state": story.state, **story.words, **story.facts}
    evidence = tuple(dict.fromkeys(found[sign] for sign in rule.seen.split() if sign not in UNSHOWN))
    return Cause(rule.name, _fill(rule.text, words), _fill(rule.next, words), evidence)


def _fits(rule: Rule, state: str, facts: Mapping[str, str]) -> bool:
    known = not rule.states or re.fullmatch(rule.states, state) is not None
    return known and set(rule.seen.split()) <= facts.keys() and not set(rule.unseen.split()) & facts.keys()


def _fill(text: str, words: Mapping[str, Any]) -> str:
    """{name} by its word; a word may hold another one ({retry} names the node)."""
    for _ in range(2):
        text = re.sub(
            r"\{([a-z-]+)\}", lambda match: str(words.get(match[1]) or f"({match[1]} unknown)"), text
        )
    return text
