"""What was last seen of a node, from real lines of the services' logs."""

from osbox.sightings import leases, requests, transfers

MAC = "52:54:00:82:e2:38"
DHCP = """\
Nov 23 02:15:12 dnsmasq-dhcp[148]: 2481361584 DHCPDISCOVER(tapcabe20c8-95) 52:54:00:82:e2:38
Nov 23 02:15:12 dnsmasq-dhcp[148]: 2481361584 DHCPOFFER(tapcabe20c8-95) 10.29.29.147 52:54:00:82:e2:38
Nov 23 02:15:13 dnsmasq-dhcp[148]: 2481361584 DHCPACK(tapcabe20c8-95) 10.29.29.147 52:54:00:82:e2:38 host-10-29-29-147
Nov 23 02:15:14 dnsmasq-dhcp[148]: 77 DHCPDISCOVER(tapcabe20c8-95) 52:54:00:00:00:01 no address available
"""
HTTP = """\
2026-11-23T02:15:16+00:00 10.29.29.147 "GET /boot.ipxe HTTP/1.1" 200 1004
2026-11-23T02:15:17+00:00 10.29.29.147 "GET /a68dc602/deploy_ramdisk HTTP/1.1" 200 60281818
2026-11-23T02:15:18+00:00 10.29.29.99 "GET /other HTTP/1.1" 404 0
"""
TFTP = "dnsmasq-tftp[1]: sent /pxe-boot-data/tftpboot/snponly.efi to 10.29.29.147\n"


def test_last_dhcp_message_and_addresses() -> None:
    last, addresses = leases(DHCP, [MAC.upper()])
    assert last == f"DHCPACK 10.29.29.147 {MAC} host-10-29-29-147 at Nov 23 02:15:13"
    assert addresses == {"10.29.29.147"}


def test_a_request_that_nobody_answers_is_told_with_the_reason() -> None:
    last, addresses = leases(DHCP, ["52:54:00:00:00:01"])
    assert "DHCPDISCOVER" in last
    assert "no address available" in last
    assert addresses == set()


def test_a_node_that_was_never_seen() -> None:
    assert leases(DHCP, ["52:54:00:99:99:99"]) == ("", set())


def test_only_the_nodes_own_requests_count() -> None:
    assert requests(HTTP, {"10.29.29.147"}).startswith("GET /a68dc602/deploy_ramdisk by 10.29.29.147: 200, 58868 KiB")
    assert requests(HTTP, set()) == ""
    assert transfers(TFTP, {"10.29.29.147"}) == "/pxe-boot-data/tftpboot/snponly.efi to 10.29.29.147"
    assert transfers(TFTP, {"10.29.29.1"}) == ""
