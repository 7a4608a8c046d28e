"""Tokens: what was made is what is read, and each way of breaking one is told apart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import NotAToken, OtherTokenKind, TokenAltered, TokenCut, TokenError, TokenExpired
from pki.tokens import Token, TokenKind, host_and_port, new_token, parse_token, secret_hash

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PIN = "ab" * 32
TOKEN = Token(
    TokenKind.JOIN,
    "west",
    "fed.example",
    ("192.0.2.1:7443", "[2001:db8::1]:7443", "hub.example:7443"),
    (PIN,),
    NOW + timedelta(minutes=15),
    "0123456789",
    "cd" * 20,
)
LINE = TOKEN.text
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def parse(text: str, kind: TokenKind = TokenKind.JOIN, now: datetime = NOW) -> Token:
    return parse_token(text, kind, now)


tokens = st.builds(
    Token,
    kind=st.sampled_from(TokenKind),
    subject=st.text(min_size=1, max_size=63),
    trust_domain=st.text(max_size=100),
    addresses=st.lists(st.sampled_from(TOKEN.addresses), min_size=1, max_size=4).map(tuple),
    pins=st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=2).map(tuple),
    expires=st.datetimes(datetime(2026, 7, 1), datetime(2100, 1, 1)).map(
        lambda d: d.replace(microsecond=0, tzinfo=UTC)
    ),
    id=st.text(max_size=20),
    secret=st.binary(min_size=20, max_size=20).map(bytes.hex),
    role=st.sampled_from(["", "ingress", "egress", "both"]),
)


@given(tokens)
def test_parse_undoes_format(token: Token) -> None:
    assert parse(token.text, token.kind) == token


@given(st.integers(1, len(LINE) - 1))
def test_a_token_without_its_end_was_cut(length: int) -> None:
    with pytest.raises(TokenCut):
        parse(LINE[:length])


def test_a_cut_token_says_how_much_of_it_is_there() -> None:
    with pytest.raises(TokenCut, match=rf"has 100 characters of {len(LINE)}"):
        parse(LINE[:100])


@given(st.integers(len("fgj1."), len(LINE) - 1), st.sampled_from("AQgw059-_.+/=é"))
def test_one_changed_character_is_an_alteration(place: int, other: str) -> None:
    changed = LINE[:place] + other + LINE[place + 1 :]
    if changed == LINE:
        return
    with pytest.raises(TokenAltered):
        parse(changed)


@given(st.integers(len("fgj1."), len(LINE)), st.text("abcXYZ019", min_size=1, max_size=8))
def test_added_characters_are_an_alteration(place: int, added: str) -> None:
    with pytest.raises((TokenAltered, TokenCut)):
        parse(LINE[:place] + added + LINE[place:])


@pytest.mark.parametrize("subject", ["w", "we", "wes"])
def test_another_spelling_of_the_same_bits_is_an_alteration(subject: str) -> None:
    line = replace(TOKEN, subject=subject).text
    for place in range(len("fgj1.") + 6, len(line)):
        for other in ALPHABET + "+/":
            if other != line[place]:
                with pytest.raises(TokenAltered):
                    parse(line[:place] + other + line[place + 1 :])


def test_a_changed_kind_is_an_alteration() -> None:
    with pytest.raises(TokenAltered):
        parse(LINE.replace("fgj1.", "fgg1.", 1), TokenKind.GATEWAY)


@pytest.mark.parametrize("text", ["", "   \n", "hello", "fgj1", "x" * 5000, "fgj9.AAAA", "é", "-----BEGIN"])
def test_something_else_is_no_token(text: str) -> None:
    with pytest.raises((NotAToken, TokenCut)) as caught:
        parse(text)
    assert caught.value.hint


@given(st.text(max_size=300))
def test_any_text_gets_a_clear_answer(text: str) -> None:
    with pytest.raises(TokenError):
        parse(text)


@given(st.text(max_size=300))
def test_any_text_that_begins_well_gets_a_clear_answer(text: str) -> None:
    with pytest.raises(TokenError):
        parse("fgj1." + text)


def test_a_token_from_a_later_version_is_named_as_such() -> None:
    with pytest.raises(NotAToken, match="unknown to this version"):
        parse("fgj2.abcdef")


def test_line_breaks_that_a_terminal_put_in_do_no_harm() -> None:
    assert parse(f"  {LINE[:80]}\r\n  {LINE[80:]}\n") == TOKEN


def test_a_gateway_token_does_not_let_a_cluster_join() -> None:
    gateway = new_token(
        TokenKind.GATEWAY, "gw-1", "west.fed.example", ("h:1",), (PIN,), TOKEN.expires, "egress"
    )
    with pytest.raises(OtherTokenKind, match="this is a gateway token, and a join token is needed") as caught:
        parse(gateway.text)
    assert "fedgate gateways run" in caught.value.hint


def test_a_token_is_good_until_it_expires_and_not_at_that_moment() -> None:
    assert parse(LINE, now=TOKEN.expires - timedelta(seconds=1)) == TOKEN
    with pytest.raises(TokenExpired, match="12:15:00 UTC; this machine's clock says 2026-06-01 12:15:00 UTC"):
        parse(LINE, now=TOKEN.expires)


def test_no_way_of_showing_a_token_shows_its_secret() -> None:
    for shown in (repr(TOKEN), str(TOKEN), f"{TOKEN}"):
        assert TOKEN.secret not in shown
        assert LINE[20:60] not in shown


def test_no_error_shows_the_token() -> None:
    for broken in (LINE[:-5], LINE[:50] + "A" + LINE[51:], "x" + LINE):
        with pytest.raises(TokenError) as caught:
            parse(broken)
        assert LINE[60:70] not in f"{caught.value} {caught.value.hint}"


def test_no_two_tokens_share_an_id_or_a_secret() -> None:
    made = [new_token(TokenKind.JOIN, "w", "d", ("h:1",), (PIN,), NOW) for _ in range(100)]
    assert len({t.id for t in made}) == len({t.secret for t in made}) == 100
    assert all(len(bytes.fromhex(t.secret)) == 20 for t in made)


def test_the_hash_of_a_secret_tells_it_apart_and_does_not_show_it() -> None:
    assert secret_hash(TOKEN.secret) == secret_hash(TOKEN.secret) != secret_hash("ce" * 20)
    assert TOKEN.secret not in secret_hash(TOKEN.secret)


@pytest.mark.parametrize(
    ("address", "parts"),
    [("h:1", ("h", 1)), ("192.0.2.1:65535", ("192.0.2.1", 65535)), ("[::1]:7443", ("::1", 7443))],
)
def test_an_address_is_taken_apart(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address) == parts


@pytest.mark.parametrize(
    "address", ["", "h", ":1", "h:", "h:0", "h:65536", "h:x", "::1:7443", "[::1]", "h:¹"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        host_and_port(address)


def test_a_token_without_address_or_with_a_wrong_pin_cannot_be_made() -> None:
    for addresses, pins in [((), (PIN,)), (("h:1",), ()), (("h:1",), (PIN,) * 3), (("h:1",), ("ab",))]:
        with pytest.raises(ValueError, match=r"token|pin"):
            new_token(TokenKind.JOIN, "w", "d", addresses, pins, NOW)
