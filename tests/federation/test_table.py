"""Tables for people: what is shown, what is cut, and when a table becomes blocks."""

from datetime import UTC, datetime

import pytest

from federation.table import Column, Json, Record, Terminal, counted, layout, plain, text, when

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
COLUMNS = (
    plain("NAME", "name"),
    plain("STATE", "state", state=True),
    plain("DETAIL", "detail", flexible=True),
    plain("SERIAL", "serial", wide=True),
)
WEST: Record = {"name": "west", "state": "NACK", "detail": "no such filter: envoy.nothing", "serial": "ab12"}


def table(*records: Record, wide: bool = False, terminal: Terminal | None = None) -> list[str]:
    return layout(records, COLUMNS, wide, terminal or Terminal(), NOW)


def one(column: Column, record: Record) -> str:
    return column.show(record, NOW)


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_tail() -> None:
    assert table(WEST, {"name": "northwest"}) == [
        "NAME        STATE   DETAIL",
        "west        NACK    no such filter: envoy.nothing",
        "northwest   -       -",
    ]


def test_wide_adds_the_columns_that_are_seldom_wanted() -> None:
    assert table(WEST, wide=True)[0].endswith("SERIAL")


def test_what_is_no_terminal_gets_every_word() -> None:
    long = {**WEST, "detail": "x" * 500}
    assert table(long)[1].endswith("x" * 500)


def test_on_a_narrow_terminal_the_flexible_column_is_cut_and_says_so() -> None:
    lines = table(WEST, terminal=Terminal(width=30))
    assert lines[1] == "west   NACK    no such filter…"
    assert max(map(len, lines)) <= 30


def test_on_a_terminal_too_narrow_for_a_cut_table_each_record_becomes_a_block() -> None:
    assert table(WEST, WEST, terminal=Terminal(width=20)) == [
        "NAME:   west",
        "STATE:  NACK",
        "DETAIL: no such filter: envoy.nothing",
        "",
        "NAME:   west",
        "STATE:  NACK",
        "DETAIL: no such filter: envoy.nothing",
    ]


def test_colour_follows_the_word_and_leaves_the_layout_alone() -> None:
    painted = table(WEST, {**WEST, "state": "SYNCED"}, terminal=Terminal(color=True))
    assert painted[1].startswith("west   \x1b[31mNACK\x1b[0m     no such")
    assert painted[2].startswith("west   \x1b[32mSYNCED\x1b[0m   no such")


def test_a_name_that_would_steer_the_terminal_is_made_harmless() -> None:
    assert text("west\x1b[2J\r\nroot") == "west [2J  root"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (["a", 1], "a,1"),
        ({"CDS": 3}, "CDS=3"),
    ],
)
def test_a_value_has_one_spelling(value: Json, cell: str) -> None:
    assert text(value) == cell


def test_a_count_is_shown_for_a_number_and_for_a_list() -> None:
    assert one(counted("N", "n"), {"n": 3}) == one(counted("N", "n"), {"n": ["a", "b", "c"]}) == "3"


def test_times_are_shown_as_distances_and_other_words_as_they_are() -> None:
    column = when("SEEN", "seen")
    assert one(column, {"seen": "2026-11-22T11:59:48Z"}) == "12s ago"
    assert one(column, {"seen": "2026-12-05T13:00:00+00:00"}) == "in 13d"
    assert one(column, {"seen": None}) == "-"
    assert one(column, {"seen": "never"}) == "never"
