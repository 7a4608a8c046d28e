"""What a running Envoy says of itself, by its admin interface on a Unix socket."""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import aiohttp

from clusters.unix_http import UnixConnection
from gateway.errors import EnvoyFailed

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_PATIENCE: Final = 1.0  # seconds, of a thread that waits


class Admin:
    """The admin interface at *socket*; use it as an async context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Admin":
        connector = aiohttp.UnixConnector(path=str(self._socket), force_close=True)
        self._session = aiohttp.ClientSession("http://envoy", connector=connector, timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> str:
        """Ask for *path*."""
        return await self._request("GET", path)

    async def post(self, path: str) -> str:
        """Have *path* done."""
        return await self._request("POST", path)

    async def stats(self, pattern: str) -> Mapping[str, int]:
        """The counters and gauges whose names the regular expression *pattern* finds."""
        answer = json.loads(await self._request("GET", "/stats", filter=pattern, format="json"))
        return {s["name"]: s["value"] for s in answer["stats"] if isinstance(s.get("value"), int)}

    async def is_live(self) -> bool:
        """Whether Envoy has all that it waits for at its start, and is not draining."""
        try:
            return (await self.get("/ready")).strip() == "LIVE"
        except EnvoyFailed:
            return False

    async def _request(self, method: str, path: str, **query: str) -> str:
        if self._session is None:
            raise EnvoyFailed("admin interface used before it was opened")
        try:
            async with self._session.request(method, path, params=query) as response:
                text = await response.text()
                if response.status >= 400:
                    raise EnvoyFailed(f"{method} {path} answered {response.status}", text[:500])
                return text
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EnvoyFailed(f"no answer from Envoy at {self._socket}", str(error)) from error


def ask(admin: Path, method: str, path: str) -> bytes:
    """Ask the Envoy whose interface is the socket *admin* once, and wait for it: for threads."""
    connection = UnixConnection(admin, _PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise EnvoyFailed(f"no answer from Envoy at {admin}", str(error)) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise EnvoyFailed(f"Envoy at {admin} answered {answer.status}")
    return content
