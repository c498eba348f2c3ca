"""What went through the entrance lately, by API: its access log (images/front/haproxy.cfg) in numbers.

HAProxy's own statistics know averages and maxima only.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from osbox.cloud.services import APIS, FRONT
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Site

MINUTES = 10
"""How far back: long enough for a quantile of what people ask, short enough to be of now."""
SECONDS = 10
"""Within which the engine gives the log: nobody waits longer for a table."""
TOO_MANY = 429
FAILED = 500
LINE = re.compile(
    r"\S+ (?P<api>[\w-]+) \S+ \S* (?P<status>-?\d+) \d+ "
    r"(?P<read>-?\d+)/(?P<queued>-?\d+)/(?P<connected>-?\d+)/(?P<answered>-?\d+)/\+?(?P<all>-?\d+) "
    r"\+?\d+ (?P<end>\S{2}) "
)
"""-1 stands for a time that never came; the ends are HAProxy's: `--` is well, C by the client."""


@dataclass(frozen=True)
class Traffic:
    """Of one API within MINUTES: requests, those that failed, and the milliseconds until an answer began.

    failed: answered by 500 and above, or not at all, but for those that the client gave up. refused: by the
    limit of logins. held: the longest that a request waited for a service that was away.
    """

    service: str
    requests: int
    failed: int
    refused: int
    median: float | None
    p95: float | None
    held: int


def ask(engine: Engine, site: Site) -> list[Traffic]:
    """That of the entrance that runs; none when its log does not come at once."""
    words = ("logs", "--since", f"{MINUTES}m", f"{FRONT}.{site.name}")
    try:
        return read(docker.ask(engine, *words, check=False, seconds=SECONDS).out.splitlines())
    except Error:
        return []


def read(lines: Iterable[str]) -> list[Traffic]:
    """Those APIs that were asked, in the order of APIS."""
    found: dict[str, list[re.Match[str]]] = {api.service: [] for api in APIS}
    for one in _matches(lines):
        if one["api"] in found:
            found[one["api"]].append(one)
    return [_sum(service, ones) for service, ones in found.items() if ones]


def _matches(lines: Iterable[str]) -> Iterator[re.Match[str]]:
    return (one for line in lines if (one := LINE.match(line)))


def _sum(service: str, ones: list[re.Match[str]]) -> Traffic:
    took = [
        int(one["queued"]) + int(one["connected"]) + int(one["answered"])
        for one in ones
        if min(int(one[name]) for name in ("queued", "connected", "answered")) >= 0
    ]
    return Traffic(
        service,
        len(ones),
        sum(_failed(one) for one in ones),
        sum(int(one["status"]) == TOO_MANY for one in ones),
        median(took) if took else None,
        _p95(took),
        max(_held(one) for one in ones),
    )


def _held(one: re.Match[str]) -> int:
    """The milliseconds until the service took a request; where it never did, all of them, unless it was the
    client whose request was not read to its end."""
    if int(one["read"]) < 0:
        return 0
    connected = int(one["connected"])
    return connected if connected >= 0 else max(0, int(one["all"]))


def _failed(one: re.Match[str]) -> bool:
    status = int(one["status"])
    return status >= FAILED or (status < 0 and not one["end"].upper().startswith("C"))


def _p95(took: list[int]) -> float | None:
    if len(took) < 2:  # noqa: PLR2004 - what statistics.quantiles wants
        return float(took[0]) if took else None
    return quantiles(took, n=20, method="inclusive")[-1]
