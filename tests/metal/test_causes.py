"""The likely cause of a node's trouble: each rule from lines as the services write them."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from osbox.metal import causes, timeline
from osbox.metal.causes import RULES, Story
from osbox.metal.timeline import STRANGER, Event

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
MAC, IP = "52:54:00:82:e2:38", "10.29.31.147"
WORDS = {
    "macs": MAC,
    "bmc": "http://10.29.31.1:8000",
    "address": "10.29.31.1",
    "error": "",
    "server": "",
    "server-words": "",
    "bmc-try": "curl -ski http://10.29.31.1:8000/redfish/v1/",
    "retry": "again",
    "resume": "begin anew",
}


def move(state: str, before: str) -> str:
    return (
        f'conductor Node 46882b70 moved to provision state "{state}" from state "{before}"; target provision'
        ' state is "manageable"'
    )


INSPECT = [move("inspecting", "manageable"), move("inspect wait", "inspecting")]
DEPLOY = [move("deploying", "available"), move("wait call-back", "deploying")]
ASKED, ANSWERED = f"dhcp DHCPDISCOVER {MAC}", f"dhcp DHCPACK {IP} {MAC}"
SCRIPT, FETCHED = (
    f"http GET /boot.ipxe by {IP}: 200, 0 KiB",
    f"http GET /a68dc602/deploy_ramdisk by {IP}: 200, 58868 KiB",
)
BEAT = f"ironic heartbeat of the ramdisk at https://{IP}:9999"
LOGIN = (
    "Failed to get power state for node 75f67350. Error: Redfish exception occurred. Error: HTTP GET"
    " http://10.29.31.1:8000/redfish/v1/Systems/6fef145d returned code 401. Base.1.0.GeneralError: Incorrect"
    " username or password"
)
SILENT = (
    "Failed to get power state for node 75f67350. Error: Redfish exception occurred. Error: Unable to connect"
    " to http://10.29.31.9:8000/redfish/v1/."
)
NO_API = (
    "Unhandled error looking up node with addresses 52:54:00:82:e2:38 at http://10.29.31.1:6385: timed out"
)
RESTART = "The deploying state can't be resumed by conductor ironic-conductor. Moving to fail state."
# ironic.drivers.modules.deploy_utils.check_image_size
MEMORY = (
    "Memory size is too small for requested image, if it is less than (image size + reserved RAM size), will"
    " break the IPA deployments. Image size: 2252.0 MiB, Memory size: 1536 MiB, Reserved size: 0 MiB."
)
# ironic_python_agent.extensions.standby: _download_image, _stream_raw_image_onto_device; and qemu-img
NO_SPACE = "[Errno 28] No space left on device"
FETCHED_TO_MEMORY = (
    "Error downloading image: Download of image 5b1f failed: Unable to write image to"
    f" /tmp/5b1f. Error: {NO_SPACE}"
)
STREAMED = (
    "Error downloading image: Download of image 5b1f failed: Unable to write image to device /dev/vda."
    f" Error: {NO_SPACE}"
)
CONVERTED = (
    "Writing image to device /dev/vda failed with exit code 1. stdout: . stderr: qemu-img: /dev/vda: error"
    " while converting host_device: Device is too small"
)
NO_MEMORY = (
    "Writing image to device /dev/vda failed with exit code 1. stdout: . stderr: qemu-img: Could not allocate"
    " 8 bytes: Cannot allocate memory"
)

# cause: the state, what was seen, seconds from one event to the next, facts
CASES: dict[str, tuple[str, list[str], int, dict[str, str]]] = {
    "service-down": (
        "inspect wait",
        [*INSPECT, ASKED, ANSWERED],
        60,
        {"service-down": "ipxe-httpd (exited)"},
    ),
    "conductor-restart": ("deploy failed", [*DEPLOY, BEAT, f"ironic last error: {RESTART}"], 20, {}),
    "bmc-login": (
        "enroll",
        [move("verifying", "enroll"), f"ironic last error: {LOGIN}"],
        5,
        {"error": LOGIN},
    ),
    "bmc-silent": (
        "enroll",
        [move("verifying", "enroll"), f"ironic last error: {SILENT}"],
        5,
        {"error": SILENT},
    ),
    "disk-small": (
        "deploy failed",
        [*DEPLOY, BEAT, "ironic last error: Command execution failed: [Errno 28] No space left on device"],
        20,
        {},
    ),
    "memory-small": ("deploy failed", [*DEPLOY, f"ironic last error: {MEMORY}"], 20, {}),
    "disk-none": (
        "deploy failed",
        [*DEPLOY, BEAT, "ironic last error: No suitable device was found for deployment using these hints"],
        20,
        {},
    ),
    "checksum": (
        "deploy failed",
        [*DEPLOY, BEAT, "conductor ERROR Image failed to verify against checksum. location: /dev/vda"],
        20,
        {},
    ),
    "image-fetch": (
        "deploy failed",
        [*DEPLOY, BEAT, "conductor ERROR Error downloading image: Download of image debian-13 failed"],
        20,
        {},
    ),
    "power-cut": ("wait call-back", DEPLOY, 300, {"off": "the rack: the node is off"}),
    "early": ("inspect wait", INSPECT, 5, {}),
    "working": ("clean wait", [move("cleaning", "manageable"), BEAT], 20, {}),
    "booting": ("inspect wait", [*INSPECT, ASKED, ANSWERED, SCRIPT, FETCHED], 20, {}),
    "panic": (
        "inspect wait",
        [
            *INSPECT,
            ASKED,
            ANSWERED,
            FETCHED,
            "console [ 1.2] Kernel panic - not syncing: VFS: Unable to mount",
        ],
        200,
        {},
    ),
    "no-api": (
        "inspect wait",
        [*INSPECT, ASKED, FETCHED, f"console ERROR ironic_python_agent.ironic_api_client [-] {NO_API}"],
        200,
        {},
    ),
    "ramdisk": ("inspect wait", [*INSPECT, ASKED, ANSWERED, SCRIPT, FETCHED], 200, {}),
    "http-refused": (
        "inspect wait",
        [*INSPECT, ASKED, ANSWERED, SCRIPT, f"http GET /pxelinux.cfg/x by {IP}: 404, 0 KiB"],
        60,
        {},
    ),
    "kernel": ("inspect wait", [*INSPECT, ASKED, ANSWERED, SCRIPT], 60, {}),
    "tftp-only": (
        "inspect wait",
        [*INSPECT, ASKED, ANSWERED, f"tftp /pxe-boot-data/tftpboot/snponly.efi to {IP}"],
        60,
        {},
    ),
    "answer-only": ("inspect wait", [*INSPECT, ASKED, ANSWERED], 60, {}),
    "no-neutron-port": (
        "inspect wait",
        [*INSPECT, f"{ASKED} no address available"],
        60,
        {"no-port": "neutron: no port", "asker": MAC},
    ),
    "no-answer": ("inspect wait", [*INSPECT, f"{ASKED} no address available"], 60, {}),
    "wrong-mac": (
        "inspect wait",
        [*INSPECT, f"dhcp DHCPDISCOVER 52:54:00:00:00:01 no address available: {STRANGER}"],
        60,
        {},
    ),
    "no-request": ("inspect wait", INSPECT, 60, {}),
    "maintenance": ("available", [], 60, {"maintenance": "somebody works on it"}),
    "clean-failed": ("clean failed", [move("cleaning", "manageable")], 60, {"error": "step failed"}),
    "reserved": (
        "available",
        ["nova fault of bm: No valid host was found."],
        60,
        {"reserved": "placement: reserved"},
    ),
    "not-placed": (
        "available",
        ["nova fault of bm: No valid host was found."],
        60,
        {"not-placed": "placement: no provider"},
    ),
    "in-use": ("active", [*DEPLOY, move("active", "deploying"), BEAT], 60, {}),
    "available": ("available", [move("cleaning", "manageable"), move("available", "cleaning")], 60, {}),
    "under-way": ("verifying", [move("verifying", "enroll")], 1, {}),
}


def story(state: str, seen: list[str], step: int, facts: dict[str, str]) -> Story:
    """The events one after the other, the last of them a step before now."""
    first = NOW - timedelta(seconds=step * len(seen))
    events = [
        Event(first + timedelta(seconds=step * number), *text.split(" ", 1))
        for number, text in enumerate(seen)
    ]
    return Story("rack-1", state, NOW, events, WORDS, facts)


@pytest.mark.parametrize("cause", CASES)
def test_what_was_seen_has_its_cause(cause: str) -> None:
    found = causes.diagnose(story(*CASES[cause]))
    assert found.name == cause
    assert found.text
    assert found.next


def test_evidence_is_what_was_seen() -> None:
    assert causes.diagnose(story(*CASES["bmc-login"])).evidence == (f"ironic: last error: {LOGIN}",)
    found = causes.diagnose(story(*CASES["wrong-mac"]))
    assert "52:54:00:00:00:01" in found.evidence[0]
    assert MAC in found.text


def test_signs_of_an_earlier_attempt_do_not_count() -> None:
    """It was inspected well; now it is cleaned and does not ask for an address any more."""
    seen = [
        *INSPECT,
        ASKED,
        ANSWERED,
        SCRIPT,
        FETCHED,
        BEAT,
        move("cleaning", "manageable"),
        move("clean wait", "cleaning"),
    ]
    assert causes.diagnose(story("clean wait", seen, 60, {})).name == "no-request"


def test_a_deployment_that_failed_is_still_told_when_the_node_was_cleaned_up() -> None:
    seen = [
        *DEPLOY,
        BEAT,
        "conductor ERROR deploy step write_image failed: No space left on device",
        move("deploy failed", "deploying"),
        move("cleaning", "deleting"),
        move("available", "cleaning"),
    ]
    assert causes.diagnose(story("available", seen, 20, {})).name == "disk-small"
    assert (
        causes.diagnose(story("active", [*seen, *DEPLOY, move("active", "deploying")], 20, {})).name
        == "in-use"
    )


def test_every_rule_can_be_reached_and_has_its_words() -> None:
    """A rule whose name is used twice, or that asks for a sign that nothing gives, is a mistake of
    writing."""
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    facts = {
        "service-down",
        "off",
        "maintenance",
        "error",
        "no-port",
        "asker",
        "not-placed",
        "reserved",
        "class",
        "late",
        "early",
        "booting",
        "unheard-conductor",
        "unheard-network",
        "unheard-placement",
    }
    signs = {sign for sign, _, _ in causes.SIGNS} | facts
    asked = {word for rule in RULES for word in f"{rule.seen} {rule.unseen}".split()}
    assert asked <= signs
    words = {word for rule in RULES for word in re.findall(r"\{([a-z-]+)\}", rule.text + rule.next)}
    assert words <= {*WORDS, *facts, "name", "state"}


def test_a_secret_in_an_error_is_not_told() -> None:
    assert "sig=***" in timeline.line(
        "GET http://10.29.31.1:8080/v1/x?temp_url_sig=abcdef&temp_url_expires=1"
    )


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (MEMORY, "memory-small"),
        (FETCHED_TO_MEMORY, "memory-small"),
        (NO_MEMORY, "memory-small"),
        (STREAMED, "disk-small"),
        (CONVERTED, "disk-small"),
        ("qemu-img: output file is smaller than input file", "disk-small"),
    ],
)
def test_memory_that_is_too_small_is_no_disk_that_is(said: str, cause: str) -> None:
    """An image that is not raw is fetched into the node's memory first; "too small" was told of its disk."""
    found = causes.diagnose(story("deploy failed", [*DEPLOY, BEAT, f"ironic last error: {said}"], 20, {}))
    assert found.name == cause
    if cause == "memory-small":
        assert "memory" in found.text
        assert "qemu-img convert -O raw" in found.next
