"""Swift's configuration."""

import configparser

from tests.conftest import PROJECT


def test_what_has_expired_is_gone_for_everybody() -> None:
    """Swift's switch lets all who may read an object read it after its end, its owner and anybody else."""
    proxy = configparser.ConfigParser(interpolation=None)
    proxy.read(PROJECT / "images/swift/etc/swift/proxy-server/10-proxy.conf", encoding="utf-8")
    assert not proxy.getboolean("app:proxy-server", "allow_open_expired", fallback=False)
