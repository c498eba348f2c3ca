"""gunicorn for sushy-tools: its own server is Flask's development server.

One process, because sushy-tools remembers in the process what it has seen; threads, because Ironic asks for all nodes
at once.
"""

import os

bind = f"{os.environ['OSBOX_ADDRESS']}:{os.environ['OSBOX_REDFISH_PORT']}"
workers = 1
worker_class = "gthread"
threads = 16
keepalive = 30
# A power change waits for libvirt, on a machine that is busy emulating others.
timeout = 180
worker_tmp_dir = "/run/rack"
control_socket_disable = True
