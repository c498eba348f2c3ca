"""What the documentation says is so: commands, links, tables of images, variables, messages.

Docs that nobody tests drift.
"""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from osbox.build import dockerfile
from osbox.cli import app
from osbox.cloud import services
from osbox.images import catalogue
from osbox.images.catalogue import Image
from osbox.site.site import Site
from tests.conftest import PROJECT, tracked
from tests.e2e import fake_hardware
from tests.test_layers import FUNCTION_LINES, MODULE_LINES

PAGES = tracked("*.md", "docs/*.md", "images/*/README.md")
COMMAND = re.compile(r"(?:^|[;&|$(] *|=\S+ )osbox((?: +[^\s`|;&()]+)+)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
VARIABLE = re.compile(r"\$\{(OSBOX_\w+)")
COMPOSE = {
    name: service
    for file in sorted((PROJECT / "compose").glob("*.yaml"))
    for name, service in yaml.safe_load(file.read_text())["services"].items()
    if "image" in service
}


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def page(name: str) -> str:
    return (PROJECT / name).read_text()


def prose(text: str) -> str:
    """A page without its code."""
    return CODE.sub("", re.sub(r"^( {4}.*|```.*?^```)$", "", text, flags=re.MULTILINE | re.DOTALL))


# --- links and commands
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(prose(path.read_text())) if "://" not in link]
    assert [link for link in links if not leads(path, *link.partition("#")[::2])] == []


def leads(path: Path, target: str, place: str) -> bool:
    """Whether a link's file is there, and the heading in it that the link names."""
    file = path.parent / target if target else path
    if not place or not file.is_file():
        return file.exists()
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return place in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(text: str) -> Iterator[list[str]]:
    """The words after `osbox` of every command in a page's code; what stands after two blanks is a remark."""
    code = CODE.findall(text) + [
        re.split(r" {2,}|#", line[4:])[0] for line in text.splitlines() if line.startswith("    ")
    ]
    for line in code:
        for found in COMMAND.findall(line):
            words = [word.strip("[],:…") for word in found.split()]
            yield [word for word in words if word]


