"""An HTTPS connection to a server of whom only the root's pin is known, for a secret that must not stray.

First the roots are fetched from whoever answers, and those that no pin vouches for are dropped. Then a new
connection is opened and verified against what is left, with the server's SPIFFE ID. Only then is there
something to `post` on.
"""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography import x509

from clusters.admission import ROOT_PATH, Refused
from clusters.decoding import UNDECODABLE
from clusters.errors import JoinRefused
from clusters.skew import refuse_skew
from pki.authority import from_pem, to_pem
from pki.bundle import spiffe_id_of, spki_sha256
from pki.errors import CertificateRefused
from pki.spiffe import SpiffeId
from pki.tokens import host_and_port

A = TypeVar("A", bound=msgspec.Struct)

_UNREACHABLE: Final = "unreachable"
_WRONG: Final = "wrong-server"
_LARGEST_ANSWER: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """Whom we mean to talk to.

    *noun* is what to call it in an error. *hostname* is the DNS name that its certificate has; an agent's
    has none, and is known by its SPIFFE ID alone.
    """

    noun: str
    spiffe_id: SpiffeId
    addresses: tuple[str, ...]
    hostname: str | None = None


class Connection:
    """A verified connection to *address*, good for one request; `roots` are what verified it."""

    def __init__(
        self,
        server: Server,
        address: str,
        http_connection: http.client.HTTPConnection,
        roots: tuple[x509.Certificate, ...],
    ) -> None:
        self.address = address
        self.roots = roots
        self._noun = f"the {server.noun} at {address}"
        self._http = http_connection

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def post(self, path: str, request: msgspec.Struct, answer: type[A]) -> A:
        """Send *request*, which may spend a token: when the answer is lost, nobody may try again blindly."""
        try:
            reply = _exchange(self._http, "POST", path, msgspec.json.encode(request))
        except (OSError, http.client.HTTPException) as error:
            raise JoinRefused(
                "answer-lost",
                f"{self._noun} was asked, but its answer was lost: {_plain(error)}",
                "the token may be spent: make a new one, and if the name is taken by now, use --rejoin",
            ) from error
        try:
            if reply.ok:
                return msgspec.json.decode(reply.body, type=answer)
            refused = msgspec.json.decode(reply.body, type=Refused).error
        except UNDECODABLE as error:
            raise JoinRefused(
                "answer-unclear",
                f"{self._noun} answered {reply.status}, and this version does not understand it: {error}",
                "is the same version of fedgate running at both ends?",
            ) from error
        raise JoinRefused(refused.code, refused.message, refused.hint)


def open_pinned(
    server: Server, pins: tuple[str, ...], timeout: float, clock: Callable[[], datetime]
) -> Connection:
    """Connect to the first address where a server of a pinned root answers, and verify it by that root.

    The clocks are compared before anything is verified: if they disagree, good certificates look bad.
    """

    def attempt(address: str) -> Connection:
        roots, its_clock = _fetch_roots(server, address, pins, timeout)
        if its_clock is not None:
            refuse_skew((clock() - its_clock).total_seconds(), server.noun)
        verified = _dial_verified(server, address, _verifying(server, roots), timeout)
        return Connection(server, address, verified, roots)

    return _first(server, attempt)


def open_known(
    server: Server, roots: tuple[x509.Certificate, ...], chain_and_key: tuple[Path, Path], timeout: float
) -> Connection:
    """Connect to a *server* whose roots we hold, showing a certificate of our own."""
    context = _verifying(server, roots)
    context.load_cert_chain(*chain_and_key)

    def attempt(address: str) -> Connection:
        return Connection(server, address, _dial_verified(server, address, context, timeout), roots)

    return _first(server, attempt)


def _first(server: Server, attempt: Callable[[str], Connection]) -> Connection:
    """Try each address in turn. If none will do, the error names what happened at each of them."""
    failures: list[JoinRefused] = []
    for address in server.addresses:
        try:
            return attempt(address)
        except JoinRefused as failure:
            failures.append(failure)
    # A wrong server matters more than one that is away: somebody may be listening in its place.
    worst = next((failure for failure in failures if failure.code == _WRONG), failures[0])
    raise JoinRefused(worst.code, "; ".join(failure.reason for failure in failures), worst.hint)


def _fetch_roots(
    server: Server, address: str, pins: tuple[str, ...], timeout: float
) -> tuple[tuple[x509.Certificate, ...], datetime | None]:
    """Ask anyone at *address* for roots, keep those that are pinned, and note what the clock is there."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    with contextlib.closing(_http_over(_dial(server, address, anyone, timeout), address)) as connection:
        try:
            reply = _exchange(connection, "GET", ROOT_PATH)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(server, address, _plain(error)) from error
    try:
        offered = from_pem(reply.body) if reply.ok else ()
        roots = tuple(root for root in offered if spki_sha256(root) in pins)
    except CertificateRefused:
        offered = roots = ()
    if not roots:
        what = "another root than the token pins" if offered else "no root to show"
        raise _wrong(server, address, f"it has {what}")
    return roots, reply.date


def _verifying(server: Server, roots: tuple[x509.Certificate, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = server.hostname is not None
    context.load_verify_locations(cadata=to_pem(roots))
    return context


def _dial_verified(
    server: Server, address: str, context: ssl.SSLContext, timeout: float
) -> http.client.HTTPConnection:
    """Open a connection of which all is verified: the chain, the host name, the SPIFFE ID."""
    secured = _dial(server, address, context, timeout)
    try:
        shown = spiffe_id_of(x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b""))
        if shown != server.spiffe_id:
            raise _wrong(server, address, f"it is {shown}, not {server.spiffe_id}")
    except CertificateRefused as error:
        secured.close()
        raise _wrong(server, address, str(error)) from error
    except JoinRefused:
        secured.close()
        raise
    return _http_over(secured, address)


def _dial(server: Server, address: str, context: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    """Open a TLS connection to *address*, whatever name the certificate there is to have."""
    try:
        plain = socket.create_connection(host_and_port(address), timeout)
    except OSError as error:
        raise _unreachable(server, address, _plain(error)) from error
    try:
        return context.wrap_socket(plain, server_hostname=server.hostname)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise _wrong(server, address, f"its certificate does not verify: {error.verify_message}") from error
    except OSError as error:
        plain.close()
        raise _unreachable(server, address, _plain(error)) from error


def _http_over(secured: ssl.SSLSocket, address: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(*host_and_port(address))
    connection.sock = secured
    return connection


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    date: datetime | None

    @property
    def ok(self) -> bool:
        return self.status == http.HTTPStatus.OK


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> _Reply:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, body, headers)
    with connection.getresponse() as response:
        content = response.read(_LARGEST_ANSWER + 1)
    if len(content) > _LARGEST_ANSWER:
        raise http.client.HTTPException(f"more than {_LARGEST_ANSWER} bytes")
    try:
        date = parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        date = None
    return _Reply(response.status, content, date)


def _unreachable(server: Server, address: str, reason: str) -> JoinRefused:
    return JoinRefused(
        _UNREACHABLE,
        f"no {server.noun} answers at {address}: {reason}",
        f"is the {server.noun} running, and does a firewall let this machine through to it?",
    )


def _wrong(server: Server, address: str, reason: str) -> JoinRefused:
    return JoinRefused(
        _WRONG,
        f"{address} is not the {server.noun} that made the token: {reason}",
        f"the secret was not sent; check the address, the clock, and that the token is this {server.noun}'s",
    )


def _plain(error: Exception) -> str:
    """The reason alone, without numbers and class names where there are words."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as we do"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
