"""Where others find this machine: what a listening address means to those who are told of it."""

import socket
from contextlib import suppress
from ipaddress import ip_address

from federation.settings import host_port


def is_wildcard(host: str) -> bool:
    """Whether *host* stands for all addresses of a machine, in any spelling."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


def is_loopback(host: str) -> bool:
    """Whether *host* is a machine's way to itself, which nobody else can take."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        name = host.lower().removesuffix(".")
        return name == "localhost" or name.endswith(".localhost")


def reached_at(listen: str) -> str:
    """`HOST:PORT` by which others reach whoever listens at *listen*: a guess where that is everywhere."""
    host, port = host_port(listen)
    return joined(own_address() if is_wildcard(host) else host, port)


def own_address() -> str:
    """The address from which this machine would call out; nothing is sent to find it."""
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def joined(host: str, port: int) -> str:
    """Undo `host_port`: an IPv6 address goes in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
