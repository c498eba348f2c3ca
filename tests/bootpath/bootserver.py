"""The least of what a node boots from, for tests: a DHCP server on a port of its own on a bridge, TFTP and
HTTP on an address."""

import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from osbox.bootpath import dhcp, frames
from osbox.bootpath import port as bridgeport
from osbox.bootpath.dhcp import Kind, Message
from osbox.site.site import Site

SITE = Site.model_validate(
    {"name": "boottest", "bridge": "bt-prov", "veth": ("bt0", "bt1"), "subnet": "10.29.79.0/24"}
)
HOST, MAC, OFFERED = "10.29.79.1", "52:54:00:aa:bb:cc", "10.29.79.30"
KERNEL = bytes(0x202) + b"HdrS" + bytes((15, 2)) + bytes(2000)
LOADERS = {"undionly.kpxe": b"\xea" + bytes(70_000), "snponly.efi": b"MZ" + bytes(4_000)}
CONFIG = (
    "#!ipxe\ngoto deploy\n:deploy\nkernel http://10.29.79.1:8090/n/deploy_kernel quiet || goto retry\n"
    "initrd http://10.29.79.1:8090/n/deploy_ramdisk || goto retry\nboot\n:retry\n"
)


class Server:
    """The least of what a node boots from: answers DHCP on a port of its own, TFTP and HTTP on the bridge's
    address."""

    def __init__(self, server: str = HOST) -> None:
        self.files: dict[str, bytes] = {
            "/boot.ipxe": b"#!ipxe\nchain pxelinux.cfg/${mac:hexhyp} || goto old\n",
            f"/pxelinux.cfg/{MAC.replace(':', '-')}": CONFIG.encode(),
            "/n/deploy_kernel": KERNEL,
            "/n/deploy_ramdisk": b"\x1f\x8b" + bytes(2000),
        }
        self.loaders = dict(LOADERS)
        self.server, self.dhcp, self.loader = server, True, "undionly.kpxe"
        self.script = f"http://{HOST}:8090/boot.ipxe"
        self.stop = threading.Event()

    def serve_dhcp(self, port: bridgeport.Port, door: socket.socket) -> None:
        """Offer the same to whoever asks."""
        while not self.stop.is_set():
            for raw in bridgeport.incoming(door, 0.05):
                seen = frames.read_udp(raw)
                if self.dhcp and seen and seen.target_port == dhcp.SERVER_PORT:
                    door.send(self.answer(port, dhcp.decode(seen.payload)))

    def answer(self, port: bridgeport.Port, asked: Message) -> bytes:
        kind = Kind.ACK if asked.kind is Kind.REQUEST else Kind.OFFER
        file = self.script if asked.options.get(dhcp.Code.USER_CLASS) == b"iPXE" else self.loader
        options = {
            int(dhcp.Code.KIND): bytes((kind,)),
            int(dhcp.Code.SERVER): socket.inet_aton(self.server),
            int(dhcp.Code.BOOT_FILE): file.encode(),
            int(dhcp.Code.LEASE_SECONDS): struct.pack(">I", 3600),
        }
        reply = Message(dhcp.REPLY_OP, asked.xid, asked.mac, options, address=OFFERED, next_server=HOST)
        return frames.udp(
            dhcp.encode(reply), mac=port.mac, source=self.server, source_port=67, target_port=68
        )

    def serve_tftp(self, door: socket.socket) -> None:
        while not self.stop.is_set():
            try:
                packet, peer = door.recvfrom(2000)
            except TimeoutError:
                continue
            name = packet[2:].split(b"\0")[0].decode()
            content = self.loaders.get(name)
            if content is None:
                door.sendto(struct.pack(">HH", 5, 1) + b"file not found\0", peer)
                continue
            door.sendto(b"\0\6" + b"tsize\0%d\0blksize\x001432\0" % len(content), peer)
            for number in range(len(content) // 1432 + 2):
                acknowledged = struct.unpack(">HH", door.recv(100))
                assert acknowledged == (4, number)
                if number <= len(content) // 1432:
                    door.sendto(
                        struct.pack(">HH", 3, number + 1) + content[number * 1432 : (number + 1) * 1432], peer
                    )


@contextmanager
def offering(server: Server, bridge: str) -> Iterator[Server]:
    """The server's DHCP only, on a port of its own on that bridge."""
    with bridgeport.plugged(bridge) as port, port.listen() as door:
        thread = threading.Thread(target=server.serve_dhcp, args=(port, door))
        thread.start()
        try:
            yield server
        finally:
            server.stop.set()
            thread.join()


@contextmanager
def serving(server: Server, *, tftp_too: bool = True, http_too: bool = True) -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = server.files.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with offering(server, SITE.bridge), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        work = list[Callable[[], None]]()
        if tftp_too:
            door.bind((HOST, 69))
            door.settimeout(0.1)
            work.append(lambda: server.serve_tftp(door))
        web = http.server.ThreadingHTTPServer((HOST, 8090), Handler) if http_too else None
        work += [lambda: web.serve_forever(0.05)] if web else []
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            server.stop.set()
            if web:
                web.shutdown()
                web.server_close()
            for thread in threads:
                thread.join()
