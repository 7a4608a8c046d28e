"""Whose each connection to an ingress is, by the lines that it wrote."""

import json

import pytest

from gateway.holders import Holders
from gateway.sever import Ends

THIEF, OTHER = "spiffe://west.fed.example/ns/shop/sa/web", "spiffe://west.fed.example/ns/shop/sa/other"
NEAR = ("192.0.2.1", 15008)
ONE: Ends = (("198.51.100.7", 40000), NEAR)
TWO: Ends = (("198.51.100.7", 40001), NEAR)


def line(ends: Ends, who: str | None, shape: str = "{}:{}") -> bytes:
    far, near = (shape.format(*end) for end in ends)
    return json.dumps({"far": far, "near": near, "who": who}).encode()


def told(*lines: bytes) -> Holders:
    holders = Holders()
    holders.learn(lines)
    return holders


def test_a_connection_is_whose_its_line_says_and_no_other_is() -> None:
    holders = told(line(ONE, THIEF), line(TWO, OTHER), line(ONE, THIEF))
    holders.see({ONE: "11", TWO: "12"})
    assert holders.sockets_of({THIEF}) == {"11"}
    assert holders.holds_any({THIEF})
    assert not holders.holds_any({"spiffe://west.fed.example/ns/shop/sa/third"})


@pytest.mark.parametrize("apart", [False, True])
def test_the_newest_line_for_the_same_ends_is_right(apart: bool) -> None:
    lines = [line(ONE, THIEF), line(ONE, OTHER), line(ONE, THIEF), line(ONE, OTHER)]
    holders = told(*lines[:2] if apart else lines)
    if apart:
        holders.learn(lines[2:])
    holders.see({ONE: "11"})
    assert not holders.sockets_of({THIEF})
    assert holders.sockets_of({OTHER}) == {"11"}


def test_each_of_several_identities_is_one() -> None:
    holders = told(line(ONE, f"{OTHER},{THIEF}"))
    holders.see({ONE: "11"})
    assert holders.sockets_of({THIEF}) == holders.sockets_of({OTHER}) == {"11"}


@pytest.mark.parametrize(
    ("written", "is_known_as"), [("::ffff:192.0.2.9", "192.0.2.9"), ("2001:db8:0::9", "2001:db8::9")]
)
def test_addresses_of_ipv6_are_known_as_the_kernel_says_them(written: str, is_known_as: str) -> None:
    holders = told(line(((written, 1), (written, 2)), THIEF, "[{}]:{}"))
    holders.see({((is_known_as, 1), (is_known_as, 2)): "11"})
    assert holders.sockets_of({THIEF}) == {"11"}


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b'{"far":"198.51',
        b"[]",
        b'{"far":"x","near":"y","who":"z"}',
        line(ONE, THIEF).replace(b"40000", b"http"),
        b"\xff",
        line(ONE, None),
    ],
)
def test_what_is_no_line_says_nothing(cut: bytes) -> None:
    holders = told(cut, line(TWO, THIEF))
    holders.see({ONE: "11", TWO: "12"})
    assert holders.sockets_of({THIEF}) == {"12"}


def test_another_connection_with_the_same_ends_is_not_the_same() -> None:
    holders = told(line(ONE, THIEF))
    holders.see({ONE: "11"})
    holders.see({ONE: "12"})
    assert not holders.sockets_of({THIEF})
    assert len(holders) == 0


def test_who_comes_again_by_the_same_ends_is_found_again() -> None:
    holders = told(line(ONE, THIEF))
    holders.see({ONE: "11"})
    holders.learn([line(ONE, THIEF)])
    assert holders.unseen
    holders.see({ONE: "12"})
    assert holders.sockets_of({THIEF}) == {"12"}


def test_what_is_over_is_forgotten_at_the_second_look() -> None:
    holders = told(line(ONE, THIEF), line(TWO, OTHER))
    holders.see({ONE: "11", TWO: "12"})
    assert not holders.unseen
    holders.see({TWO: "12"})
    holders.see({ONE: "11", TWO: "12"})  # it was only missed
    assert len(holders) == 2
    holders.see({TWO: "12"})
    holders.see({TWO: "12"})
    assert len(holders) == 1
    assert not holders.holds_any({THIEF})
