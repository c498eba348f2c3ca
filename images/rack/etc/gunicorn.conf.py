"""gunicorn for sushy-tools: its own server is Flask's development server.

One process, because sushy-tools remembers in the process what it has seen; threads, because Ironic asks for
all nodes at once.
"""

import os

import libvirt

bind = f"{os.environ['OSBOX_ADDRESS']}:{os.environ['OSBOX_REDFISH_PORT']}"
# Certificate, chain and key in one file, read anew for every connection: a renewed one counts at once.
certfile = keyfile = os.environ.get("OSBOX_TLS") or None
workers = 1
worker_class = "gthread"
threads = 16
keepalive = 30
# A power change waits for libvirt, on a machine that is busy emulating others.
timeout = 180
worker_tmp_dir = "/run/rack"
control_socket_disable = True


def post_worker_init(_worker: object) -> None:
    """Keep libvirt from printing what it also raises; sushy-tools tries several ways and expects some to
    fail."""
    libvirt.registerErrorHandler(lambda *_: None, None)  # type: ignore[attr-defined]
