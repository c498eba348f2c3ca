"""Clocks: tokens, certificates and caches go by them."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from osbox import run
from osbox.bootpath import http
from osbox.cloud.services import APIS
from osbox.doctor.finding import Facts, Finding, error, ok, warning
from osbox.engine import docker
from osbox.images import labels

TOLERANCE_SECONDS = 2.0  # an HTTP date has whole seconds, and a loaded machine answers late
SECONDS = 5.0


def check_clock(facts: Facts) -> Iterator[Finding]:
    """The host's clock against the images' date, the database's clock and the services'."""
    made = _build_time(facts)
    now = datetime.now(UTC)
    if made and now < made:
        of = f"osbox itself is of {made:%Y-%m-%d %H:%M}"
        yield error(
            f"this machine's clock is wrong: it says {now:%Y-%m-%d %H:%M} UTC", of, "timedatectl; date"
        )
    synchronised = _synchronised()
    if synchronised is False:
        yield warning(
            "this machine's clock is set by no time server",
            "timedatectl: NTPSynchronized=no",
            "timedatectl set-ntp true",
        )
    off = dict(_differences(facts))
    for name, seconds in off.items():
        if abs(seconds) > TOLERANCE_SECONDS:
            yield error(
                f"the clock of {name} differs from the host's by {seconds:+.0f} s",
                "",
                f"osbox engine shell -- docker restart {name}",
            )
    if not any(abs(seconds) > TOLERANCE_SECONDS for seconds in off.values()) and not (made and now < made):
        by = {
            True: ", set by a time server",
            None: ", and no tool here tells whether a time server sets it",
        }.get(synchronised, "")
        yield ok(
            f"clock: {now:%Y-%m-%d %H:%M:%S} UTC{by}",
            f"within {TOLERANCE_SECONDS:.0f} s: {', '.join(off)}" if off else "",
        )


def _build_time(facts: Facts) -> datetime | None:
    """When the images that run, or else the checkout, were committed; None when neither says."""
    told = [item.labels.get(f"{labels.OCI}created", "") for item in facts.containers.values()]
    commit = None if any(told) else labels.commit(facts.paths.project)
    times = [datetime.fromisoformat(text) for text in (*told, commit.created if commit else "") if text]
    return max(times, default=None)


def _synchronised() -> bool | None:
    """Whether a time server sets the clock; None when no tool here knows."""
    if shutil.which("timedatectl"):
        answer = run.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"], check=False, timeout=SECONDS
        )
        if answer.code == 0:
            return answer.out.strip() == "yes"
    if shutil.which("chronyc"):
        answer = run.run(["chronyc", "-n", "tracking"], check=False, timeout=SECONDS)
        if answer.code == 0:
            return "Leap status     : Normal" in answer.out
    return None


def _differences(facts: Facts) -> Iterator[tuple[str, float]]:
    """By how many seconds each clock is ahead of the host's."""
    if facts.engine and "mysql" in facts.running:
        begin = time.time()
        script = "date +%s; mariadb --user=stack --skip-column-names --execute='SELECT UNIX_TIMESTAMP()'"
        answer = docker.docker(
            facts.engine, "exec", f"mysql.{facts.site.name}", "sh", "-c", script, check=False, timeout=SECONDS
        )
        for name, line in zip(("mysql", "the database"), answer.out.split(), strict=False):
            yield f"{name}.{facts.site.name}" if name == "mysql" else name, _apart(float(line), begin)
    with ThreadPoolExecutor(len(APIS)) as pool:
        found = pool.map(
            lambda api: (api.service, _date_of(facts, api.port)),
            [api for api in APIS if api.service in facts.running],
        )
        yield from ((f"{service}.{facts.site.name}", apart) for service, apart in found if apart is not None)


def _date_of(facts: Facts, port: int) -> float | None:
    """By how many seconds an API's clock is ahead; None when it does not answer, which is another check's
    finding."""
    begin = time.time()
    try:
        date = http.get(f"{facts.site.api(port)}/", first=1).date
    except OSError:
        return None
    return _apart(parsedate_to_datetime(date).timestamp(), begin) if date else None


def _apart(told: float, begin: float) -> float:
    """How far a clock is from ours, that was asked between begin and now; 0 when it lies in between, give or
    take its second."""
    if told > time.time():
        return told - time.time()
    return min(told + 1 - begin, 0.0)
