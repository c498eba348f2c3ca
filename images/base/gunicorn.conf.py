"""gunicorn for every OpenStack API: which application and port come from the environment of the image.

Arguments stay off the command line on purpose: the services parse sys.argv with oslo.config and would exit on
gunicorn's options.
"""

import os

wsgi_app = os.environ["OSBOX_WSGI"]
bind = [f"0.0.0.0:{os.environ['OSBOX_PORT']}"]
workers = int(os.environ.get("OSBOX_WORKERS", "1"))
worker_class = "gthread"
threads = int(os.environ.get("OSBOX_THREADS", "16"))
keepalive = 30  # seconds; clients hold connections open between calls
timeout = 300  # seconds without a heartbeat of the worker's main loop
graceful_timeout = 5
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn's heartbeat file wants a memory file system
control_socket_disable = True
accesslog = "-" if os.environ.get("OSBOX_ACCESS_LOG") else None
errorlog = "-"
loglevel = "warning"
