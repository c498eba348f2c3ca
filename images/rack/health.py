#!/usr/bin/python3
"""rack-health: ask Redfish for the list of systems with its password, so that libvirt has to answer, too."""

import base64
import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path

SECRET = Path("/run/secrets/bmc-password")
USER = "admin"
SECONDS = 8  # the health check of the image gives 10


def main() -> int:
    front = os.environ.get("OSBOX_TLS")
    scheme = "https" if front else "http"
    url = f"{scheme}://{os.environ['OSBOX_ADDRESS']}:{os.environ['OSBOX_REDFISH_PORT']}/redfish/v1/Systems"
    try:
        token = base64.b64encode(f"{USER}:{SECRET.read_text(encoding='utf-8').strip()}".encode()).decode()
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})  # noqa: S310 - one of two
        # No proxy stands between us and ourselves, whatever the environment says.
        context = ssl.create_default_context(cafile=front) if front else None
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as answer:
            print(len(json.load(answer)["Members"]), "nodes")
    except (OSError, ValueError, KeyError) as error:
        print(f"rack-health: {url} does not answer as Redfish should: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
