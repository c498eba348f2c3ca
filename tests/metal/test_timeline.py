"""What was seen of a node, from real lines of the services' logs."""

from datetime import UTC, datetime

import pytest

from osbox.metal import timeline
from osbox.metal.timeline import Event

MAC, ADDRESS = "52:54:00:82:e2:38", "10.29.29.147"
UUID = "75f67350-2396-4e05-8fa1-b1b8ad9ab58f"
NOW = datetime(2026, 11, 23, 2, 20, tzinfo=UTC)
DHCP = """\
2026-11-23T02:15:12.104512345Z DHCPDISCOVER 52:54:00:82:e2:38
2026-11-23T02:15:12.105512345Z DHCPOFFER 52:54:00:82:e2:38 10.29.29.147 from 10.29.29.1
2026-11-23T02:15:13.000000001Z 2026-11-23T02:15:13Z|00012|netdev_linux|WARN|ext1: something of Open vSwitch
2026-11-23T02:15:13.100000001Z DHCPREQUEST 52:54:00:82:e2:38 10.29.29.147 to 10.29.29.1
2026-11-23T02:15:13.200000001Z DHCPACK 52:54:00:82:e2:38 10.29.29.147 from 10.29.29.1
2026-11-23T02:15:14.300000001Z DHCPDISCOVER 52:54:00:00:00:01
2026-11-23T02:15:15.400000001Z DHCPDISCOVER 52:54:00:00:00:01
"""
HTTP = """\
2026-11-23T02:15:16+00:00 10.29.29.147 "GET /boot.ipxe HTTP/1.1" 200 1004
2026-11-23T02:15:17+00:00 10.29.29.147 "GET /a68dc602/deploy_ramdisk HTTP/1.1" 200 60281818
2026-11-23T02:15:18+00:00 10.29.29.99 "GET /other HTTP/1.1" 404 0
"""
TFTP = """\
2026-11-23T02:15:14.120000001Z dnsmasq-tftp: sent /pxe-boot-data/tftpboot/snponly.efi to 10.29.29.147
2026-11-23T02:15:14.220000001Z dnsmasq-tftp: file /pxe-boot-data/tftpboot/autoexec.ipxe not found for 10.29.29.147
2026-11-23T02:15:15.220000001Z dnsmasq-tftp: file /pxe-boot-data/tftpboot/no-such-file not found for 127.0.0.1
"""  # noqa: E501
CONDUCTOR = f"""\
2026-11-23T02:15:10.5Z 2026-11-23 02:15:10.499 7 INFO ironic.conductor.task_manager [None req-1 - - - - - -] Node {UUID} moved to provision state "inspecting" from state "manageable"; target provision state is "manageable"
2026-11-23T02:15:11.5Z 2026-11-23 02:15:11.499 7 DEBUG ironic.x [None req-1 - - - - - -] Node {UUID} is looked at
2026-11-23T02:15:12.5Z 2026-11-23 02:15:12.499 7 WARNING ironic.x [None req-1 - - - - - -] Node of others is lost
2026-11-23T02:15:13.5Z 2026-11-23 02:15:13.499 7 ERROR ironic.x [None req-1 - - - - - -] Failed to get power state for node {UUID}: agent_token=abc&x
"""  # noqa: E501


def whats(events: list[Event]) -> list[str]:
    return [event.what for event in events]


def test_dhcp_of_a_node_and_the_addresses_it_was_given() -> None:
    found = timeline.leases(DHCP)
    assert whats(timeline.dhcp(found, [MAC.upper()])) == [
        f"DHCPDISCOVER {MAC}",
        f"DHCPOFFER {ADDRESS} {MAC} from 10.29.29.1",
        f"DHCPREQUEST {ADDRESS} {MAC} to 10.29.29.1",
        f"DHCPACK {ADDRESS} {MAC} from 10.29.29.1",
    ]
    assert found[0].time == datetime(2026, 11, 23, 2, 15, 12, tzinfo=UTC)
    assert timeline.addresses(found, [MAC]) == {ADDRESS}
    assert timeline.dhcp(found, ["52:54:00:99:99:99"]) == []


def test_a_request_that_nobody_answers_is_told() -> None:
    found = timeline.leases(DHCP)
    assert whats(timeline.dhcp(found, ["52:54:00:00:00:01"])) == ["DHCPDISCOVER 52:54:00:00:00:01"] * 2
    assert timeline.addresses(found, ["52:54:00:00:00:01"]) == set()


def test_a_stranger_is_told_when_all_that_are_known_are_given() -> None:
    seen = timeline.dhcp(timeline.leases(DHCP), ["52:54:00:99:99:99"], known=[MAC])
    assert set(whats(seen)) == {f"DHCPDISCOVER 52:54:00:00:00:01: {timeline.STRANGER}"}


def test_only_the_nodes_own_requests_count() -> None:
    assert whats(timeline.http(HTTP, {ADDRESS})) == [
        f"GET /boot.ipxe by {ADDRESS}: 200, 0 KiB",
        f"GET /a68dc602/deploy_ramdisk by {ADDRESS}: 200, 58868 KiB",
    ]
    assert timeline.http(HTTP, set()) == []
    assert whats(timeline.tftp(TFTP, {ADDRESS})) == [
        f"/pxe-boot-data/tftpboot/snponly.efi to {ADDRESS}",
        f"not found: /pxe-boot-data/tftpboot/autoexec.ipxe to {ADDRESS}",
    ]


def test_the_conductors_lines_of_one_node_without_secrets() -> None:
    seen = timeline.conductor(CONDUCTOR, UUID, "rack-2")
    assert whats(seen)[0].startswith('Node rack-2 moved to provision state "inspecting"')
    assert whats(seen)[1] == "ERROR Failed to get power state for node rack-2: agent_token=***&x"
    assert len(seen) == 2


