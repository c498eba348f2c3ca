"""The entrance's certificate: what is wrong with its files, and whether the entrance shows it."""

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding

from osbox.cloud import compose, entrance
from osbox.cloud.services import FRONT
from osbox.doctor.finding import Facts, Finding, error, ok, warning
from osbox.tls import decide, names, store
from osbox.tls.reading import Wrong

SOON = (Wrong.ENDING, Wrong.READABLE)
"""What does not keep anybody from the APIs today."""


def check_certificate(facts: Facts) -> Iterator[Finding]:
    """The files, as `osbox tls show` looks at them, and what is shown to who connects."""
    paths, now = facts.paths, datetime.now(UTC)
    site = compose.as_brought_up(paths, facts.site)
    seen = entrance.shown(site) if FRONT in facts.running else b""
    if not site.tls:
        if FRONT in facts.running and not seen:
            yield warning(
                "the APIs speak HTTP: passwords and tokens can be read on their way",
                "tls = false in site.toml",
                "tls = true there, then osbox up, osbox setup",
            )
        return
    needed = names.published(site) if store.is_installed(paths) else store.names_here(site)
    found, problems = store.shown(paths, needed, now)
    if not found:
        if FRONT in facts.running:
            yield error("the entrance's certificate is not there", str(paths.tls), "osbox up")
        return
    for problem in problems:
        kind = warning if problem.kind in SOON else error
        yield kind(f"the entrance's certificate: {problem.said}", "", problem.hint or "osbox up")
    if FRONT in facts.running and seen != found[0].public_bytes(Encoding.DER):
        what = "shows another certificate than that of its file" if seen else "shows no certificate"
        yield error(f"the entrance {what}", "", "osbox up")
    elif not problems:
        told = decide.tell(found[0], now)
        yield ok(f"the entrance's certificate is good for {told.days_left} days", told.subject)
