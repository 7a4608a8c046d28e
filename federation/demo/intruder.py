"""Somebody who has the keys of a cluster, and calls other clusters' gateways with them, past its own.

    python -m federation.demo.intruder STATE 192.0.2.10:15008 orders.shop.svc.clusterset.local:7070 --log LOG

STATE is a copy of the state folder of its agent: the issuing key in it names any workload of that cluster.
Every beat there is a new connection, and a new tunnel on the connection that is kept, and a line through the
tunnel that was opened first. Each of them is a line of the log, see `Made`; whatever fails is tried again.
"""

import argparse
import asyncio
import signal
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

from clusters.identity import load_identity
from federation.demo.clients import Misunderstood
from federation.demo.samples import READY, Answer
from federation.demo.speakers import FAULTS
from federation.demo.tally import Made
from federation.settings import host_port
from pki.authority import to_pem
from pki.profile import svid
from pki.signer import KeySigner
from pki.spiffe import workload_id

_BEAT: Final = 0.025
_PATIENCE: Final = 5.0
_LINE: Final = b"let me in\n"


@dataclass(frozen=True, slots=True)
class Stolen:
    """What it takes to pose as a workload of a cluster."""

    trust_domain: str
    tls: ssl.SSLContext


def steal(state: Path) -> Stolen:
    """Sign a certificate for a workload that does not exist, by the issuing key in *state*."""
    identity = load_identity(state)
    trust_domain, key = identity.membership.trust_domain, KeySigner.generate()
    profile = svid(workload_id(trust_domain, "shop", "intruder"))
    certificate = identity.authority.issue(profile, key.public_key(), datetime.now(UTC))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE  # it does not care whom it robs
    tls.set_alpn_protocols(["h2"])
    with TemporaryDirectory() as folder:
        chain, secret = Path(folder) / "chain.pem", Path(folder) / "key.pem"
        chain.write_text(to_pem([certificate, *identity.authority.chain]))
        secret.write_bytes(key.private_pem())
        tls.load_cert_chain(chain, secret)
    return Stolen(trust_domain, tls)


class Connection:
    """A connection to a gateway, with tunnels in it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str) -> None:
        self._reader = reader
        self._writer = writer
        self._authority = authority
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._said: dict[int, bytes] = {}
        self._turn = asyncio.Lock()
        self.opened = time.monotonic()
        self._h2.initiate_connection()

    async def tunnel(self) -> tuple[int, str]:
        """Open a tunnel; gives its stream, and who answers at its end."""
        stream = self._h2.get_next_available_stream_id()
        self._said[stream] = b""
        self._h2.send_headers(stream, [(":method", "CONNECT"), (":authority", self._authority)])
        return stream, Answer.parse(await self._line(stream)).answered_by

    async def say(self, stream: int) -> None:
        """One line there and back."""
        self._h2.send_data(stream, _LINE)
        if await self._line(stream) != _LINE:
            raise Misunderstood("the echo is not what was said")

    def close(self) -> None:
        """Let go of it."""
        self._writer.close()

    async def _line(self, stream: int) -> bytes:
        self._writer.write(self._h2.data_to_send())
        while b"\n" not in self._said[stream]:
            received = await self._reader.read(1 << 16)
            if not received:
                raise EOFError("closed before the answer")
            for event in self._h2.receive_data(received):
                self._heed(event)
            self._writer.write(self._h2.data_to_send())
        line, _, self._said[stream] = self._said[stream].partition(b"\n")
        return line + b"\n"

    def _heed(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                status = {str(name): str(value) for name, value in event.headers or ()}[":status"]
                if status != "200":
                    raise Misunderstood(f"status {status}")
            case DataReceived():
                self._said[event.stream_id or 0] += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case StreamReset() | StreamEnded():
                raise Misunderstood("tunnel ended")


class Intruder:
    """Calls *authority* at the gateway *where*, and writes down what becomes of it."""

    def __init__(self, stolen: Stolen, where: str, authority: str, log: Path) -> None:
        self._stolen = stolen
        self._host, self._port = host_port(where)
        self._authority = authority
        self._log = log.open("w", buffering=1)

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until *stop*."""
        async with asyncio.TaskGroup() as tasks:
            ways = [tasks.create_task(self._anew()), tasks.create_task(self._stay())]
            await stop.wait()
            for way in ways:
                way.cancel()
        self._log.close()

    async def _anew(self) -> None:
        """New connections, one after the other."""
        while True:
            began = time.monotonic()
            connection = None
            try:
                async with asyncio.timeout(_PATIENCE):
                    connection = await self._connected()
                    _, answered_by = await connection.tunnel()
            except FAULTS as fault:
                self._note("connection", began, began, failure=fault)
            else:
                self._note("connection", began, began, answered_by)
            finally:
                if connection:
                    connection.close()
            await asyncio.sleep(_BEAT)

    async def _stay(self) -> None:
        """One connection for as long as it lasts: lines through its first tunnel, and ever new tunnels."""
        while True:
            connection = None
            opened = began = time.monotonic()
            what = "connection"
            try:
                async with asyncio.timeout(_PATIENCE):
                    connection = await self._connected()
                    first, answered_by = await connection.tunnel()
                while True:
                    for what in ("line", "tunnel"):
                        began = time.monotonic()
                        async with asyncio.timeout(_PATIENCE):
                            await (connection.say(first) if what == "line" else connection.tunnel())
                        self._note(what, opened if what == "line" else began, began, answered_by)
                    await asyncio.sleep(_BEAT)
            except FAULTS as fault:
                self._note(what, opened, began, failure=fault)
            finally:
                if connection:
                    connection.close()
            await asyncio.sleep(_BEAT)

    async def _connected(self) -> Connection:
        reader, writer = await asyncio.open_connection(
            self._host, self._port, ssl=self._stolen.tls, server_hostname=self._stolen.trust_domain
        )
        return Connection(reader, writer, self._authority)

    def _note(
        self,
        what: str,
        opened: float,
        began: float,
        answered_by: str = "",
        failure: BaseException | None = None,
    ) -> None:
        why = "" if failure is None else str(failure) or type(failure).__name__
        self._log.write(Made(began, time.monotonic(), opened, what, answered_by, why).encode())


def main(argv: Sequence[str] | None = None) -> None:
    """Go on until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m federation.demo.intruder", description="Call with stolen keys."
    )
    parser.add_argument("state", type=Path, help="a copy of an agent's state folder")
    parser.add_argument("where", help="the gateway to dial, ADDRESS:PORT")
    parser.add_argument("authority", help="what to ask it for, SERVICE:PORT")
    parser.add_argument("--log", required=True, type=Path, help="where to write the calls")
    said = parser.parse_args(argv)
    intruder = Intruder(steal(said.state), said.where, said.authority, said.log)
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(intruder))


async def _run(intruder: Intruder) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(READY, flush=True)
    await intruder.run(stop)


if __name__ == "__main__":
    main()
