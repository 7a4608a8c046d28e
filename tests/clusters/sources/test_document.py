"""YAML read with suspicion: what is refused, and where it is said to stand."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.sources.document import Listing, Malformed, Place, Scalar, Table, compose


def test_every_node_knows_its_line_and_column() -> None:
    document = compose("a: 1\nb:\n  - x\n  - 'y'\n")
    assert isinstance(document, Table)
    assert document.key_places == {"a": Place(1, 1), "b": Place(2, 1)}
    assert document.entries["b"] == Listing(
        Place(3, 3), [Scalar(Place(3, 5), "x", plain=True), Scalar(Place(4, 5), "y", plain=False)]
    )


@pytest.mark.parametrize("word", ["no", "on", "1.10", "0x1f", "2026-01-01"])
def test_a_word_stays_the_text_that_was_written(word: str) -> None:
    assert compose(word) == Scalar(Place(1, 1), word, plain=True)


@pytest.mark.parametrize("nothing", ["", "~", "null", "# a remark\n"])
def test_nothing_is_null(nothing: str) -> None:
    document = compose(nothing)
    assert isinstance(document, Scalar)
    assert document.is_null


def test_a_quoted_null_is_text() -> None:
    document = compose('"null"')
    assert isinstance(document, Scalar)
    assert not document.is_null


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a: &x 1\nb: *x", "2:4", "alias"),
        ("a: 1\nb: 2\na: 3", "3:1", "given twice; the first is at 1:1"),
        ("[" * 2000, "1:18", "nested deeper"),
        ("a: 1\n---\nb: 2", "3:1", "second document"),
        ("!!python/object:os.system a", "1:1", "tag"),
        ("? [a, b]\n: 1", "1:3", "plain word as key"),
        ("a: b: c", "1:5", "mapping values"),
        ("a: [1, 2", "2:1", "expected ',' or ']'"),
        ("é: \x07", "1:4", "may not stand in YAML"),
    ],
)
def test_what_is_refused_is_told_with_its_place(text: str, place: str, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        compose(text)
    assert str(refused.value.place) == place
    assert reason in refused.value.reason


def test_aliases_are_refused_before_they_multiply() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    with pytest.raises(Malformed, match="alias"):
        compose(bomb)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t0é\x00\ud7ff", max_size=60))
def test_any_text_is_a_document_or_malformed(text: str) -> None:
    with suppress(Malformed):
        compose(text)