def unknown(words: list[str]) -> str:
    """What the command line does not know of these words; "" if it knows them all."""
    place: Any = typer.main.get_command(app)
    known = {
        option for parameter in place.params for option in (*parameter.opts, *parameter.secondary_opts)
    } | {"-h", "--help"}
    rest = iter(words)
    for word in rest:
        if word == "--" or place.name == "openstack":
            return ""
        if word == "--name":
            next(rest, "")  # its value is no command
        elif word.startswith("-") and word != "-":  # which is standard output
            if word.partition("=")[0] not in known and not re.fullmatch(r"-j\d+", word):
                return word
        elif hasattr(place, "commands") and re.fullmatch(r"[a-z][a-z0-9-]*(\|[a-z][a-z0-9-]*)*", word):
            missing = [name for name in word.split("|") if name not in place.commands]
            if missing:
                return missing[0]
            place = place.commands[word.split("|")[0]]
            known |= {
                option
                for parameter in place.params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
    return ""


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_exist(path: Path) -> None:
    wrong = {" ".join(words): unknown(words) for words in command_lines(path.read_text())}
    assert {line: word for line, word in wrong.items() if word} == {}


def test_the_check_sees_a_wrong_command() -> None:
    text = (
        "See `osbox net conect` and `osbox up --soon`.\n\n    osbox node list --json    lists\n    osbox"
        " openstack server list --all\n"
    )
    assert [unknown(words) for words in command_lines(text)] == ["conect", "--soon", "", ""]


def test_every_command_and_option_is_described() -> None:
    text = page("docs/commands.md")

    def missing(place: Any, path: str) -> Iterator[str]:
        for name, command in getattr(place, "commands", {}).items():
            yield from missing(command, f"{path} {name}")
        if not hasattr(place, "commands"):
            if f"`{path}" not in text:
                yield path
            options = [
                parameter.opts[-1]
                for parameter in place.params
                if parameter.opts[0].startswith("-") and not parameter.hidden
            ]
            yield from (
                f"{path} {option}"
                for option in options
                if option not in ("--help", "--json") and option not in text
            )

    assert list(missing(typer.main.get_command(app), "osbox")) == []


# --- images
# --------------------------------------------------------------------------------

PROJECTS = sorted({image.project for image in catalogue.IMAGES})
SERVED = [image for image in catalogue.IMAGES if image.name not in (catalogue.GROUND, catalogue.OPENSTACK)]
ROWS_OF_AN_IMAGE = {
    "Environment",
    "Secrets",
    "Volumes",
    "Ports",
    "User",
    "Capabilities",
    "Health",
    "Stands on",
}


def sections(project: str) -> dict[str, dict[str, str]]:
    """The tables of an images/<project>/README.md: by image, by row."""
    found = {}
    for part in page(f"images/{project}/README.md").split("\n## ")[1:]:
        rows = re.findall(r"^\| ([A-Z][^|]*?) \| (.*) \|$", part, re.MULTILINE)
        if part.startswith("os-"):
            found[part.split()[0]] = dict(rows)
    return found


def service_of(image: Image) -> dict[str, Any]:
    return next(
        (
            item
            for item in COMPOSE.values()
            if item["image"].startswith(f"{image.name}:") and "entrypoint" not in item
        ),
        {},
    )


def instructions(image: Image) -> list[tuple[str, str]]:
    """What its Dockerfile says for the image's target and the targets below it."""
    stages, name, found = (
        dockerfile.parse(page(str(image.dockerfile))).stages,
        image.name,
        list[tuple[str, str]](),
    )
    while name in stages:
        found = [(item.word, item.text) for item in stages[name].instructions] + found
        name = stages[name].base
    return found


def bootstrap(image: Image) -> str:
    """The text of the image's bootstrap.toml, or ""."""
    copied = [
        text.split()[0]
        for word, text in instructions(image)
        if word == "COPY" and "bootstrap" in text and ".toml" in text
    ]
    whole = f"images/{image.project}/etc/osbox/bootstrap.toml"
    return next((page(name) for name in [*copied, whole] if (PROJECT / name).exists()), "")


def words(image: Image, instruction: str) -> set[str]:
    return {word for name, text in instructions(image) if name == instruction for word in shlex.split(text)}


def in_code(cell: str) -> list[str]:
    return CODE.findall(cell)


@pytest.mark.parametrize("project", PROJECTS)
def test_every_image_has_its_table(project: str) -> None:
    tables = sections(project)
    assert list(tables) == [image.name for image in catalogue.IMAGES if image.project == project]
    assert {name: lacking for name, rows in tables.items() if (lacking := ROWS_OF_AN_IMAGE - set(rows))} == {}


@pytest.mark.parametrize("image", catalogue.IMAGES, ids=lambda image: image.name)
def test_table_says_how_health_is_asked(image: Image) -> None:
    row = sections(image.project)[image.name]["Health"]
    checks = [text for name, text in instructions(image) if name == "HEALTHCHECK"]
    if not checks:
        assert row.startswith("none")
        return
    command = json.loads(checks[-1].partition(" CMD ")[2])
    if command[0] != "bootstrap":
        assert f"`{' '.join([Path(command[0]).name, *command[1:]])}`" in row
        return
    health = tomllib.loads(bootstrap(image))["health"]
    told = [health.get("url") or health.get("tcp") or Path(health["command"][0]).name]
    told += [health[key] for key in ("user", "expect") if key in health and "tcp" not in health]
    assert [word for word in told if f"`{word}`" not in row] == []


@pytest.mark.parametrize("image", SERVED, ids=lambda image: image.name)
def test_table_says_what_is_read_only(image: Image) -> None:
    row, mounts = sections(image.project)[image.name]["Volumes"], service_of(image).get("volumes", [])
    wanted = {item.split(":")[1] for item in mounts if isinstance(item, str) and item.endswith(":ro")}
    wanted |= {item["target"] for item in mounts if isinstance(item, dict) and item.get("read_only")}
    assert {part.split("`")[1] for part in row.split(";") if "read only" in part} == wanted


def test_readme_names_every_image() -> None:
    text = page("README.md")
    assert set(re.findall(r"\b(\d+) images\b", text + page("CHANGELOG.md"))) == {str(len(catalogue.IMAGES))}
    assert [
        image.name
        for image in catalogue.IMAGES
        if not re.search(rf"{image.name}(?![\w-])", text.partition("| Images | What |")[2])
    ] == []


@pytest.mark.parametrize("image", SERVED, ids=lambda image: image.name)
def test_table_says_what_the_image_may_do(image: Image) -> None:
    rows, service = sections(image.project)[image.name], service_of(image)
    assert in_code(rows["Stands on"]) == [image.base]
    user = [text for name, text in instructions(image) if name == "USER"]
    assert in_code(rows["User"])[0] == (user[-1] if user else "stack")
    reason = [text for name, text in instructions(image) if name == "LABEL" and "io.osbox.root" in text]
    assert all(rows["User"].partition(": ")[2] in text for text in reason[-1:])
    assert [name for name in in_code(rows["Capabilities"]) if name.isupper()] == service.get("cap_add", [])
    assert in_code(rows.get("Devices", "")) == service.get("devices", [])


@pytest.mark.parametrize("image", SERVED, ids=lambda image: image.name)
def test_table_says_what_the_image_needs(image: Image) -> None:
    rows, service, text = sections(image.project)[image.name], service_of(image), bootstrap(image)
    assert in_code(rows["Secrets"]) == service.get("secrets", [])
    named = set(re.findall(r"(?<!\$)\{([a-z][a-z0-9-]+-[a-z0-9-]+)\}", text))
    assert named <= set(service.get("secrets", []))
    variables = {word.partition("=")[0] for word in words(image, "ENV") if "=" in word} - {"PATH"} | set(
        service.get("environment", {})
    )
    assert {part.split("`")[1] for part in rows["Environment"].split("<br>") if "`" in part} == variables
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= variables
    config = tomllib.loads(text)
    waits = [*config.get("wait", []), *config.get("wait_files", [])]
    assert [word for word in waits if f"`{word}`" not in rows["Waits for"]] == []
    assert ("Migrates" in rows) == ("migrate" in config)


@pytest.mark.parametrize("image", SERVED, ids=lambda image: image.name)
def test_table_says_ports_and_volumes(image: Image) -> None:
    rows, service = sections(image.project)[image.name], service_of(image)
    ports = {word if "/" in word else f"{word}/tcp" for word in words(image, "EXPOSE")}
    assert set(in_code(rows["Ports"])) == ports
    published = {
        VARIABLE_VALUE.sub("", port).split("/")[0].split(":")[-2] for port in service.get("ports", [])
    }
    assert (
        set(re.findall(r"\d+", "".join(re.findall(r"published as ([\d and]+)", rows["Ports"])))) == published
    )
    mounted = [
        item.split(":")[1] if isinstance(item, str) else item["target"] for item in service.get("volumes", [])
    ]
    targets = {word for word in in_code(rows["Volumes"]) if word.startswith("/")}
    assert targets == set(mounted) | words(image, "VOLUME")


VARIABLE_VALUE = re.compile(r"\$\{[^}]*\}")


# --- the stack
# --------------------------------------------------------------------------------


def test_services_are_those_of_compose() -> None:
    stack = yaml.safe_load(page("compose/stack.yaml"))["services"]
    assert set(services.SERVICES) == set(stack)
    rows = re.findall(
        r"^\| `([a-z-]+)` \|",
        page("docs/stack.md").partition("## Services")[2].partition("\n## ")[0],
        re.MULTILINE,
    )
    assert set(rows) == {*stack, "rack"}


def test_compose_variables_volumes_and_secrets_are_described() -> None:
    text = page("docs/stack.md")
    used = {
        name for file in (PROJECT / "compose").glob("*.yaml") for name in VARIABLE.findall(file.read_text())
    }
    assert [name for name in sorted(used) if f"`{name}`" not in text] == []
    for kind in ("volumes", "secrets"):
        stack = yaml.safe_load(page("compose/stack.yaml"))[kind]
        assert [name for name in stack if f"`{name}`" not in text] == []


def test_settings_and_variables_are_described() -> None:
    text = page("docs/commands.md")
    assert [name for name in Site.model_fields if f"| `{name}` |" not in text] == []
    files = tracked("src/osbox/*.py", "src/osbox/**/*.py")
    # What runs in images, or with the suites, is told by us; nobody sets it.
    source = "".join(path.read_text() for path in files if path.parent.name != "inside")
    read = set(re.findall(r"environ(?:\.get)?[(\[]\"([A-Z_]+)\"", source)) | set(
        re.findall(r"envvar=\"(\w+)\"", source)
    )
    assert [name for name in sorted(read - {"PATH"}) if f"`{name}`" not in text] == []


def test_bootstrap_and_build_arguments_are_described() -> None:
    text = page("docs/images.md")
    files = tracked("images/*/bootstrap*.toml", "images/*/etc/osbox/bootstrap.toml")
    keys = {key for path in files for key in tomllib.loads(path.read_text())}
    forms = ("`{} =", "`[{}]`", "`[[{}]]`")
    assert [key for key in sorted(keys) if not any(form.format(key) in text for form in forms)] == []
    recipes = "\n".join(page(f"images/{project}/Dockerfile") for project in PROJECTS)
    arguments = set(re.findall(r"^ARG (\w+)", recipes, re.MULTILINE))
    assert [name for name in sorted(arguments) if f"| `{name}` |" not in text] == []
    variables = set(
        re.findall(
            r"environ\.get\(\"(OSBOX_\w+)\"",
            page("images/base/bootstrap.py") + page("images/base/gunicorn.conf.py"),
        )
    )
    assert [name for name in sorted(variables) if f"`{name}`" not in page("images/base/README.md")] == []


def test_fake_hardware_is_allowed_by_the_same_options_on_the_page_and_in_the_tests() -> None:
    """People copy the page's lines; tests and bench/nodes.py set their own."""
    told = re.findall(r"\bironic\.DEFAULT\.enabled_\w+=\S+", page("docs/judges.md"))
    assert told == list(fake_hardware.SUITES_OPTIONS)


# --- messages
# --------------------------------------------------------------------------------


def joined(path: Path) -> str:
    """Its text, with a string that stands on several lines as the one that is printed."""
    return re.sub(r'"\n\s*f?"', "", path.read_text())


def test_messages_are_those_that_are_printed() -> None:
    """The first column of docs/troubleshooting.md: … stands for what differs from case to case."""
    files = [
        *tracked("src/osbox/*.py", "src/osbox/**/*.py"),
        PROJECT / "images/base/bootstrap.py",
        PROJECT / "Makefile",
    ]
    printed = re.sub(r"\$\([A-Z]+\)|\{[^{}\n]*\}", "…", "\n".join(map(joined, files)))
    rows = re.findall(
        r"^\| `(.+?)`(?: …)? \|",
        page("docs/troubleshooting.md").partition("## A node does not")[0],
        re.MULTILINE,
    )
    assert rows
    assert [row for row in rows if row.strip("…") not in printed] == []


def test_changelog_is_newest_first() -> None:
    versions = re.findall(r"^## (\d+)\.(\d+)\.(\d+)", page("CHANGELOG.md"), re.MULTILINE)
    numbers = [tuple(map(int, version)) for version in versions]
    assert numbers
    assert all(newer > older for newer, older in pairwise(numbers))


def test_nobody_is_sent_to_an_index_for_osbox() -> None:
    """There the name is nobody's, and root would run what anybody puts under it."""
    places = [*PAGES, *tracked("src/osbox/*.py", "src/osbox/**/*.py", "Makefile")]
    from_an_index = re.compile(r"(?:pip|pipx|uv tool) (?:re)?install[^\n`]*[ '\"]osbox(?![-\w./])")
    found = {name_of(path): from_an_index.findall(path.read_text()) for path in places}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/design.md"])
def test_the_sizes_of_functions_and_modules_are_those_that_are_held(name: str) -> None:
    assert f"A function has at most {FUNCTION_LINES} lines, a module at most {MODULE_LINES}." in page(name)
