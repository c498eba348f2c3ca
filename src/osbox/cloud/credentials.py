"""The administrator's credentials for people and their tools: files, and the openstack client that uses
them."""

import os
import sys
from pathlib import Path
from typing import Any

import yaml

from osbox import environment, files
from osbox.cloud.services import REGION
from osbox.site import secrets
from osbox.site.site import Paths, Site


def write_credentials(paths: Paths, site: Site) -> None:
    """Write clouds.yaml and openrc (0600) for people and their tools."""
    password = secrets.read(paths, "admin-password")
    auth = {
        "auth_url": f"{site.api(5000)}/v3",
        "username": "admin",
        "password": password,
        "user_domain_id": "default",
    }
    common: dict[str, Any] = {"region_name": REGION, "identity_api_version": 3}
    common |= {"cacert": str(paths.trusted)} if site.tls else {}
    project = {**auth, "project_name": "admin", "project_domain_id": "default"}
    clouds = {
        site.name: {"auth": project, **common},
        f"{site.name}-system": {"auth": {**auth, "system_scope": "all"}, **common},
    }
    files.write_changed(
        paths.clouds_yaml, yaml.safe_dump({"clouds": clouds}, sort_keys=False), mode=files.PRIVATE
    )
    lines = [f"export OS_{key.upper()}={value}" for key, value in project.items()]
    lines += ["export OS_IDENTITY_API_VERSION=3", f"export OS_REGION_NAME={REGION}"]
    lines += [f"export OS_CACERT={paths.trusted}"] if site.tls else []
    openrc = "\n".join([*lines, ""])
    files.write_changed(paths.openrc, openrc, mode=files.PRIVATE)


def client() -> str:
    """The openstack client that was installed with the tool."""
    beside = Path(sys.executable).with_name("openstack")
    return str(beside) if beside.exists() else "openstack"


def client_environment(paths: Paths, name: str) -> dict[str, str]:
    """What makes the client use this cloud of clouds.yaml, and not another one whose openrc was sourced;
    without a proxy."""
    cleared = {key: "" for key in os.environ if key.startswith("OS_")}
    return (
        cleared | environment.direct() | {"OS_CLIENT_CONFIG_FILE": str(paths.clouds_yaml), "OS_CLOUD": name}
    )
