"""Network addresses: which of them are this machine."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Say whether an http or ws address is this machine, written as a literal address.

    A name is not: who resolves it decides where it leads.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "ws") or parts.username or parts.port is None:
            return False
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
