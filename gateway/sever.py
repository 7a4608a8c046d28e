"""Ending open connections of a running Envoy by their far ends, which no configuration of it does.

A cluster that is taken from an Envoy gets no new stream, and those that are open go on for as long as the
other side likes. So whoever runs the Envoy shuts its sockets down: it is told which, has a duplicate of each
given by the kernel, and ends that. Envoy then sees an end, as if the other side had hung up.

The kernel lets a process do so to its child of the same user, unless it is forbidden for all (Yama from 2 on,
or the filter of system calls of a container without SYS_PTRACE).
"""

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

from gateway.errors import CannotSever

_PIDFD_GETFD: Final = 438  # the same on all architectures; neither Python nor older C libraries have it
_LISTENING: Final = "0A"

Ends = tuple[tuple[str, int], tuple[str, int]]
"""The far and the near end of a connection, each an address and a port."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection of a process: the address and port of its far end, its near end, and who opened it."""

    address: str
    port: int
    accepted: bool
    inode: str
    near: tuple[str, int]

    @property
    def ends(self) -> Ends:
        """What no other open connection has in common with it."""
        return (self.address, self.port), self.near


def sever(pid: int, doomed: Callable[[Connection], bool]) -> int:
    """End those connections of the process *pid* that are *doomed*; how many were they?

    Raises CannotSever if that is not allowed; a process that has ended has none.
    """
    inodes = {connection.inode for connection in connections(pid) if doomed(connection)}
    if not inodes:
        return 0
    with suppress(ProcessLookupError, FileNotFoundError):
        process = os.pidfd_open(pid)
        try:
            return sum(_shut(process, fd, inode) for fd, inode in _sockets(pid) if inode in inodes)
        finally:
            os.close(process)
    return 0


def check_allowed(pid: int) -> None:
    """Raise CannotSever unless the kernel would let us end connections of *pid*."""
    with suppress(ProcessLookupError, FileNotFoundError):
        process = os.pidfd_open(pid)
        try:
            os.close(_duplicate(process, 0))
        finally:
            os.close(process)


def connections(pid: int) -> Iterator[Connection]:
    """The TCP connections in the network namespace of *pid*: its own, and those of others there."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in _lines(Path(f"/proc/{pid}/net/{name}"))]
    listening = {_port(fields[1]) for fields in lines if fields[3] == _LISTENING}
    for fields in lines:
        if fields[3] != _LISTENING:
            accepted = _port(fields[1]) in listening
            (address, port), near = _end(fields[2]), _end(fields[1])
            yield Connection(address, port, accepted, fields[9], near)


def _lines(table: Path) -> list[str]:
    """The lines of one of the kernel's tables; there is none without IPv6, or for who has ended."""
    try:
        return table.read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _end(field: str) -> tuple[str, int]:
    """Read `0100007F:1F90`."""
    return _address(field.partition(":")[0]), _port(field)


def _port(field: str) -> int:
    return int(field.rpartition(":")[2], 16)


@lru_cache(4096)  # a table has few addresses, many times
def _address(field: str) -> str:
    """Read `0100007F`: words of 32 bits, each in this machine's order of bytes."""
    words = bytes.fromhex(field)
    each = (int.from_bytes(words[at : at + 4], sys.byteorder) for at in range(0, len(words), 4))
    packed = b"".join(word.to_bytes(4, "big") for word in each)
    address = ip_address(packed)
    return str(address.ipv4_mapped or address if isinstance(address, IPv6Address) else address)


def _sockets(pid: int) -> Iterator[tuple[int, str]]:
    """The sockets that *pid* has open: each file descriptor, and which socket it is."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            what = str(entry.readlink())
            if what.startswith("socket:["):
                yield int(entry.name), what[len("socket:[") : -1]


def _shut(process: int, fd: int, inode: str) -> bool:
    """End the socket *inode* that *process* had as *fd* a moment ago; whether it was open.

    By now the number may be another one's.
    """
    try:
        copy = _duplicate(process, fd)
    except FileNotFoundError:
        return False
    try:
        if str(os.fstat(copy).st_ino) != inode:
            return False
        with socket.socket(fileno=os.dup(copy)) as its:
            its.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is over already, or was never there
        return False
    finally:
        os.close(copy)
    return True


def _duplicate(process: int, fd: int) -> int:
    """Have the file *fd* of *process* for ourselves as well."""
    libc = ctypes.CDLL(None, use_errno=True)
    copy = int(libc.syscall(_PIDFD_GETFD, process, fd, 0))
    if copy >= 0:
        return copy
    number = ctypes.get_errno()
    reason = os.strerror(number)
    if number in (errno.EBADF, errno.ESRCH):
        raise FileNotFoundError(number, reason)
    raise CannotSever(reason)