def at(minute: int, second: int) -> datetime:
    return datetime(2026, 11, 23, 2, minute, second, tzinfo=UTC)


SAID = "[   20.1] agent[9]: 2026-11-23 02:16:01.250 9 ERROR ironic_python_agent no route\r"
CONSOLES = {
    "as the rack saw it": (
        "2026-11-23T02:15:58.12Z \x1b[0m\x1b[2J[    0.000000] Linux version 6.12\r\n"
        "2026-11-23T02:15:59.00Z \r\n"
        f"2026-11-23T02:16:02.87Z {SAID}\n"
        "2026-11-23T02:16:40.40Z rack-1 login: ",
        [
            (at(15, 58), "[ 0.000000] Linux version 6.12"),
            (at(16, 2), "ERROR ironic_python_agent no route"),
            (at(16, 40), "rack-1 login:"),
        ],
    ),
    "of lines that it did not see": (
        f"- [    0.000000] Linux version 6.12\n2026-11-23T02:16:02.87Z {SAID}\n- login:",
        [
            (at(16, 2), "[ 0.000000] Linux version 6.12"),
            (at(16, 2), "ERROR ironic_python_agent no route"),
            (NOW, "login:"),
        ],
    ),
    "of a rack that does not look": (
        f"\x1b[2J[    0.000000] Linux version 6.12\r\n\n{SAID}\n[   21.0] later\nlogin: ",
        [
            (at(16, 1), "[ 0.000000] Linux version 6.12"),
            (at(16, 1), "ERROR ironic_python_agent no route"),
            (NOW, "[ 21.0] later"),
            (NOW, "login:"),
        ],
    ),
    "several in one": (
        "2026-11-23T02:15:58.12Z 10 %\r20 %\r30 %\n",
        [(at(15, 58), "10 %"), (at(15, 58), "20 %"), (at(15, 58), "30 %")],
    ),
    "a clock of the node that is ahead": (
        "2026-11-23 03:16:01.250 9 INFO a ahead\nlast\n",
        [(NOW, "INFO a ahead"), (NOW, "last")],
    ),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), CONSOLES.values(), ids=CONSOLES)
def test_lines_of_a_console_have_the_times_at_which_they_were_written(
    text: str, expected: list[tuple[datetime, str]]
) -> None:
    """They had that of the last write: `login:` and what was before it, of minutes, in one second."""
    assert [(event.time, event.what) for event in timeline.console(text, NOW)] == expected


def test_a_console_is_never_turned_round() -> None:
    """Whatever its lines say of their times, and when they are sorted among those of other sources, too."""
    text = "".join(
        f"2026-11-23 02:{minute:02}:00.1 9 INFO {minute}\nplain\n" for minute in (10, 5, 15, 1, 19)
    )
    seen = timeline.console(text, NOW)
    merged, _ = timeline.merge(seen, tail=100)
    assert whats(merged) == whats(seen)
    assert [what for what in whats(merged) if what != "plain"] == [
        f"INFO {minute}" for minute in (10, 5, 15, 1, 19)
    ]


def test_ironics_record_and_history() -> None:
    node = {
        "provision_state": "inspect wait",
        "provision_updated_at": "2026-11-23T02:15:11+00:00",
        "updated_at": "2026-11-23T02:15:14+00:00",
        "last_error": "no\nway",
        "maintenance": True,
        "maintenance_reason": None,
        "driver_internal_info": {
            "agent_last_heartbeat": "2026-11-23T02:15:13.123456",
            "agent_url": "https://10.29.29.147:9999",
        },
    }
    history = [
        {
            "created_at": "2026-11-23T02:15:12+00:00",
            "event_type": "verify",
            "event": "x" * 900,
            "severity": "ERROR",
        }
    ]
    seen = sorted(timeline.ironic(node, history), key=lambda event: event.time)
    assert [event.what[:20] for event in seen] == [
        "state inspect wait",
        "verify: xxxxxxxxxxxx",
        "heartbeat of the ram",
        "last error: no way",
        "maintenance: no reas",
    ]
    assert max(map(len, whats(seen))) == timeline.WIDTH


def test_a_servers_actions_and_fault() -> None:
    fault = {"created": "2026-11-23T02:15:13Z", "message": "No valid host"}
    server = {"name": "bm", "status": "ERROR", "updated": "2026-11-23T02:15:14Z", "fault": fault}
    seen = timeline.nova(
        server, [{"start_time": "2026-11-23T02:15:11.000000", "action": "create", "message": "Error"}]
    )
    assert whats(seen) == ["create bm: Error", "fault of bm: No valid host", "bm is ERROR"]


def test_each_source_is_cut_by_itself_and_says_so() -> None:
    def at(second: int, source: str, what: str) -> Event:
        return Event(datetime(2026, 11, 23, 2, 0, second, tzinfo=UTC), source, what)

    many = (
        [at(second, "dhcp", f"n{second}") for second in range(10)]
        + [at(5, "ironic", "x")]
        + [at(second, "http", "same") for second in (1, 2, 3)]
    )
    kept, cut = timeline.merge(many, tail=2)
    assert [(event.time.second, event.source, event.what) for event in kept] == [
        (3, "http", "same (3 times)"),
        (5, "ironic", "x"),
        (8, "dhcp", "n8"),
        (9, "dhcp", "n9"),
    ]
    assert cut == {"dhcp": 8}
    kept, cut = timeline.merge(many, since=datetime(2026, 11, 23, 2, 0, 9, tzinfo=UTC), tail=2)
    assert (whats(kept), cut) == (["n9"], {})
