"""The agent's end of the sync stream: finds a hub, returns whenever the link breaks, says how it stands."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NoReturn, TypeAlias

import grpc
import grpc.aio

from clusters.latest import Latest
from federation.errors import FederationError, SyncRefused
from federation.log import Log
from federation.sync import frames, records
from federation.sync.exchange import Session, exchange
from federation.sync.frames import Bye, Frame, Hello, Welcome
from federation.sync.link import Link
from federation.sync.server import METHOD, SERVICE
from federation.sync.turns import Turns
from gateway.rpc import KEEPALIVE, MESSAGE_SIZES, TlsMaterial, channel_credentials
from gateway.subscription import Subscription
from pki.profile import HUB_DNS_NAME

WELCOME_DEADLINE: Final = 10.0
_FIRST_DELAY: Final = 0.25
_LONGEST_DELAY: Final = 5.0
_RENEWED: Final = "renewed"

_OPTIONS: Final = (
    *KEEPALIVE,
    *MESSAGE_SIZES,
    ("grpc.ssl_target_name_override", HUB_DNS_NAME),
    # Else a new channel inherits the back-off of the one before, which grows to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
)

_Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class LinkState:
    """How the link to the hub stands, since when; if it is down, why and what to do.

    `clock_skew` is how many seconds the hub's clock was ahead of ours when it was last seen.
    """

    connected: bool
    address: str
    since: datetime
    hub_version: str = ""
    clock_skew: float = 0.0
    code: str = ""
    reason: str = ""
    hint: str = ""


class SyncClient:
    """Keeps one link to whichever of *addresses* answers, for as long as `run` runs.

    They are asked for before each round, and tried in any order, so that the agents share their hubs out.
    *material* is asked at each connection, so a renewed certificate needs nothing else; *hello* too.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        material: Callable[[], TlsMaterial],
        hello: Callable[[], Hello],
        session: Session,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._addresses = addresses
        self._material = material
        self._hello = hello
        self._session = session
        self._takes = [Subscription(kind, session.held.get(kind)) for kind in records.FROM_HUB]
        self._now = now
        self._pause = pause
        self._chance = chance
        self._renewed = asyncio.Event()
        self._turns = Turns()
        self._link: Link | None = None
        self.state = Latest(LinkState(False, addresses()[0], now(), reason="not connected yet"))

    @property
    def rejected(self) -> Mapping[str, Mapping[str, str]]:
        """What the hub has not taken of what we publish, on the newest connection: why, by kind and name."""
        return self._link.not_taken if self._link else {}

    def renew(self) -> None:
        """Connect anew, with the certificate that there is now: a hub does not know the old one for ever."""
        self._renewed.set()

    async def run(self) -> NoReturn:
        """Connect, and again whenever the link breaks: at once to another hub, after a pause to the same."""
        failures, last = 0, ""
        while True:
            for address in self._round(last):
                while (why := await self._linked(address)).code == _RENEWED:
                    log.debug("hub connected anew", address=address)
                was_linked, last = self.state.value.connected, address
                self._down(address, why)
                if was_linked:
                    failures = 0
                    break
            failures += 1
            if failures > 1 or len(self._addresses()) == 1:
                await self._pause(retry_delay(failures, self._chance()))

    def _round(self, last: str) -> list[str]:
        """All addresses in any order, the one that was tried *last* at the end."""
        return sorted(self._addresses(), key=lambda address: (address == last, self._chance()))

    async def _linked(self, address: str) -> SyncRefused:
        """Be linked to the hub at *address* for as long as that goes well; returns why it ended."""
        try:
            await self._connect(address)
        except SyncRefused as refusal:
            return refusal
        except grpc.aio.AioRpcError as error:
            return SyncRefused("unreachable", error.details() or error.code().name)
        except FederationError as error:
            # Ours: what the hub told could not be kept. It will be told again.
            return SyncRefused(error.code, str(error), error.hint)
        return SyncRefused("closed", "the hub closed the connection")

    async def _connect(self, address: str) -> None:
        self._renewed.clear()
        credentials = channel_credentials(self._material())
        async with grpc.aio.secure_channel(address, credentials, options=_OPTIONS) as channel:
            call: _Call = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
            incoming = frames.decoded(aiter(call), self._turns)

            async def send(frame: Frame) -> None:
                # Why a connection is broken is told by reading, not by writing.
                with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    await call.write(frames.encode(frame))

            hub = await self._greet(address, incoming, send)
            link = self._link = Link(
                self._session.catalogue, records.FROM_AGENTS, self._takes, by_digest=hub.digests
            )
            talking = asyncio.ensure_future(exchange(link, self._session, incoming, send, self._turns))
            renewed = asyncio.ensure_future(self._renewed.wait())
            try:
                await asyncio.wait([talking, renewed], return_when=asyncio.FIRST_COMPLETED)
                if talking.done():
                    await talking
                elif renewed.done():
                    raise SyncRefused(_RENEWED, "this side connects anew")
            finally:
                await _ended(talking, renewed)

    async def _greet(
        self, address: str, incoming: AsyncIterator[Frame], send: Callable[[Frame], Awaitable[None]]
    ) -> Welcome:
        """Introduce ourselves, and see to it that it is a hub that answers, and one that we understand."""
        asked = self._now()
        try:
            async with asyncio.timeout(WELCOME_DEADLINE):
                await send(self._hello())
                answer = await anext(incoming, None)
        except TimeoutError as error:
            raise SyncRefused("unreachable", f"no welcome within {WELCOME_DEADLINE:g} s") from error
        if isinstance(answer, Bye):
            raise SyncRefused(answer.code, answer.reason, answer.hint)
        if not isinstance(answer, Welcome):
            raise SyncRefused("no-welcome", "what answers is not a hub")
        frames.check_versions("hub", answer)
        now = self._now()
        skew = (answer.clock - (asked + (now - asked) / 2)).total_seconds()
        self.state.set(LinkState(True, address, now, answer.version, skew))
        log.info("hub connected", address=address, version=answer.version)
        return answer

    def _down(self, address: str, why: SyncRefused) -> None:
        """Note that there is no link, and why; the log hears each reason once, not at each attempt."""
        before = self.state.value
        since = self._now() if before.connected else before.since
        state = replace(
            before,
            connected=False,
            address=address,
            since=since,
            code=why.code,
            reason=why.reason,
            hint=why.hint,
        )
        if before.connected or before.code != why.code:
            log.warning("hub not connected", address=address, code=why.code, reason=why.reason)
        self.state.set(state)


async def _ended(*tasks: asyncio.Task[object]) -> None:
    """Cancel *tasks* and see them end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def retry_delay(failures: int, chance: float) -> float:
    """How many seconds to wait after so many *failures*.

    By chance anything up to a growing limit, so that all agents of a restarted hub do not return at once.
    """
    return chance * min(_LONGEST_DELAY, _FIRST_DELAY * (1 << min(failures, 16)))
