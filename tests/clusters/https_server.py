"""A hub or an agent as far as a newcomer sees it: HTTPS on loopback, answers given by the test."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.authorities import Credential

Json = Mapping[str, object]
Answer = Callable[[Json], tuple[int, Json | str] | None]
"""From a request's body to status and body; None hangs up without a word."""


def not_found(_: Json) -> tuple[int, Json | str]:
    """What is said of a path that the test says nothing of."""
    return 404, {}


@dataclass
class Server:
    """What a test may look at and change while the server runs."""

    address: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    date: str | None = None
    asked: list[tuple[str, Json]] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)


@contextmanager
def serve(credential: Credential, directory: Path, *, client_roots: str = "") -> Iterator[Server]:
    """Serve with *credential*, its files in *directory*; callers may show certificates of *client_roots*."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return state.date or super().date_time_string(timestamp)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: Json) -> None:
            state.asked.append((self.path, body))
            assert isinstance(self.connection, ssl.SSLSocket)
            shown = self.connection.getpeercert() or {}
            state.callers.append(str(shown.get("subjectAltName", "")))
            answer = state.answers.get(self.path, not_found)(body)
            if answer is None:
                return
            status, content = answer
            sent = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = _context(credential, directory, client_roots).wrap_socket(
            server.socket, server_side=True
        )
        state.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def _context(credential: Credential, directory: Path, client_roots: str) -> ssl.SSLContext:
    chain, key = directory / "server.pem", directory / "server.key"
    chain.write_text(credential.chain_pem)
    key.write_text(credential.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    if client_roots:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=client_roots)
    return context
