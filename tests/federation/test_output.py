"""What stdout can do, and what is said where."""

import io

import pytest

from federation.output import Format, Output, detect_terminal
from federation.table import Terminal


class Stream(io.StringIO):
    """A stdout that says of itself what it is told to."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


@pytest.mark.parametrize(
    ("tty", "environ", "color"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(tty: bool, environ: dict[str, str], color: bool) -> None:
    assert detect_terminal(Stream(tty), environ).color is color


def test_what_is_no_terminal_has_no_width() -> None:
    assert detect_terminal(Stream(False), {}).width is None


def test_a_terminal_without_unicode_gets_signs_that_it_has() -> None:
    plain = Output(terminal=Terminal(unicode=False))
    assert [plain.mark(status) for status in ("ok", "warn", "fail", "new")] == ["ok", "!!", "XX", "?"]
    assert [Output().mark(status) for status in ("ok", "warn")] == ["√", "‼"]


def test_talk_is_on_stderr_and_silent_where_a_program_reads(capsys: pytest.CaptureFixture[str]) -> None:
    Output().say("hello")
    Output(Format.JSON).say("hello")
    assert capsys.readouterr() == ("", "hello\n")
