"""Lines that pretend to be a token, also such as somebody sealed anew who knows the format."""

import base64
import hashlib
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import TokenError
from pki.tokens import Token, TokenKind, new_token, parse_token
from tests.hostile.strategies import Value, as_text, confused, damaged, hostile, noise

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
TOKENS: Final = tuple(
    new_token(kind, "west", "fed.example", addresses, pins, NOW + timedelta(minutes=15), role)
    for kind, addresses, pins, role in (
        (TokenKind.JOIN, ("192.0.2.1:7443", "[2001:db8::1]:7443"), ("ab" * 32,), ""),
        (TokenKind.GATEWAY, ("hub.example:7443",), ("ab" * 32, "cd" * 32), "egress"),
    )
)
LINES: Final = tuple(token.text.encode() for token in TOKENS)
PIN: Final = b"\xab" * 32
BODIES: Final[tuple[Value, ...]] = (
    ["west", "fed.example", ["192.0.2.1:7443"], [PIN], int(NOW.timestamp()) + 900, "0123", b"\1" * 20, ""],
    ["gw-1", "west.fed.example", ["[::1]:1", "h:2"], [PIN, PIN], 1 << 40, "0123", b"", "both"],
)


def sealed(kind: TokenKind, body: bytes) -> str:
    """A line whose outside is all right, whatever is in it."""
    length = 4 + len(body) + 6 & 0xFFFF
    content = struct.pack(">HH", length, length ^ 0xFFFF) + body
    check = hashlib.sha256(kind.value.encode() + content).digest()[:6]
    return kind.value + base64.urlsafe_b64encode(content + check).rstrip(b"=").decode()


def read(line: str, kind: TokenKind) -> Token | None:
    """The token, if it is one; any other error than a token's is a failure."""
    with suppress(TokenError):
        return parse_token(line, kind, NOW)
    return None


@hostile(300)
@given(as_text(st.one_of(damaged(LINES), noise(), noise().map(lambda rest: b"fgj1." + rest))))
def test_a_damaged_line_is_a_token_only_if_it_is_one_of_ours(line: str) -> None:
    for kind in TokenKind:
        found = read(line, kind)
        assert found is None or found in TOKENS


@hostile(300)
@given(
    st.sampled_from(TokenKind),
    st.one_of(
        confused(BODIES).map(msgspec.msgpack.encode),
        damaged([msgspec.msgpack.encode(body) for body in BODIES]),
        noise(),
        st.integers(1, 2900).map(lambda depth: b"\x91" * depth),
        st.integers(1, 2900).map(lambda depth: b"\x99" + b"\xa0" * 2 + b"\x91" * depth),
    ),
)
def test_what_a_well_sealed_token_says_is_not_believed_unread(kind: TokenKind, body: bytes) -> None:
    found = read(sealed(kind, body), kind)
    assert found is None or (found.kind is kind and found.expires > NOW and found.addresses)
