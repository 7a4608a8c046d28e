"""Whose each connection to an ingress is, by what the ingress writes down at the opening of each tunnel.

A line names a connection by its ends. Those are somebody else's as soon as the connection is over, so the
socket that has them is remembered too: what has the same ends and is another socket is another's.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import msgspec

from gateway.sever import Ends


class _Line(msgspec.Struct):
    """What `gateway.ingress` has an ingress write."""

    far: str
    near: str
    who: str | None


@dataclass(slots=True)
class _Holder:
    """The identities that a connection was opened with, and its socket as soon as that was seen."""

    who: frozenset[str]
    inode: str = ""
    missed: bool = False


class Holders:
    """The holders of an ingress's connections."""

    def __init__(self) -> None:
        self._holders: dict[Ends, _Holder] = {}
        self._unseen = False

    @property
    def unseen(self) -> bool:
        """Whether something was learnt whose socket is not known yet."""
        return self._unseen

    def __len__(self) -> int:
        return len(self._holders)

    def learn(self, lines: Iterable[bytes]) -> None:
        """Take in *lines* of the log, oldest first; the newest for the same ends is right.

        Tunnels share connections, so most lines are the same as others.
        """
        learnt: dict[Ends, _Holder] = {}
        for line in dict.fromkeys(reversed(list(lines))):
            for ends, who in _read(line):
                learnt.setdefault(ends, _Holder(who))
        self._holders |= learnt
        self._unseen = self._unseen or bool(learnt)

    def holds_any(self, identities: Collection[str]) -> bool:
        """Whether any of *identities* may have a connection open."""
        return any(not holder.who.isdisjoint(identities) for holder in self._holders.values())

    def see(self, there: Mapping[Ends, str]) -> None:
        """Find the sockets among those that are *there*, by their ends; forget what is over.

        What is not there is forgotten the second time: a table that changes while it is read may lack one.
        """
        self._unseen = False
        for ends, holder in list(self._holders.items()):
            inode = there.get(ends, "")
            if (not inode and holder.missed) or (inode and holder.inode not in ("", inode)):
                del self._holders[ends]
            elif inode:
                holder.inode, holder.missed = inode, False
            else:
                holder.missed = self._unseen = True

    def sockets_of(self, identities: Collection[str]) -> frozenset[str]:
        """The inodes of the sockets that any of *identities* has."""
        return frozenset(
            h.inode for h in self._holders.values() if h.inode and not h.who.isdisjoint(identities)
        )


def _read(line: bytes) -> Iterator[tuple[Ends, frozenset[str]]]:
    """What a line says; nothing if it is none, as when the disk was full in the midst of it."""
    try:
        said = msgspec.json.decode(line, type=_Line)
        yield (_end(said.far), _end(said.near)), frozenset((said.who or "").split(","))
    except (msgspec.DecodeError, ValueError):
        return


def _end(text: str) -> tuple[str, int]:
    """Read `192.0.2.1:443` or `[2001:db8::1]:443`, as `gateway.sever` writes the same end."""
    host, _, port = text.rpartition(":")
    address = ip_address(host.strip("[]"))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address), int(port)
