"""The admin API from the caller's side: one request, one answer, over a unix socket or TLS.

Synchronous and on the standard library alone, because a command asks once and must start at once.
Each call has one deadline, which an answer that drips cannot stretch.
"""

import http.client
import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from clusters.errors import InvalidValue
from clusters.unix_http import UnixConnection
from federation.errors import AdminRefused, AdminTimedOut, AdminUnreachable, NotAdmitted
from federation.paths import admin_socket
from federation.settings import HUB_PORT
from federation.table import Json, Record

# A name that only the hub's own certificates carry: an issuing CA may sign no DNS name at all.
_HUB_TLS_NAME = "hub.fedgate.internal"
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an admin API is: a unix socket, or a host and port with TLS.

    `who` is `hub` or `agent`, for errors. With `ca_file` exactly the federation's own root is
    trusted, and the hub may then be dialled by any address; without it the system's roots are.
    """

    who: str
    path: Path | None = None
    host: str = ""
    port: int = 0
    token_file: Path | None = None
    ca_file: Path | None = None

    def __str__(self) -> str:
        return str(self.path) if self.path else f"https://{self.host}:{self.port}"


def endpoint(who: str, where: str, token_file: Path | None = None, ca_file: Path | None = None) -> Endpoint:
    """Read where an admin API is: `https://HOST:PORT`, a socket, or the folder of its state."""
    if where.startswith("https://"):
        url = urlsplit(where)
        if not url.hostname or url.path.strip("/") or url.query or url.username:
            raise InvalidValue("address", where, "want https://HOST:PORT and nothing more")
        if token_file is None:
            raise InvalidValue("address", where, "https needs --admin-token-file")
        return Endpoint(who, None, url.hostname, url.port or HUB_PORT, token_file, ca_file)
    if "://" in where and not where.startswith("unix://"):
        raise InvalidValue("address", where, "want https://HOST:PORT, a socket, or a state folder")
    path = Path(where.removeprefix("unix://")).expanduser()
    return Endpoint(who, path if path.suffix == ".sock" or path.is_socket() else admin_socket(path))


class Admin:
    """The admin API of one hub or agent."""

    def __init__(self, where: Endpoint, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.where = where
        self._timeout = timeout
        self._clock = clock

    def get(self, path: str, **query: str | None) -> Record:
        """Ask for *path*; a None in *query* is left out."""
        asked = urlencode({key: value for key, value in query.items() if value is not None})
        return self._call("GET", f"{path}?{asked}" if asked else path)

    def post(self, path: str, body: Record) -> Record:
        """Have something done."""
        return self._call("POST", path, body)

    def delete(self, path: str, name: str) -> Record:
        """Take *name* away from the collection *path*."""
        return self._call("DELETE", f"{path}/{quote(name, safe='')}")

    def _call(self, method: str, target: str, body: Record | None = None) -> Record:
        deadline = self._clock() + self._timeout
        headers = {"Accept": "application/json", "Connection": "close", **self._authorization()}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = _connection(self.where, self._timeout)
        try:
            connection.connect()
            # Kept, because http.client forgets the socket of an answer that ends with the connection.
            wire = connection.sock
            connection.request(method, target, content, headers)
            with connection.getresponse() as response:
                answer = self._read(wire, response, deadline)
        except TimeoutError as error:
            raise AdminTimedOut(self.where.who, str(self.where), self._timeout) from error
        except PermissionError as error:
            raise NotAdmitted(self.where.who, str(self.where)) from error
        except (OSError, http.client.HTTPException) as error:
            raise AdminUnreachable(self.where.who, str(self.where), _reason(error)) from error
        finally:
            connection.close()
        return _judge(self.where, response.status, answer)

    def _read(self, wire: socket.socket, response: http.client.HTTPResponse, deadline: float) -> bytes:
        """Read the whole answer, and let no single read outlive the deadline of all."""
        parts: list[bytes] = []
        while part := response.read1(_CHUNK):
            parts.append(part)
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError
            wire.settimeout(left)
        return b"".join(parts)

    def _authorization(self) -> dict[str, str]:
        if self.where.token_file is None:
            return {}
        return {"Authorization": f"Bearer {_secret(self.where.token_file)}"}


def _connection(where: Endpoint, timeout: float) -> http.client.HTTPConnection:
    if where.path is not None:
        return UnixConnection(where.path, timeout)
    context = ssl.create_default_context(cafile=str(where.ca_file) if where.ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return _TlsConnection(where, timeout, context)


class _TlsConnection(http.client.HTTPConnection):
    """HTTP over TLS, checked against the hub's own name when its own root is given."""

    def __init__(self, where: Endpoint, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(where.host, where.port, timeout=timeout)
        self._context = context
        self._name = _HUB_TLS_NAME if where.ca_file else where.host

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


def _secret(path: Path) -> str:
    """Read a bearer token from a file that only its owner can read."""
    with path.open(encoding="utf-8") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise InvalidValue("admin token file", str(path), f"others can read it: chmod 600 {path}")
        token = file.read(4096).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise InvalidValue("admin token file", str(path), "holds no token")
    return token


def _reason(error: Exception) -> str:
    """Say why in words, for the cases that a person meets."""
    if isinstance(error, FileNotFoundError):
        return "no such socket"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _judge(where: Endpoint, status: int, answer: bytes) -> Record:
    """Make the answer a record, or the error that it tells of."""
    try:
        decoded: Json = json.loads(answer) if answer else {}
    except ValueError:
        decoded = None
    if 200 <= status < 300 and isinstance(decoded, dict):
        return decoded
    told = decoded.get("error") if isinstance(decoded, dict) else None
    if isinstance(told, dict):
        code, message, hint = (str(told.get(key) or "") for key in ("code", "message", "hint"))
        raise AdminRefused(where.who, status, code, message, hint)
    raise AdminRefused(
        where.who, status, "bad-answer", f"answered {status} with something that is no JSON object"
    )
