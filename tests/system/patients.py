"""An endpoint of the system tests that is well or not, as a file says: one process, three ports.

    python patients.py NAME ADDRESS FILE

- `WHO`: answers each line with NAME,
- `HTTP`: answers a GET of `/healthz` with the status that FILE says, 200 if there is no such file,
- `GRPC`: `grpc.health.v1.Health` says SERVING for the status 200, and NOT_SERVING for all others.

One whose FILE says 0 hangs: it takes connections, and says nothing on any of them.

It prints `ready` once it listens on all of them.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

import grpc
import grpc.aio

WHO, HTTP, GRPC = 7180, 7181, 7182


async def who(name: str, file: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async for _ in reader:
            await hang_if(status(file) == 0)
            writer.write(f"{name}\n".encode())
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def http(file: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        await hang_if(status(file) == 0)
        code = status(file) if head.startswith(b"GET /healthz ") else 404
        writer.write(f"HTTP/1.1 {code} Well\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def hang_if(hanging: bool) -> None:
    if hanging:
        await asyncio.Event().wait()


def status(file: Path) -> int:
    return int(file.read_text()) if file.exists() else 200


async def main(name: str, address: str, file: Path) -> None:
    async def check(_: bytes, __: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return b"\x08\x01" if status(file) == 200 else b"\x08\x02"

    health: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Check": grpc.unary_unary_rpc_method_handler(check)
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),))
    server.add_insecure_port(f"[{address}]:{GRPC}" if ":" in address else f"{address}:{GRPC}")
    await server.start()
    await asyncio.start_server(partial(who, name, file), address, WHO)
    await asyncio.start_server(partial(http, file), address, HTTP)
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
