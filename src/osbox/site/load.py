"""Where a deployment is and what its site.toml says, read from this machine."""

import os
import tomllib
from pathlib import Path

from pydantic import ValidationError

from osbox import utf8
from osbox.errors import UserError
from osbox.site import package
from osbox.site.site import HOME, Paths, Site


def find_paths() -> Paths:
    """The checkout that this tool runs from, or what its wheel carries of it; and OSBOX_HOME."""
    home = Path(os.environ.get("OSBOX_HOME") or HOME)
    if not home.is_absolute():
        raise UserError(f"OSBOX_HOME is not an absolute path: {home}")
    own = Path(__file__).resolve().parents[1]
    carried = own / package.FOLDER
    return Paths(project=carried if (carried / package.FILE).is_file() else own.parents[1], home=home)


def load_site(home: Path) -> Site:
    """Read `site.toml`; raises UserError naming the file and the key."""
    file = Paths.site_toml.at(home)
    try:
        data = tomllib.loads(utf8.read(file)) if file.exists() else {}
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {error}") from error
    try:
        return Site.model_validate(data)
    except ValidationError as error:
        lines = "\n".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise UserError(
            f"{file} has wrong settings", evidence=lines, hint="known keys: " + ", ".join(Site.model_fields)
        ) from error
