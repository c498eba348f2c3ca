"""The cloud's containers: do they run, are they well, did they start again and again?"""

from collections.abc import Iterator

from osbox.cloud.services import SERVICES
from osbox.doctor.finding import Facts, Finding, error, ok, warning
from osbox.engine.info import State


def check_services(facts: Facts) -> Iterator[Finding]:
    """State, health and restarts of each."""
    if not facts.containers:
        yield ok("there is no cloud yet, or it is down", "osbox up brings it up")
        return
    bad = [service for service in SERVICES if service not in facts.containers]
    for service in bad:
        yield error(f"{service} has no container", "", "osbox up")
    for service, item in sorted(facts.containers.items()):
        found = list(_of(service, item.state, item.restart_count))
        bad += [service] * bool(found)
        yield from found
    if not bad:
        yield ok(f"all {len(facts.containers)} containers run, and none is unhealthy")


def _of(service: str, state: State, restarts: int) -> Iterator[Finding]:
    said = state.health_log[-1].strip()[:300] if state.health_log else ""
    since, logs = f"since {state.started_at[:19]}", f"osbox logs {service}"
    if state.status != "running":
        killed = ", killed for lack of memory" if state.oom_killed else ""
        yield error(
            f"{service} does not run: {state.status}{killed}",
            f"exit code {state.exit_code}",
            f"{logs}, then osbox up",
        )
    elif state.health == "unhealthy":
        yield error(f"{service} is unhealthy", said, logs)
    elif state.health == "starting" and said:  # without a word, it was not asked yet
        yield warning(f"{service} has not been healthy since it started", f"{since}: {said}", logs)
    if restarts:
        yield warning(f"{service} was started again {restarts} times by the engine", since, logs)
