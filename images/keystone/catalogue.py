#!/usr/bin/env python3
"""Keystone's keys, administrator, service users and catalogue, in one process: `keystone-manage` and a client
for each take seconds.

Uses Keystone's own managers, so nothing is written behind its back. What is there already stays; run again it
adds what is missing. Reads catalogue.toml beside bootstrap.toml, the secrets admin-password and service-NAME,
and OSBOX_PUBLIC: the address that clients outside the containers use (without it, the containers' own names).
"""

import contextlib
import os
import tomllib
import uuid
from pathlib import Path
from typing import Any

import keystone.conf
from keystone import exception
from keystone.cmd import bootstrap, cli
from keystone.common import driver_hints, fernet_utils, provider_api, sql
from keystone.credential.providers import fernet as credential_fernet

CATALOGUE = Path("/etc/osbox/catalogue.toml")
SECRETS = Path(os.environ.get("OSBOX_SECRETS", "/run/secrets"))
# The passwords are 192 random bits (osbox's secrets): nobody guesses them, so each login of a service need
# not cost the quarter of a second that bcrypt's usual 12 rounds take. The hash itself says how many rounds it
# has; users made later get Keystone's usual ones.
ROUNDS = 4
DOMAIN = "default"
API = provider_api.ProviderAPIs
CONF = keystone.conf.CONF


def main() -> None:
    keystone.conf.configure()
    sql.initialize()
    CONF(args=[], project="keystone")
    CONF.set_override("password_hash_rounds", ROUNDS, group="identity")
    for repository in ("fernet_tokens", "fernet_receipts"):
        cli.FernetSetup.initialize_fernet_repository(None, None, repository)
    credential_keys()
    wish = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    administrator(wish["service"][0], wish["region"])
    encrypt_anew()
    project = service_project()
    roles = {role["name"]: role["id"] for role in API.role_api.list_roles()}
    for name in wish["more_roles"]:
        if name not in roles:
            number = uuid.uuid4().hex
            API.role_api.create_role(number, {"id": number, "name": name})
    for service in wish["service"][1:]:
        user = service_user(service["name"])
        for role in wish["roles"]:
            API.assignment_api.create_grant(roles[role], user_id=user, project_id=project)
    catalogue(wish["service"], wish["region"])


def credential_keys() -> None:
    """`keystone-manage credential_setup`: the keys that users' secrets (EC2, TOTP) are encrypted by.

    Without them Keystone encrypts with a key of zeros, which everybody knows.
    """
    keys = fernet_utils.FernetUtils(
        CONF.credential.key_repository, credential_fernet.MAX_ACTIVE_KEYS, "credential"
    )
    keys.create_key_directory()
    if keys.validate_key_repository(requires_write=True):
        keys.initialize_key_repository()


def encrypt_anew() -> None:
    """`keystone-manage credential_migrate`: users' secrets of before there were keys, encrypted by zeros.

    Not only when the keys were just made: a start may have been killed between. What no key decrypts stays as
    it is: one lost secret is no reason not to start, and Keystone says so whenever it is used.
    """
    newest = credential_fernet.primary_key_hash(credential_fernet.get_multi_fernet_keys()[1])
    for found in API.credential_api.driver.list_credentials(driver_hints.Hints()):
        if found["key_hash"] != newest:
            with contextlib.suppress(exception.CredentialEncryptionError):
                blob = API.credential_provider_api.decrypt(found["encrypted_blob"])
                API.credential_api.update_credential(found["id"], {"blob": blob})


def secret(name: str) -> str:
    return (SECRETS / name).read_text(encoding="utf-8").strip()


def administrator(identity: dict[str, Any], region: str) -> None:
    """What `keystone-manage bootstrap` does."""
    work = bootstrap.Bootstrapper()
    work.admin_username = work.project_name = work.admin_role_name = "admin"
    work.admin_password = secret("admin-password")
    work.service_name, work.region_id, work.immutable_roles = identity["name"], region, True
    work.public_url, work.internal_url, work.admin_url = (
        url(identity, interface) for interface in ("public", "internal", "admin")
    )
    work.bootstrap()


def service_project() -> str:
    try:
        return str(API.resource_api.get_project_by_name("service", DOMAIN)["id"])
    except exception.ProjectNotFound:
        project = {
            "id": uuid.uuid4().hex,
            "name": "service",
            "domain_id": DOMAIN,
            "enabled": True,
            "description": "Services of the cloud",
        }
        return str(API.resource_api.create_project(project["id"], project)["id"])


def service_user(name: str) -> str:
    try:
        return str(API.identity_api.get_user_by_name(name, DOMAIN)["id"])
    except exception.UserNotFound:
        user = {"name": name, "domain_id": DOMAIN, "enabled": True, "password": secret(f"service-{name}")}
        return str(API.identity_api.create_user(user)["id"])


def catalogue(wish: list[dict[str, Any]], region: str) -> None:
    services = {service["type"]: service["id"] for service in API.catalog_api.list_services()}
    endpoints = {(end["service_id"], end["interface"]) for end in API.catalog_api.list_endpoints()}
    for service in wish:
        if service["type"] not in services:
            new = {"id": uuid.uuid4().hex, "type": service["type"], "name": service["name"], "enabled": True}
            services[service["type"]] = API.catalog_api.create_service(new["id"], new)["id"]
        for interface in ("public", "internal", "admin"):
            parent = services[service["type"]]
            if (parent, interface) not in endpoints:
                end = {
                    "id": uuid.uuid4().hex,
                    "service_id": parent,
                    "interface": interface,
                    "region_id": region,
                    "enabled": True,
                }
                API.catalog_api.create_endpoint(end["id"], {**end, "url": url(service, interface)})


def url(service: dict[str, Any], interface: str) -> str:
    host, _, port = service["address"].partition(":")
    public = os.environ.get("OSBOX_PUBLIC") or host
    return f"http://{public if interface == 'public' else host}:{port}{service['path']}"


if __name__ == "__main__":
    main()
