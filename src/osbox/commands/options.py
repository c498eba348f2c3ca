"""osbox set, unset, get: the site's own options of OpenStack services, kept in site.toml."""

from json import dumps
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from osbox import log
from osbox.cloud import compose
from osbox.cloud.options import known as options
from osbox.cloud.options.known import Project, Setting
from osbox.cloud.options.names import Address, Known, require_word
from osbox.commands.context import Context, Json, print_json
from osbox.errors import UserError
from osbox.site import sitefile
from osbox.site.load import load_site
from osbox.site.site import Value

NEXT = "osbox plan shows what it changes, osbox up does it"


def put(
    context: typer.Context,
    assignments: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE…", help="As nova.DEFAULT.debug=true")
    ],
) -> None:
    """Set options of OpenStack services by their oslo.config names; `osbox up` applies them."""
    here: Context = context.obj
    wanted = [_assignment(text) for text in assignments]
    projects = _projects(here, {address.project for address, _ in wanted})
    values: dict[sitefile.Where, Value] = {}
    for address, text in wanted:
        written = projects[address.project].check(address, text)
        spelled = _spellings(here, address) or [("options", address.word, address.group, address.option)]
        values[spelled[0]] = _typed(projects[address.project].known.find(address).type.name, written)
    changed = sitefile.put(here.paths.home, values)
    for where in changed:
        log.out.print(f"{'.'.join(where[1:])} is set in {here.paths.site_toml}", markup=False)
    log.out.print(f"Next: {NEXT}" if changed else "Nothing to change")


def unset(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="As nova.DEFAULT.debug")],
) -> None:
    """Forget options that were set; the services' own values hold again after `osbox up`."""
    here: Context = context.obj
    wanted = [Address.parse(name) for name in names]
    gone = sitefile.remove(
        here.paths.home, [where for address in wanted for where in _spellings(here, address)]
    )
    for where in gone:
        log.out.print(f"{'.'.join(where[1:])} is removed from {here.paths.site_toml}", markup=False)
    log.out.print(f"Next: {NEXT}" if gone else "Nothing to change: none of them was set")


def get(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[PROJECT[.GROUP[.OPTION]]]", help="Without: all that site.toml sets.")
    ] = "",
    json: Json = False,
) -> None:
    """Show options, their values and where these come from: site.toml, compose/, the image, or oslo.config's
    default."""
    here: Context = context.obj
    chosen = list(options.addresses(here.site))
    whole = Address.parse(name) if name.count(".") == 2 else None  # noqa: PLR2004
    if name and not whole:
        require_word(name.partition(".")[0])
    words = (
        [whole.project]
        if whole
        else [Address(name.partition(".")[0], "", "").project]
        if name
        else [one.project for one, _ in chosen]
    )
    try:
        projects = _projects(here, set(words))
    except options.UncheckedError as error:
        if name:
            raise
        log.say(f"{error.message}: these are as site.toml has them")
        found = [_as_written(address, value) for address, value in chosen]
    else:
        wanted = (
            [whole]
            if whole
            else _of_group(projects[words[0]].known, name)
            if name
            else [address for address, _ in chosen]
        )
        by_name = {str(address): value for address, value in chosen}
        found = [projects[address.project].setting(address, by_name) for address in wanted]
    if json:
        print_json(found)
    elif not found:
        log.out.print("No option is set; to set one: osbox set nova.DEFAULT.debug=true")
    elif whole:
        log.out.print(f"{found[0].name} = {_shown(found[0])}  ({found[0].source})", markup=False)
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("Option", "Value", "From"):
            table.add_column(column, no_wrap=True)
        for setting in found:
            table.add_row(setting.name, escape(_shown(setting)), escape(setting.source))
        log.out.print(table)


def _projects(here: Context, names: set[str]) -> dict[str, Project]:
    """What there is to know of these projects' options. No engine is started for it: without one, what is
    kept of the images as they were last built."""
    if not names:
        return {}
    at, version = here.running_engine(), compose.version(here.paths)
    images = options.images_of(at, version) if at else options.images_built(here.base, version)
    return {name: options.project(here.paths, at, name, images) for name in sorted(names)}


def _as_written(address: Address, value: Value) -> Setting:
    text = value if isinstance(value, str) else dumps(value)
    return Setting(str(address), text, f"site.toml ({address}), not checked")


def _shown(setting: Setting) -> str:
    if setting.value is None:
        return "no value" if setting.source == options.DEFAULT else "not shown"
    return setting.value or '""'


def _assignment(text: str) -> tuple[Address, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{text} has no value", hint=f"{text}=VALUE, or osbox get {text}")
    return Address.parse(name), value


def _spellings(here: Context, address: Address) -> list[sitefile.Where]:
    """Where an option stands: people may write it with `-`."""
    names = load_site(here.paths.home).options.get(address.word, {}).get(address.group, {})
    return [
        ("options", address.word, address.group, name)
        for name in names
        if name.replace("-", "_") == address.option
    ]


def _typed(kind: str, text: str) -> Value:
    """The value as TOML would have it: a switch and a number without quotes."""
    if kind == "boolean value" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind.startswith(("integer", "port")) and str(int(text)) == text:
        return int(text)
    return text


def _of_group(known: Known, name: str) -> list[Address]:
    """All options of a project or service, or of one group of it."""
    word, _, group = name.partition(".")
    found = [
        Address(word, option.group, option.name)
        for option in known.options.values()
        if group in ("", option.group)
    ]
    if not found:
        raise UserError(
            f"{known.project} has no group [{group}]",
            hint="groups: " + ", ".join(sorted({one for one, _ in known.options})),
        )
    return sorted(found, key=str)
