"""The wire: what a packet must look like to be answered, and what an answer looks like then."""

import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.dns.message import (
    Answer,
    Query,
    Rcode,
    RecordType,
    Unanswerable,
    labels,
    parse_query,
    record,
    render,
    render_refusal,
    reverse_name,
    shorten,
    wire_name,
)

NAME = "catalog.shop.svc.clusterset.local"


def packet(
    name: str = NAME, kind: str = "A", use_edns: int = -1, payload: int = 1232, dnssec: bool = False
) -> bytes:
    return dns.message.make_query(
        name, kind, use_edns=use_edns, payload=payload, want_dnssec=dnssec
    ).to_wire()


def refusal(broken: bytes) -> Rcode | None:
    with pytest.raises(Unanswerable) as refused:
        parse_query(broken)
    return refused.value.rcode


def rendered(query: Query, answer: Answer, limit: int = 512) -> dns.message.Message:
    return dns.message.from_wire(render(query, answer, limit, authoritative=True, recursion=False))


def test_the_key_has_the_name_in_lower_case_and_the_type_as_it_is() -> None:
    """Type 65, HTTPS, is the letter A."""
    query = parse_query(packet("CATALOG.Shop.svc.clusterset.local", "HTTPS"))
    assert query.key == wire_name(NAME) + b"\0\x41\0\1"
    assert query.question.startswith(b"\7CATALOG\4Shop")


def test_a_client_without_edns_takes_512_bytes() -> None:
    query = parse_query(packet())
    assert (query.limit, query.edns) == (512, b"")


@pytest.mark.parametrize(("offered", "limit"), [(100, 512), (1000, 1000), (4096, 1232)])
def test_a_client_with_edns_takes_what_it_says_within_reason(offered: int, limit: int) -> None:
    assert parse_query(packet(use_edns=0, payload=offered)).limit == limit


def test_edns_is_answered_with_edns_and_dnssec_is_acknowledged() -> None:
    response = rendered(parse_query(packet(use_edns=0, dnssec=True)), Answer.of())
    assert response.edns == 0
    assert response.payload == 1232
    assert response.ednsflags & dns.flags.DO


def test_no_edns_is_answered_without() -> None:
    assert rendered(parse_query(packet()), Answer.of()).edns == -1


def test_an_unknown_version_of_edns_is_told_ours() -> None:
    asked = packet(use_edns=1)
    assert refusal(asked) is Rcode.BADVERS
    response = dns.message.from_wire(render_refusal(asked, Rcode.BADVERS, parse_query(packet()).question))
    assert (response.rcode(), response.edns) == (dns.rcode.BADVERS, 0)


def test_options_of_edns_are_passed_over() -> None:
    cookie = b"\0\0\x29\4\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh"
    asked = packet()[:11] + b"\1" + packet()[12:] + cookie
    assert parse_query(asked).limit == 1232


@pytest.mark.parametrize("kept", range(1, 11))
def test_a_cut_edns_record_is_malformed(kept: int) -> None:
    asked = packet(use_edns=0)
    cut = asked[: len(asked) - 11 + kept]
    assert kept < 3 or refusal(cut) is Rcode.FORMERR


def test_a_response_is_never_answered() -> None:
    asked = bytearray(packet())
    asked[2] |= 0x80
    assert refusal(bytes(asked)) is None


@pytest.mark.parametrize("size", range(12))
def test_less_than_a_header_is_never_answered(size: int) -> None:
    assert refusal(packet()[:size]) is None


def test_another_operation_is_not_implemented_and_named_in_the_reply() -> None:
    notify = bytearray(packet())
    notify[2] |= 4 << 3
    assert refusal(bytes(notify)) is Rcode.NOTIMP
    response = dns.message.from_wire(render_refusal(bytes(notify), Rcode.NOTIMP, b""))
    assert (response.rcode(), response.opcode()) == (dns.rcode.NOTIMP, 4)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 2)])
def test_a_packet_with_other_than_one_question_is_malformed(counts: tuple[int, int, int, int]) -> None:
    assert refusal(packet()[:4] + struct.pack("!4H", *counts) + packet()[12:]) is Rcode.FORMERR


@pytest.mark.parametrize("kept", range(12, len(packet())))
def test_a_cut_question_is_malformed(kept: int) -> None:
    assert refusal(packet()[:kept]) is Rcode.FORMERR


def test_an_answer_repeats_id_question_and_the_wish_for_recursion() -> None:
    asked = dns.message.make_query(NAME, "A")
    response = rendered(parse_query(asked.to_wire()), Answer.of())
    assert asked.is_response(response)
    assert response.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD


def test_what_does_not_fit_is_left_out_and_marked() -> None:
    query = parse_query(packet())
    address = record(RecordType.A, 5, bytes(4))
    room = (512 - 12 - len(query.question)) // len(address)
    fits, too_long = Answer.of(answers=[address] * room), Answer.of(answers=[address] * (room + 1))
    assert not rendered(query, fits).flags & dns.flags.TC
    response = rendered(query, too_long)
    assert response.flags & dns.flags.TC
    assert not response.answer
    assert not rendered(query, too_long, limit=65535).flags & dns.flags.TC


def test_the_response_of_another_server_is_shortened_to_its_question() -> None:
    asked = dns.message.make_query("example.com", "A", use_edns=0)
    response = dns.message.make_response(asked, recursion_available=True)
    shortened = dns.message.from_wire(shorten(response.to_wire(), parse_query(asked.to_wire())))
    assert asked.is_response(shortened)
    assert shortened.flags & dns.flags.TC
    assert shortened.flags & dns.flags.RA
    assert shortened.edns == 0


def test_labels_are_found_in_a_name_that_is_one() -> None:
    assert labels(wire_name("a.bc.")) == [0, 2, 5]
    assert labels(b"\0") == [0]


@pytest.mark.parametrize(
    "broken", [b"", b"\1a", b"\2a\0", b"\xc0\x0c\0", b"\1a\0\0", (b"\x3f" + b"a" * 63) * 4 + b"\0"]
)
def test_what_is_no_name_has_no_labels(broken: bytes) -> None:
    assert labels(broken) is None


@pytest.mark.parametrize("broken", ["a..b", ".a", "a" * 64, ".".join(["a" * 63] * 4), "é.example"])
def test_what_cannot_be_a_name_is_not_written(broken: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire_name(broken)


@given(st.lists(st.text("abcXYZ019-_", min_size=1, max_size=63), max_size=4).map(".".join))
def test_names_are_written_as_another_implementation_does(text: str) -> None:
    name = dns.name.from_text(text.lower() + ".")
    assert wire_name(text) == name.to_wire()


@given(st.binary(max_size=80))
def test_any_packet_is_a_query_or_unanswerable(content: bytes) -> None:
    with suppress(Unanswerable):
        query = parse_query(content)
        assert (
            len(render(query, Answer.of(), 512, authoritative=True, recursion=True)) <= 12 + len(content) + 11
        )


@given(st.data())
def test_a_damaged_query_is_a_query_or_unanswerable(data: st.DataObject) -> None:
    asked = bytearray(packet(use_edns=0))
    for _ in range(data.draw(st.integers(1, 4))):
        asked[data.draw(st.integers(0, len(asked) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Unanswerable):
        parse_query(bytes(asked))


@given(st.ip_addresses())
def test_reverse_names_are_those_of_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    assert reverse_name(address) == dns.name.from_text(address.reverse_pointer + ".").to_wire()
