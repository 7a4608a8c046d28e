"""What the clusters of the system tests run beside the demo's samples: one process, several ports.

    python servers.py ADDRESS...

- `HTTP`: sends a request's body back as it comes, in chunks (HTTP/1.1) or frames (HTTP/2),
- `LATE`: hears its caller out, waits, and only then repeats what it heard,
- `ECHO`: sends every byte back at once,
- `WHO`: answers each line with the address of the peer that it sees,
- `FIRST`: says all that it has to say (`ALL_OF_IT`), and closes,
- `TOLD`: answers an HTTP request with the address of the peer that it sees, and whom it is told that it is
  from: a JSON list of the peer and every value of `x-forwarded-client-cert`.

It prints `ready` once it listens on all of them.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

HTTP, LATE, ECHO, WHO, FIRST, TOLD = 8081, 7071, 7072, 7073, 7074, 8082
LATE_BY = 0.3
ALL_OF_IT = bytes(range(256)) * 800

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def http(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """An ASGI application that repeats bodies."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False})
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return
        more = event["more_body"]
        await send({"type": "http.response.body", "body": event["body"], "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    heard = await reader.read(-1)
    await asyncio.sleep(LATE_BY)
    writer.write(heard)
    await writer.drain()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(1 << 16):
        writer.write(part)
        await writer.drain()


async def who(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, port = writer.get_extra_info("peername")[:2]
    peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async for _ in reader:
        writer.write(f"{peer}\n".encode())
        await writer.drain()


async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, port = writer.get_extra_info("peername")[:2]
    peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with suppress(asyncio.IncompleteReadError):
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = [line.partition(": ") for line in lines]
            callers = [value for name, _, value in fields if name.lower() == "x-forwarded-client-cert"]
            body = json.dumps([peer, *callers]).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()


async def first(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ALL_OF_IT)
    await writer.drain()


def guarded(talk: Talk) -> Talk:
    """*talk*, for which a caller that goes away is no error."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    return run


async def main(addresses: list[str]) -> None:
    for port, talk in ((LATE, late), (ECHO, echo), (WHO, who), (FIRST, first), (TOLD, told)):
        await asyncio.start_server(guarded(talk), addresses, port, backlog=1024)
    config = Config()
    config.bind = [f"[{address}]:{HTTP}" if ":" in address else f"{address}:{HTTP}" for address in addresses]
    config.loglevel = "WARNING"
    print("ready", flush=True)
    await serve(http, config)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
