"""The commands by their names.

A module is loaded when a command of its is called, or the help of all is shown: together they take 0.3 s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from osbox.commands.context import CLOUD, ENGINE, IMAGES, METAL, NETWORK

# As in the help: every group of commands after the single ones of its panel.
TABLE: Mapping[str, tuple[str, str]] = {
    "build": (IMAGES, "images:build"),
    "test": (IMAGES, "images:check"),
    "clean": (IMAGES, "images:clean"),
    "lock": (IMAGES, "lock:refresh"),
    "schema": (IMAGES, "lock:schema"),
    "push": (IMAGES, "push:push"),
    "images": (IMAGES, "inventory:app"),
    "bundle": (IMAGES, "bundle:app"),
    "demo": (CLOUD, "demo:demo"),
    "up": (CLOUD, "stack:up"),
    "plan": (CLOUD, "stack:plan"),
    "status": (CLOUD, "status:status"),
    "logs": (CLOUD, "stack:logs"),
    "doctor": (CLOUD, "doctor:doctor"),
    "set": (CLOUD, "options:put"),
    "unset": (CLOUD, "options:unset"),
    "get": (CLOUD, "options:get"),
    "setup": (CLOUD, "contents:prepare"),
    "down": (CLOUD, "stack:down"),
    "rollback": (CLOUD, "generation:rollback"),
    "restore": (CLOUD, "backup:restore"),
    "openstack": (CLOUD, "stack:openstack"),
    "judge": (CLOUD, "judge:judge"),
    "s3": (CLOUD, "s3:app"),
    "swift": (CLOUD, "swift:app"),
    "secrets": (CLOUD, "secrets:app"),
    "tls": (CLOUD, "tls:app"),
    "generation": (CLOUD, "generation:app"),
    "backup": (CLOUD, "backup:app"),
    "probe": (NETWORK, "probe:probe"),
    "net": (NETWORK, "net:app"),
    "explain": (METAL, "explain:explain"),
    "ramdisk": (METAL, "contents:ramdisk"),
    "guest": (METAL, "contents:guest"),
    "node": (METAL, "metal:node_app"),
    "rack": (METAL, "metal:rack_app"),
    "engine": (ENGINE, "engine:app"),
}
"""Panel of the help, and MODULE:FUNCTION or MODULE:GROUP in osbox.commands."""
AS_THEY_ARE = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
SETTINGS: Mapping[str, dict[str, Any]] = {"openstack": AS_THEY_ARE}
"""Of commands whose words are another program's."""


@dataclass
class Lazy(Mapping[str, Any]):
    """The commands as Typer wants them, each made when it is looked up. settings: the whole program's."""

    settings: dict[str, Any]
    made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in TABLE:
            raise KeyError(name)
        if name not in self.made:
            try:
                self.made[name] = self._load(name)
            except KeyError as error:  # a Mapping's get would take it for a command that is not there
                raise RuntimeError(f"osbox {name} cannot be loaded: KeyError: {error}") from error
        return self.made[name]

    def _load(self, name: str) -> Any:
        panel, place = TABLE[name]
        module, _, attribute = place.partition(":")
        return self._command(name, panel, getattr(import_module(f"osbox.commands.{module}"), attribute))

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def __len__(self) -> int:
        return len(TABLE)

    def _command(self, name: str, panel: str, found: Any) -> Any:
        """In a program of its own, whose other settings a command inherits from."""
        program = typer.Typer(rich_markup_mode="rich", add_completion=False, context_settings=self.settings)
        program.callback()(lambda: None)
        if isinstance(found, typer.Typer):
            program.add_typer(found, name=name, rich_help_panel=panel)
        else:
            settings = SETTINGS.get(name, self.settings)
            program.command(name, rich_help_panel=panel, context_settings=settings)(found)
        return typer.main.get_group(program).commands[name]


class Commands(TyperGroup):
    """The program. Typer would make all commands, and load what they need, before it looks at the words."""

    def __init__(self, *, commands: Mapping[str, Any] | Sequence[Any] | None = None, **more: Any) -> None:
        super().__init__(commands=dict(commands or {}), **more)
        self.commands = Lazy(dict(self.context_settings))  # type: ignore[assignment]
