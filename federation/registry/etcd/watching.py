"""A watch that loses nothing: what one stream does not tell, the next is asked for.

It goes on after the last revision that was handed over whole, never after one that an answer's header
names: while a watch catches up, that is far ahead of what it has told. A stream that says nothing is asked
whether it lives, and left if it does not answer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from itertools import groupby
from typing import Final

import grpc
import grpc.aio
from etcd3.etcdrpc import kv_pb2 as kv
from etcd3.etcdrpc import rpc_pb2 as rpc

from federation.errors import Compacted, StoreClosed
from federation.log import Log
from federation.registry.etcd.connection import RANGE, Connection, Line, Refused, said

log = Log(__name__)

_PATH: Final = "/etcdserverpb.Watch/Watch"

_QUIET: Final = 3.0
"""Seconds of silence after which a stream is asked whether it lives, and in which it has to answer."""

_PAUSES: Final = (0.02, 0.1, 0.3, 1.0)

Happened = tuple[int, list[kv.Event]]
"""A revision, and all of its events under the watched prefix."""

_Stream = grpc.aio.StreamStreamCall[rpc.WatchRequest, rpc.WatchResponse]


_TRIES: Final = 3
"""How often in a row etcd may end a watch, for a token that has run out say, before that is its last word."""


class _Ended(Exception):
    """The stream does not answer, or etcd has ended the watch and says why."""


async def watched(connection: Connection, prefix: bytes, after_revision: int) -> AsyncIterator[Happened]:
    """Yield each later revision that touched *prefix*, for ever; raises Compacted, Refused or StoreClosed.

    What another stream tells comes after a revision without events: up to there all was told before.
    """
    seen, failures, interrupted = after_revision, 0, False
    while True:
        line = None
        try:
            line = await connection.line()
            async with aclosing(_told(connection, line, prefix, seen)) as told:
                async for revision, events in told:
                    if interrupted:
                        yield seen, []
                    failures, interrupted = 0, False
                    if events and revision > seen:
                        yield revision, events
                    seen = max(seen, revision)
        except grpc.aio.AioRpcError as error:
            connection.refuse_final(error)
            reason = said(error)
        except _Ended as error:
            reason = str(error)
            if failures >= _TRIES:
                raise Refused(grpc.StatusCode.UNKNOWN, reason) from error
        else:
            reason = "the stream has ended"
        log.info("watch interrupted", after=seen, reason=reason)
        if line is not None:
            await connection.turn_from(line)
        await connection.pause(_PAUSES[min(failures, len(_PAUSES) - 1)])
        failures, interrupted = failures + 1, True


async def _told(
    connection: Connection, line: Line, prefix: bytes, after: int
) -> AsyncGenerator[Happened, None]:
    """What one stream tells; a revision without events says that nothing is left to tell up to there."""
    async with line.used() as channel:
        open_stream: grpc.aio.StreamStreamMultiCallable[rpc.WatchRequest, rpc.WatchResponse] = (
            channel.stream_stream(_PATH, rpc.WatchRequest.SerializeToString, rpc.WatchResponse.FromString)
        )
        stream = open_stream(metadata=line.metadata)
        try:
            with connection.closing_told():
                await stream.write(_create(prefix, after))
            async with aclosing(_answers(connection, stream)) as answers:
                async for answer in answers:
                    _check(answer, after)
                    if answer.created:
                        await _refuse_compacted(connection, prefix, after)
                    for happened in _by_revision(answer.events):
                        yield happened
                    # An answer to our own question has no watch's number, and may be ahead of its events.
                    if not (answer.events or answer.created or answer.watch_id):
                        yield answer.header.revision, []
        finally:
            stream.cancel()


async def _answers(connection: Connection, stream: _Stream) -> AsyncGenerator[rpc.WatchResponse, None]:
    """What the stream says, for as long as it lives."""
    closed = asyncio.ensure_future(connection.closed.wait())
    reading: asyncio.Future[object] | None = None
    asked = False
    try:
        while True:
            reading = reading or asyncio.ensure_future(stream.read())
            await asyncio.wait((reading, closed), timeout=_QUIET, return_when=asyncio.FIRST_COMPLETED)
            if connection.closed.is_set():
                raise StoreClosed
            if reading.done():
                answer, reading, asked = reading.result(), None, False
                if not isinstance(answer, rpc.WatchResponse):
                    return
                yield answer
            elif asked:
                raise _Ended(f"no answer in {_QUIET:g} s")
            else:
                asked = True
                with connection.closing_told():
                    await stream.write(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
    finally:
        closed.cancel()
        if reading is not None:
            reading.cancel()
            await asyncio.wait((reading,))
            reading.cancelled() or reading.exception()


def _create(prefix: bytes, after: int) -> rpc.WatchRequest:
    return rpc.WatchRequest(
        create_request=rpc.WatchCreateRequest(
            key=prefix,
            range_end=after_prefix(prefix),
            start_revision=after + 1,
            progress_notify=True,
        )
    )


def after_prefix(prefix: bytes) -> bytes:
    """The first key after all that begin with *prefix*, which is ASCII."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _check(answer: rpc.WatchResponse, after: int) -> None:
    if answer.canceled and answer.compact_revision:
        raise Compacted(after, answer.compact_revision)
    if answer.canceled:
        raise _Ended(f"etcd has ended the watch: {answer.cancel_reason or 'it gives no reason'}")


async def _refuse_compacted(connection: Connection, prefix: bytes, after: int) -> None:
    """Raise Compacted if something after *after* may be forgotten already.

    etcd lets a watch begin at the very revision up to which it has compacted, and then does not tell what
    was deleted by it: so it is asked for what was before that, which it has only if nothing is lost.
    """
    if after < 1:
        return
    try:
        await connection.call(RANGE, rpc.RangeRequest(key=prefix, revision=after, limit=1, keys_only=True))
    except Refused as error:
        if "compacted" in error.details:
            raise Compacted(after, after + 1) from error
        if "future revision" not in error.details:
            raise


def _by_revision(events: Iterable[kv.Event]) -> Iterable[Happened]:
    for revision, happened in groupby(events, key=lambda event: event.kv.mod_revision):
        yield revision, list(happened)
