"""Reading version after version: sooner, and never anything else than what reading the whole says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.errors import SourceError
from clusters.names import ServiceName
from clusters.sources.offer import parse_offer
from clusters.sources.version import Version, read

LINES = (
    "services:",
    "services: []",
    "  - {namespace: shop, name: cart, ports: [80]}",
    "  - {namespace: shop, name: card, ports: [80]}",
    "  - {namespace: shop, name: pay, ports: [80],",
    "     endpoints: [10.0.0.1]}",
    "  - namespace: shop",
    "    name: stock",
    "    ports:",
    "      - 80",
    "      - {port: 81, name: more}",
    "    endpoints: [10.0.0.1, 10.0.0.2]",
    "    endpoints: []",
    '    name: "st',
    '      ock"',
    "    name: |",
    "# a remark",
    "    # a remark within",
    "",
    "---",
    "...",
    "%YAML 1.1",
    "workloads:",
    "  - {namespace: shop, name: cart, addresses: [10.0.0.9]}",
    "gateways: []",
    "\t- tab",
    "  - é",
    "   - {namespace: shop, name: deeper, ports: [80]}",
    "- {namespace: shop, name: flush, ports: [80]}",
)

GOOD = """\
services:
  - {namespace: shop, name: a, ports: [80]}
  - {namespace: shop, name: b, ports: [80], endpoints: [10.0.0.1]}
  - namespace: shop
    name: c
    ports: [80]
  # before d
  - {namespace: shop, name: d, ports: [80]}
workloads:
  - {namespace: shop, name: front, addresses: [10.0.0.9]}
"""


def whole(text: str) -> object:
    try:
        return parse_offer(text, "f")
    except SourceError as error:
        return error.problems


def again(text: str, before: Version) -> tuple[object, Version]:
    try:
        newer = read(text, "f", before)
    except SourceError as error:
        return error.problems, before
    return newer.offer, newer


def edited(text: str, edit: tuple[int, int, list[str]]) -> str:
    """*text* with some lines in the place of others."""
    at, gone, new = edit
    lines = text.split("\n")
    at %= len(lines)
    return "\n".join([*lines[:at], *new, *lines[at + gone :]])


edits = st.tuples(st.integers(0, 30), st.integers(0, 4), st.lists(st.sampled_from(LINES), max_size=3))


@settings(max_examples=400, deadline=None)
@given(st.lists(edits, min_size=1, max_size=5))
def test_edit_by_edit_is_read_what_the_whole_says(steps: list[tuple[int, int, list[str]]]) -> None:
    text, held = GOOD, read(GOOD, "f")
    for step in steps:
        newer = edited(text, step)
        said, held = again(newer, held)
        assert said == whole(newer)
        text = newer if said == held.offer else text


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, 60), st.text(alphabet="ab-: \n[]{}#'\"|&*!%.,é", max_size=8))
def test_whatever_is_typed_anywhere_is_read_as_the_whole_is(at: int, gone: int, typed: str) -> None:
    text = GOOD[:at] + typed + GOOD[at + gone :]
    said, _ = again(text, read(GOOD, "f"))
    assert said == whole(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: a, ports: [80]", "name: a, ports: [81]"),
        ("endpoints: [10.0.0.1]", "endpoints: []"),
        ("    ports: [80]\n", "    ports: [81]\n"),
        ("  - {namespace: shop, name: d, ports: [80]}\n", ""),
        ("  # before d\n", "  - {namespace: shop, name: new, ports: [80]}\n"),
    ],
)
def test_a_change_in_the_list_leaves_what_is_far_from_it_unread(old: str, new: str) -> None:
    text = GOOD.replace("services:\n", "services:\n  - {namespace: shop, name: far, ports: [80]}\n")
    before = read(text, "f")
    after = read(text.replace(old, new), "f", before)
    again = read(text, "f", after)
    assert after.offer == parse_offer(text.replace(old, new), "f")
    assert again.offer == before.offer
    far = ServiceName("shop", "far")
    assert before.offer.services[far] is after.offer.services[far] is again.offer.services[far]
    assert before.offer.workloads is after.offer.workloads is again.offer.workloads
