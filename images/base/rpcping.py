#!/usr/bin/env python3
"""Ask a service over the message bus whether it serves: oslo.messaging's own ping (`[DEFAULT]
rpc_ping_enabled`).

    osbox-rpc-ping PROJECT TOPIC SERVER [SECONDS [COUNT]]      osbox-rpc-ping nova scheduler nova-scheduler

Reads the project's configuration in this container for the bus. Exit code 0 as soon as that server answers;
when it has not within SECONDS (10), 1 and a line that says why. With a COUNT it is asked as often again, and
the median of what that took is told.
"""

import statistics
import sys
import time

import oslo_messaging
from oslo_config import cfg

ASK_SECONDS = 1.0  # a server that does not listen yet never gets a question: it is asked anew


def main(project: str, topic: str, server: str, seconds: str = "10", count: str = "0") -> str:
    deadline = time.monotonic() + float(seconds)
    oslo_messaging.set_transport_defaults(control_exchange=project)
    cfg.CONF(args=[], project=project)
    transport = oslo_messaging.get_rpc_transport(cfg.CONF)
    try:
        client = oslo_messaging.get_rpc_client(
            transport, oslo_messaging.Target(topic=topic, server=server), timeout=ASK_SECONDS, retry=1
        )
        while True:
            try:
                answer = str(client.call({}, "oslo_rpc_server_ping"))
                took = [_timed(client) for _ in range(int(count))]
                return f"{answer} {statistics.median(took):.1f} ms, the median of {count}" if took else answer
            except oslo_messaging.MessagingTimeout:
                if time.monotonic() > deadline:
                    raise
    finally:
        transport.cleanup()


def _timed(client: "oslo_messaging.RPCClient") -> float:
    """Milliseconds of one call."""
    begin = time.monotonic()
    client.call({}, "oslo_rpc_server_ping")
    return (time.monotonic() - begin) * 1000


if __name__ == "__main__":
    try:
        print(main(*sys.argv[1:]))
    except Exception as error:  # noqa: BLE001 - one line is what a log can use
        sys.exit(
            f"no answer of {' '.join(sys.argv[2:4])} on the bus: {type(error).__name__}:"
            f" {' '.join(str(error).split())[:200]}"
        )
