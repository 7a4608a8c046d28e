"""Calls from one site to the other by ordinary programs, and whom the far side saw.

The answer tells who answered and from which address it was called. That address is the far ingress's own, and
new for each connection; the ingress wrote down for whom it opened it, by certificate. So each call is joined
with the identity of exactly that connection, as the far gateway saw it: nothing is inferred from how the call
was made.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from federation.demo.clients import CLIENTS, Spoken
from federation.demo.fleet import PYTHON, environment
from federation.demo.lookup import Resolved
from federation.demo.samples import Answer
from federation.demo.world import Ports, Site

_LOGGED_WITHIN = 3.0
_POLL = 0.02
_CURL = ("curl", "-q", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "10")


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to call: the protocol, the port that speaks it, and the program that does."""

    protocol: str
    port: int
    program: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call and how it went; `failure` is empty when all was as it should be."""

    caller: str
    callee: str
    protocol: str
    program: str
    answered_by: str = ""
    server_saw: str = ""
    ms: float = 0.0
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether the right service answered, in the right protocol, and saw the right caller."""
        return not self.failure

    def record(self) -> dict[str, str | float | bool]:
        """The call in the demo's JSON."""
        return {
            "from": self.caller,
            "to": self.callee,
            "protocol": self.protocol,
            "ok": self.ok,
            "answered_by": self.answered_by,
            "server_saw": self.server_saw,
            "ms": round(self.ms, 1),
        }


def kinds(ports: Ports) -> tuple[Kind, ...]:
    """The ways to call that this machine has programs for: curl where it is, Python's for the rest."""
    curl = shutil.which("curl") is not None
    return (
        *((Kind("HTTP/1.1", ports.http, "curl"),) if curl else ()),
        Kind("HTTP/1.1", ports.http, "http1"),
        Kind("HTTP/2", ports.http, "curl")
        if curl and _curl_speaks_http2()
        else Kind("HTTP/2", ports.http, "http2"),
        Kind("gRPC", ports.grpc, "grpc"),
        Kind("WebSocket", ports.http, "websocket"),
        Kind("TCP", ports.tcp, "tcp"),
    )


def resolve(site: Site, name: str) -> Resolved:
    """What *name* resolves to for *site*'s caller."""
    server = [] if site.resolves else ["--server", site.name_servers[0]]
    argv = [*PYTHON, "federation.demo.lookup", name, *server]
    return Resolved.parse(site.caller.run(argv, environment=environment()).stdout)


def call(kind: Kind, caller: Site, callee: Site, address: str, access_log: Path) -> Call:
    """Call *callee*'s service from *caller*, and find out whom the far side saw.

    *address* is what the name resolved to; it is used only where the caller's machine cannot resolve.
    """
    name, dialled = callee.service.dns_name, None if caller.resolves else address
    program = CLIENTS[kind.program].program if kind.program in CLIENTS else kind.program
    attempt = Call(caller.cluster, callee.cluster, kind.protocol, program)
    try:
        spoken = (_curl if kind.program == "curl" else _client)(kind, caller, name, dialled)
    except _Failed as failed:
        return _failed(attempt, str(failed))
    seen = identity_of(spoken.answer.peer, access_log)
    made = Call(
        caller.cluster,
        callee.cluster,
        kind.protocol,
        program,
        spoken.answer.answered_by,
        seen or "",
        spoken.ms,
    )
    return _judge(made, spoken.answer, caller, callee)


def identity_of(
    peer: str,
    access_log: Path,
    within: float = _LOGGED_WITHIN,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """The SPIFFE ID for which the ingress opened the connection that its server saw as *peer*."""
    deadline = clock() + within
    while True:
        found = [line["peer"] for line in _entries(access_log) if line.get("upstream_local") == peer]
        if found:
            return found[-1]  # ports come round again; the newest is ours
        if clock() > deadline:
            return None
        sleep(_POLL)


class _Failed(Exception):
    """A call that was not answered."""


def _judge(made: Call, answer: Answer, caller: Site, callee: Site) -> Call:
    """Hold *made* against what should have been."""
    if answer.answered_by != callee.answers_as:
        return _failed(made, f"answered by {answer.answered_by}, not by {callee.answers_as}")
    if answer.protocol != made.protocol:
        return _failed(made, f"the server was called in {answer.protocol}")
    if not made.server_saw:
        return _failed(made, "the far gateway's log does not say who called")
    if made.server_saw != caller.caller_id:
        return _failed(made, f"the far gateway saw {made.server_saw}, not {caller.caller_id}")
    return made


def _failed(attempt: Call, why: str) -> Call:
    return replace(attempt, failure=why)


def _curl(kind: Kind, caller: Site, name: str, dialled: str | None) -> Spoken:
    argv = [*_CURL, "--write-out", "%{time_total}"]
    argv += ["--http2-prior-knowledge"] if kind.protocol == "HTTP/2" else []
    argv += connect_to(dialled)
    body, _, seconds = _run(caller, [*argv, url(name, kind.port)]).rpartition("\n")
    return Spoken("curl", Answer.parse(body), float(seconds) * 1000)


def _client(kind: Kind, caller: Site, name: str, dialled: str | None) -> Spoken:
    argv = [*PYTHON, "federation.demo.clients", kind.program, name, str(kind.port)]
    return Spoken.parse(_run(caller, [*argv, *(["--address", dialled] if dialled else [])]))


def url(name: str, port: int) -> str:
    """What people type."""
    return f"http://{name}:{port}"


def connect_to(dialled: str | None) -> list[str]:
    """The words by which curl dials an address instead of what the name resolves to."""
    return ["--connect-to", f"::{dialled}:"] if dialled else []


def _run(caller: Site, argv: Sequence[str]) -> str:
    try:
        done = caller.caller.run(argv, check=False, environment=environment())
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"no end within {error.timeout:.0f} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise _Failed(said[-1] if said else f"ended with status {done.returncode}")
    return done.stdout


def _entries(access_log: Path) -> list[dict[str, str]]:
    """The log's lines, as far as they are whole."""
    if not access_log.exists():
        return []
    whole, _, _ = access_log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def _curl_speaks_http2() -> bool:
    said = subprocess.run(["curl", "-q", "--version"], capture_output=True, text=True, check=False).stdout
    return "HTTP2" in said
