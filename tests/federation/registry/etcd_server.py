"""A real etcd for tests, on ports of its own."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from federation.demo.etcd import etcd_command


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Member:
    """One member of an etcd: started, killed, stopped for a while."""

    def __init__(
        self, name: str, folder: Path, client: int, members: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.endpoint = f"127.0.0.1:{client}"
        scheme = "https" if "--cert-file" in " ".join(options) else "http"
        self._log = folder / f"{name}.log"
        url = f"{scheme}://{self.endpoint}"
        self._argv = [*etcd_command(name, folder / name, url, members), *options]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; it may have run before."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._argv, stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> None:
        """Tell it *number*; after a deadly one it is gone when this returns."""
        assert self.process is not None
        self.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait()
            self.process = None

    def ready(self) -> bool:
        """Whether it takes connections."""
        host, port = self.endpoint.split(":")
        with closing(socket.socket()) as probe:
            return probe.connect_ex((host, int(port))) == 0


@contextmanager
def etcd(folder: Path, members: int = 1, options: Sequence[str] = ()) -> Iterator[list[Member]]:
    """A running etcd of so many members."""
    ports = free_ports(2 * members)
    clients = {f"m{n}": port for n, port in enumerate(ports[:members])}
    peers = {f"m{n}": f"http://127.0.0.1:{port}" for n, port in enumerate(ports[members:])}
    made = [Member(name, folder, client, peers, options) for name, client in clients.items()]
    for member in made:
        member.start()
    try:
        deadline = time.monotonic() + 30
        while not all(member.ready() for member in made):
            assert time.monotonic() < deadline, "etcd does not listen"
            time.sleep(0.02)
        yield made
    finally:
        for member in made:
            if member.process is not None:
                member.signal(signal.SIGCONT)
                member.signal(signal.SIGKILL)
