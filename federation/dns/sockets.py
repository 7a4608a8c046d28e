"""The sockets of the name server: UDP and TCP on the same port of each address.

A reply must come from the address that was asked. A socket bound to one address sees to that itself; one
that is bound to all has to be told for each datagram, by the packet information that came with the question.
"""

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias

from federation.dns.message import TCP_LIMIT
from federation.errors import CannotListen
from federation.settings import DNS_PORT, host_port

# Python names the option from 3.14 on; the number is Linux's.
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_INFO_V4 = struct.Struct("=i4s4s")
_INFO_V6 = struct.Struct("=16si")

_RECEIVE_BUFFER = 1 << 20
_TRIES = 10

Sender: TypeAlias = tuple[str | int, ...]
Ancillary: TypeAlias = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Bound:
    """The two sockets of one address. `anywhere`: bound to all addresses of the host."""

    address: str
    udp: socket.socket
    tcp: socket.socket
    anywhere: bool

    @classmethod
    def adopt(cls, address: str, udp: int, tcp: int) -> "Bound":
        """What another process had bound, by the descriptors that it passed on."""
        anywhere = ip_address(host_port(address, DNS_PORT)[0]).is_unspecified
        return cls(address, socket.socket(fileno=udp), socket.socket(fileno=tcp), anywhere)

    def is_at(self, text: str) -> bool:
        """Whether this is what `bind` would take for *text*."""
        return host_port(text, DNS_PORT) == host_port(self.address, DNS_PORT)

    @property
    def host(self) -> str:
        """The IP address without the port."""
        return host_port(self.address, DNS_PORT)[0]

    @property
    def is_found_by_name(self) -> bool:
        """Whether a resolver that has only our name's address would ask here."""
        return not self.anywhere and "%" not in self.host and host_port(self.address, 0)[1] == DNS_PORT

    def close(self) -> None:
        """Let go of the address."""
        self.udp.close()
        self.tcp.close()


def bind(text: str) -> Bound:
    """Take `ADDRESS[:PORT]` (port 53 by default, 0 for any) for both protocols, or say why not."""
    host, port = host_port(text, DNS_PORT)
    try:
        anywhere = ip_address(host).is_unspecified
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError as error:
        raise CannotListen("DNS", text, "not an IP address") from error
    for _ in range(_TRIES):
        try:
            return _bind_pair(family, host, port, anywhere)
        except OSError as error:
            # A port that the kernel chose for UDP may be taken for TCP; then it has to choose again.
            if port or error.errno != errno.EADDRINUSE:
                raise CannotListen("DNS", text, error.strerror or str(error), _hint(error)) from error
    raise CannotListen("DNS", text, "no port is free for both UDP and TCP")


def _hint(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return (
            "ports below 1024 need CAP_NET_BIND_SERVICE; another port is chosen by --dns-listen ADDRESS:PORT"
        )
    if error.errno == errno.EADDRINUSE:
        return "another name server has it; give this one an address of its own by --dns-listen ADDRESS:PORT"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have the address; add it, or choose another by --dns-listen ADDRESS:PORT"
    return ""


def _bind_pair(family: socket.AddressFamily, host: str, port: int, anywhere: bool) -> Bound:
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            for each in (udp, tcp):
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if anywhere:
            _ask_for_information(udp)
        udp.bind(_target(host, port))
        number: int = udp.getsockname()[1]
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(_target(host, number))
        tcp.listen(128)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return Bound(f"[{host}]:{number}" if ":" in host else f"{host}:{number}", udp, tcp, anywhere)


def _target(host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """Write the address as the kernel wants it, with the number of the zone that a link-local one has."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    address = found[0][4]
    return address if len(address) == 4 else (str(address[0]), int(address[1]))


def _ask_for_information(udp: socket.socket) -> None:
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def receive(bound: Bound) -> tuple[bytes, Sender, Ancillary]:
    """Take one datagram: its content, its sender, and what a reply has to carry."""
    if not bound.anywhere:
        return *bound.udp.recvfrom(TCP_LIMIT), []
    packet, told, _, sender = bound.udp.recvmsg(TCP_LIMIT, 128)
    return packet, sender, [reply for item in told if (reply := _reply_from(*item))]


def _reply_from(level: int, kind: int, content: bytes) -> tuple[int, int, bytes] | None:
    """Turn where a datagram arrived into where its reply leaves: same address, whichever way is right."""
    if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
        _, local, _ = _INFO_V4.unpack(content)
        return level, kind, _INFO_V4.pack(0, local, bytes(4))
    if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
        local, _ = _INFO_V6.unpack(content)
        return level, kind, _INFO_V6.pack(local, 0)
    return None


def send(bound: Bound, packet: bytes, receiver: Sender, ancillary: Ancillary) -> None:
    """Send one datagram; one that cannot leave now is lost, as datagrams may be."""
    try:
        if ancillary:
            bound.udp.sendmsg([packet], ancillary, 0, receiver)
        else:
            bound.udp.sendto(packet, receiver)
    except OSError:
        return
