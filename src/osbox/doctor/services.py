"""The cloud's containers: do they run, are they well, did they start again and again?"""

from collections.abc import Iterator

from osbox.cloud.services import SERVICES
from osbox.doctor.finding import Facts, Finding, error, ok, warning


def check_services(facts: Facts) -> Iterator[Finding]:
    """State, health and restarts of each."""
    if not facts.containers:
        yield ok("there is no cloud yet, or it is down", "osbox up brings it up")
        return
    bad = [service for service in SERVICES if service not in facts.containers]
    for service in bad:
        yield error(f"{service} has no container", "", "osbox up")
    for service, item in sorted(facts.containers.items()):
        found = list(_of(service, item["State"], int(item.get("RestartCount", 0))))
        bad += [service] * bool(found)
        yield from found
    if not bad:
        yield ok(f"all {len(facts.containers)} containers run, and none is unhealthy")


def _of(service: str, state: dict[str, object], restarts: int) -> Iterator[Finding]:
    health = state.get("Health")
    status = health.get("Status") if isinstance(health, dict) else ""
    said, since, logs = (
        _last_word(health),
        f"since {str(state.get('StartedAt'))[:19]}",
        f"osbox logs {service}",
    )
    if state["Status"] != "running":
        killed = ", killed for lack of memory" if state.get("OOMKilled") else ""
        yield error(
            f"{service} does not run: {state['Status']}{killed}",
            f"exit code {state.get('ExitCode')}",
            f"{logs}, then osbox up",
        )
    elif status == "unhealthy":
        yield error(f"{service} is unhealthy", said, logs)
    elif status == "starting" and said:  # without a word, it was not asked yet
        yield warning(f"{service} has not been healthy since it started", f"{since}: {said}", logs)
    if restarts:
        yield warning(f"{service} was started again {restarts} times by the engine", since, logs)


def _last_word(health: object) -> str:
    """What the last health check printed."""
    log = health.get("Log") if isinstance(health, dict) else None
    return str(log[-1].get("Output", "")).strip()[:300] if log else ""
