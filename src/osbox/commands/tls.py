"""osbox tls: the entrance's certificate and the authority that clients trust."""

import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from rich.markup import escape
from rich.table import Table

from osbox import log, plain, utf8
from osbox.cloud import compose, entrance, stack
from osbox.cloud.services import FRONT
from osbox.commands.context import Context, Json, print_json
from osbox.engine import engine
from osbox.errors import UserError
from osbox.site import sources
from osbox.site.site import Site
from osbox.tls import decide, examine, names, reading, store
from osbox.tls.decide import Do, Told
from osbox.tls.reading import File, Problem, Wrong

app = typer.Typer(
    no_args_is_help=True, help="The entrance's certificate, and the authority that clients trust."
)


@app.callback()
def group() -> None: ...


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Say whose certificate there is, for what, for how long, where, and what is wrong with it.

    Exit code 1 when something is.
    """
    here: Context = context.obj
    now, installed = _now(), store.is_installed(here.paths)
    needed = names.published(_site(here)) if installed else store.names_here(_site(here))
    found, problems = store.shown(here.paths, needed, now)
    told = [decide.tell(one, now) for one in found]
    files = {name: str(file) for name, file in vars(store.Files.of(here.paths)).items() if file.exists()}
    if json:
        print_json(
            {
                "tls": here.site.tls,
                "of": ("installed" if installed else "osbox") if told else None,
                "certificate": asdict(told[0]) if told else None,
                "files": files,
                "problems": problems,
            }
        )
    elif told:
        log.out.print(_table(told[0], files, installed=installed))
    elif not problems:
        log.out.print("There is no certificate yet; next: osbox tls renew")
    if problems:
        _tell([] if json else problems)
        raise typer.Exit(1)


@app.command()
def renew(
    context: typer.Context,
    own: Annotated[
        bool, typer.Option("--own", help="One of our own in place of the one that was installed.")
    ] = False,
    due: Annotated[
        bool, typer.Option("--due", help="Only when osbox up would make one; for cron and timers.")
    ] = False,
) -> None:
    """Make another certificate now, of the same authority; the first one with the authority."""
    here: Context = context.obj
    engine.require_root()
    here.settle()
    with here.alone("tls renew", anew=True):
        here = here.again()
        if due and not own and (why := _fresh(here)):
            log.out.print(f"Nothing is due: {why}")
            return
        if store.is_installed(here.paths) and not own:
            raise UserError(
                "the certificate was installed: who issued it renews it",
                hint="osbox tls install CERT KEY CA, or for one of our own: osbox tls renew --own",
            )
        before = _trusted(here)
        kept = store.ensure(here.paths, here.site, store.names_here(_site(here)), _now(), anew=True, own=own)
        _follow(here)
    log.out.print(f"The certificate is made anew: {kept.certificate.why}")
    _tell_of_another(here, before)


def _fresh(here: Context) -> str:
    """Why nothing is due, or "". Raises UserError for an authority that ends, is lost or not valid yet:
    unattended, another one would turn all clients away."""
    if not here.site.tls:
        return "tls = false in site.toml"
    now = _now()
    found = store.due(here.paths, store.names_here(_site(here)), now)
    if found.do is Do.FRESH:
        return found.why
    if _trusted(here) and store.due_authority(here.paths, now).do is not Do.FRESH:
        raise UserError(
            f"the authority has to be made anew: {found.why}",
            hint="osbox tls renew; then clients are to be told (osbox tls ca), and the ramdisk (osbox setup)",
        )
    return ""


@app.command()
def install(
    context: typer.Context,
    certificate: Annotated[
        Path, typer.Argument(metavar="CERT", help="The certificate (PEM), those between it and the root too.")
    ],
    key: Annotated[Path, typer.Argument(metavar="KEY", help="Its private key (PEM), without a password.")],
    authority: Annotated[
        Path | None,
        typer.Argument(metavar="CA", help="Its authority (PEM); default: those that this machine trusts."),
    ] = None,
    *,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also when it is not for all addresses of the APIs.")
    ] = False,
) -> None:
    """Take a certificate of your own authority in place of ours, when it is good; osbox does not renew it."""
    here: Context = context.obj
    engine.require_root()
    now, private = _now(), _file(key)
    here.settle()
    with here.alone("tls install", anew=True):
        here = here.again()
        needed, roots = names.published(_site(here)), _authorities(authority)
        found = examine.examine(_file(certificate), private, roots, now=now, needed=needed)
        _require(found.problems, partial=partial)
        before = _trusted(here)
        kept = store.install(here.paths, found, now)
        _follow(here)
    _tell([*found.problems, *store.readable(utf8.at_home(key))])
    log.out.print(f"The certificate is installed: {kept.certificate.why}")
    if kept.certificate.do is not Do.FRESH:
        log.warn("osbox does not renew it")
    _tell_of_another(here, before)


@app.command("ca")
def certificate_of_the_authority(context: typer.Context) -> None:
    """Print what clients have to trust, as PEM."""
    here: Context = context.obj
    print(store.trusted(here.paths), end="")


def _trusted(here: Context) -> bytes:
    return here.paths.trusted.read_bytes() if here.paths.trusted.exists() else b""


def _tell_of_another(here: Context, before: bytes) -> None:
    """Of another authority than before all have to be told who verify by it."""
    if before not in (b"", _trusted(here)):
        log.warn(
            "its authority is another one: clients have to be told (osbox tls ca), the deploy ramdisk (osbox"
            " setup), and virtual nodes (osbox up)"
        )


def _site(here: Context) -> Site:
    """With the address that the cloud was brought up with by --listen, which need not stand in site.toml."""
    return compose.as_brought_up(here.paths, here.site)


def _follow(here: Context) -> None:
    """Have the entrance show it, if it runs."""
    at = here.running_engine()
    front = stack.observe(at, here.site, FRONT).get(FRONT) if at else None
    if not at or not front or front.state != "running":
        return
    if entrance.spoken(here.site).tls:
        entrance.follow(here.paths, here.site, at)
    else:
        log.warn("the entrance shows no certificate: osbox up")


def _now() -> datetime:
    return datetime.now(UTC)


def _file(path: Path) -> File:
    place = utf8.at_home(path)
    return File(str(path), utf8.content(place))


def _authorities(file: Path | None) -> list[x509.Certificate]:
    """Those that were named, or that this machine trusts: there one that breaks the rules does no harm."""
    if file:
        found, problems = reading.certificates(_file(file))
        _require(problems)
        return found
    bundle = sources.ca_bundle()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return reading.understood(File(str(bundle), bundle.read_bytes())) if bundle else []


def _require(problems: list[Problem] | tuple[Problem, ...], *, partial: bool = False) -> None:
    """Raises UserError when something is wrong that an installed certificate may not have."""
    serious = [one for one in problems if not (partial and one.kind is Wrong.OTHER_NAMES)]
    if serious:
        first, *others = serious
        raise UserError(
            f"the certificate is not installed: {first.said}",
            evidence="\n".join(one.said for one in others),
            hint=first.hint
            + ("; or --partial" if first.kind is Wrong.OTHER_NAMES and len(serious) == 1 else ""),
        )


def _table(told: Told, files: dict[str, str], *, installed: bool) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # a path, or a fingerprint, that is cut is none
    rows = {
        "certificate": f"{told.subject}, installed" if installed else f"{told.subject}, made by osbox",
        "issuer": told.issuer,
        "names": ", ".join(told.names),
        "valid": f"{told.begin:{examine.TIME}} to {told.end:{examine.TIME}}: {told.days_left} days left",
        "renewed": "by who issued it, not by osbox"
        if installed
        else f"by osbox, {decide.BEFORE.days} days before",
        "SHA-256": told.fingerprint,
        **files,
    }
    for name, value in rows.items():
        table.add_row(name, escape(plain.text(value, " ")))
    return table


def _tell(problems: list[Problem]) -> None:
    for one in problems:
        log.warn(one.said + (f"; {one.hint}" if one.hint else ""))
