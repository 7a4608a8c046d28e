"""One-time tokens: the line that lets a cluster join, or a gateway enrol.

A token says where to go, which root to expect there (so that the secret is shown to nobody else), for whom
it was made and until when. Written out:

    fgj1.  base64url( length, ~length | MessagePack body | check )

The length comes first and twice, so that a line whose end is missing can be told from one that was changed.
"""

import base64
import hashlib
import re
import secrets
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Final

import msgspec

from pki.errors import NotAToken, OtherTokenKind, TokenAltered, TokenCut, TokenExpired

_SECRET_BYTES: Final = 20
_PIN_BYTES: Final = 32
_CHECK_BYTES: Final = 6
_HEADER: Final = struct.Struct(">HH")
_HEADER_CHARACTERS: Final = 6
_LONGEST: Final = 4096
_PREFIX = re.compile(r"fg([a-z])(\d+)\.")


class TokenKind(Enum):
    """What a token is for; the value is how it begins."""

    JOIN = "fgj1."
    GATEWAY = "fgg1."

    @property
    def noun(self) -> str:
        """How to call it in a sentence."""
        return "join" if self is TokenKind.JOIN else "gateway"

    @property
    def command(self) -> str:
        """The command that makes one."""
        return "fedgate token create CLUSTER" if self is TokenKind.JOIN else "fedgate gateways token NAME"

    @property
    def used_by(self) -> str:
        """The command that takes one."""
        return "fedgate join" if self is TokenKind.JOIN else "fedgate gateways run --enrol"


@dataclass(frozen=True, slots=True)
class Token:
    """A token, taken apart.

    *subject* is the cluster that may join, or the gateway that may enrol in *role*. Whoever is at one of
    the *addresses* proves to be of *trust_domain* under a root whose public key hashes to one of the *pins*.
    Neither `str` nor `repr` shows the secret; `text` is the line to hand over.
    """

    kind: TokenKind
    subject: str
    trust_domain: str
    addresses: tuple[str, ...]
    pins: tuple[str, ...]
    expires: datetime
    id: str
    secret: str = field(repr=False)
    role: str = ""

    def __post_init__(self) -> None:
        if not self.addresses or not 1 <= len(self.pins) <= 2:
            raise ValueError("a token has at least one address, and one or two pins")
        if any(len(bytes.fromhex(pin)) != _PIN_BYTES for pin in self.pins):
            raise ValueError("a pin is a SHA-256 in hexadecimal")
        for address in self.addresses:
            host_and_port(address)

    @property
    def text(self) -> str:
        """The line to hand over. It is a secret."""
        body = _Body(
            self.subject,
            self.trust_domain,
            self.addresses,
            tuple(bytes.fromhex(pin) for pin in self.pins),
            int(self.expires.timestamp()),
            self.id,
            bytes.fromhex(self.secret),
            self.role,
        )
        return _wrap(self.kind.value, msgspec.msgpack.encode(body))


def new_token(
    kind: TokenKind,
    subject: str,
    trust_domain: str,
    addresses: tuple[str, ...],
    pins: tuple[str, ...],
    expires: datetime,
    role: str = "",
) -> Token:
    """Make a token with an id and a secret that nobody has had before."""
    return Token(
        kind,
        subject,
        trust_domain,
        addresses,
        pins,
        expires.replace(microsecond=0),
        id=secrets.token_hex(5),
        secret=secrets.token_hex(_SECRET_BYTES),
        role=role,
    )


def parse_token(text: str, kind: TokenKind, now: datetime) -> Token:
    """Read a token of *kind* that is good at *now*; say in its own error what is wrong with any other."""
    found, body = _unwrap("".join(text.split()))
    try:
        fields = msgspec.msgpack.decode(body, type=_Body)
        token = Token(
            found,
            fields.subject,
            fields.trust_domain,
            fields.addresses,
            tuple(pin.hex() for pin in fields.pins),
            datetime.fromtimestamp(fields.expires, UTC),
            fields.id,
            fields.secret.hex(),
            fields.role,
        )
    except (msgspec.MsgspecError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise NotAToken("its content makes no sense", f"make one with `{kind.command}`") from error
    if found is not kind:
        raise OtherTokenKind(found.noun, kind.noun, f"it is for `{found.used_by}`")
    if now >= token.expires:
        raise TokenExpired(token.id, token.expires, now, f"make a new one with `{kind.command}`")
    return token


def secret_hash(secret: str) -> str:
    """What to keep of a token's secret: it has 160 random bits, so a plain hash tells nothing about it."""
    return hashlib.sha256(b"fedgate token\0" + secret.encode()).hexdigest()


def host_and_port(address: str) -> tuple[str, int]:
    """Take `HOST:PORT` apart, `[::1]:7443` too."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {address!r}: an IPv6 address goes in brackets: [{host}]:{port}")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"address {address!r}: want HOST:PORT")
    return host, int(port)


class _Body(msgspec.Struct, array_like=True, frozen=True):
    """A token's content in order; later versions may add fields at the end."""

    subject: str
    trust_domain: str
    addresses: tuple[str, ...]
    pins: tuple[bytes, ...]
    expires: int
    id: str
    secret: bytes
    role: str = ""


def _wrap(prefix: str, body: bytes) -> str:
    length = _HEADER.size + len(body) + _CHECK_BYTES
    content = _HEADER.pack(length, length ^ 0xFFFF) + body
    return prefix + _to_base64(content + _check(prefix, content))


def _unwrap(text: str) -> tuple[TokenKind, bytes]:
    """Check the outside of a token, whatever its kind, and give its body."""
    kind, payload = _split_prefix(text)
    if len(payload) < _HEADER_CHARACTERS:
        raise TokenCut(len(text), None)
    length, inverse = _HEADER.unpack(_from_base64(payload[:_HEADER_CHARACTERS])[: _HEADER.size])
    if length != inverse ^ 0xFFFF:
        raise TokenAltered
    whole = len(kind.value) + (length * 4 + 2) // 3
    if len(text) < whole:
        raise TokenCut(len(text), whole)
    raw = _from_base64(payload)
    content, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    respelled = _to_base64(raw) != payload
    if respelled or check != _check(kind.value, content):
        raise TokenAltered
    return kind, content[_HEADER.size :]


def _split_prefix(text: str) -> tuple[TokenKind, str]:
    beginnings = [kind.value for kind in TokenKind]
    hint = f"a token is one line that begins with {' or '.join(beginnings)}"
    if not text:
        raise NotAToken("it is empty", hint)
    if len(text) > _LONGEST:
        raise NotAToken(f"it is longer than {_LONGEST} characters", hint)
    for kind in TokenKind:
        if text.startswith(kind.value):
            return kind, text.removeprefix(kind.value)
    if any(beginning.startswith(text) for beginning in beginnings):
        raise TokenCut(len(text), None)
    if _PREFIX.match(text):
        raise NotAToken("its format is unknown to this version", "use the version of fedgate that made it")
    raise NotAToken(f"it does not begin with {' or '.join(beginnings)}", hint)


def _check(prefix: str, content: bytes) -> bytes:
    return hashlib.sha256(prefix.encode() + content).digest()[:_CHECK_BYTES]


def _to_base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise TokenAltered from error
