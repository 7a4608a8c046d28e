"""A hub or agent that says what it is told to, over a real unix socket."""

import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from federation.table import Json

Answer: TypeAlias = "Json | tuple[int, Json] | bytes"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    body: Json = None
    authorization: str | None = None


@dataclass
class FakeAdmin:
    """Serves `answers`, keyed by `GET /v1/clusters`; the query is no part of the key."""

    path: Path
    answers: "dict[str, Answer]" = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> "FakeAdmin":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._server = socketserver.ThreadingUnixStreamServer(str(self.path), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.path.unlink()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.asked.append(
                    Asked(
                        self.command,
                        self.path,
                        json.loads(body) if body else None,
                        self.headers.get("Authorization"),
                    )
                )
                unknown: tuple[int, Json] = (
                    404,
                    {"error": {"code": "no-route", "message": "no such route"}},
                )
                answer = fake.answers.get(f"{self.command} {self.path.partition('?')[0]}", unknown)
                status, content = answer if isinstance(answer, tuple) else (200, answer)
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base)
                """Be quiet."""

        return Handler
