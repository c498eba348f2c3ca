"""What an S3 client needs: Keystone's EC2 credentials of a user in a project, and where Swift answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from osbox import answers
from osbox.errors import UserError
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from openstack.connection import Connection

PATH = "/users/{}/credentials/OS-EC2"
LOCATION = "us-east-1"
"""The region that requests are signed for: `location` of s3api (images/swift)."""


@dataclass(frozen=True)
class Access:
    """endpoint: an address of this machine; domain: behind the name of a bucket, for names of the cloud."""

    endpoint: str
    domain: str
    project: str
    access: str
    secret: str
    region: str = LOCATION
    authority: str = ""
    """The file that a client verifies by; "" where the APIs speak HTTP."""

    def variables(self) -> dict[str, str]:
        """What AWS's own clients and SDKs read from the environment."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            **({"AWS_CA_BUNDLE": self.authority} if self.authority else {}),
        }


def access(cloud: "Connection", paths: Paths, site: Site, project: str = "") -> Access:
    """The administrator's credentials in a project (admin if none is named); made when there are none.

    Raises UserError when there is no such project, or the administrator has no role in it: Keystone makes the
    credentials all the same, and Swift then refuses every signature.
    """
    identity: Any = cloud.identity
    user = cloud.session.get_user_id() or ""
    number = cloud.session.get_project_id() or ""
    if project:
        projects = {one.name: one.id for one in identity.projects()}
        if project not in projects:
            raise UserError(
                f"there is no project {project}", hint=f"there are: {', '.join(sorted(projects))}"
            )
        number = projects[project]
        _require_role(identity, user, number, project)
    listed = answers.read(identity.get(PATH.format(user)), "Keystone did not list the credentials")
    mine = [one for one in listed["credentials"] if one["tenant_id"] == number]
    if not mine:
        mine = [new_credentials(identity, user, number)]
    return Access(
        site.api(8080, site.listen),
        f"s3.{site.name}:8080",
        number,
        mine[0]["access"],
        mine[0]["secret"],
        authority=str(paths.trusted) if site.tls else "",
    )


def new_credentials(identity: Any, user: str, project: str) -> dict[str, Any]:
    """EC2 credentials of a user in a project, by their ids: `access`, `secret` and more.

    Keystone makes new ones every time.
    """
    made = identity.post(PATH.format(user), json={"tenant_id": project})
    found: dict[str, Any] = answers.read(made, "Keystone did not make credentials")["credential"]
    return found


def _require_role(identity: Any, user: str, number: str, project: str) -> None:
    asked = f"/role_assignments?user.id={user}&scope.project.id={number}&effective"
    told = answers.read(identity.get(asked), "Keystone did not list the roles")
    if not told["role_assignments"]:
        raise UserError(
            f"the user admin has no role in the project {project}",
            hint=f"osbox openstack role add --user admin --project {project} member",
        )
