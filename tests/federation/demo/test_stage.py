"""What is shown: marks, times, and that it fits on 80 columns."""

import io

import pytest

from federation.demo.stage import Stage
from federation.output import Format, Output
from federation.table import Terminal


def stage(
    *, unicode: bool = True, color: bool = False, times: tuple[float, ...] = ()
) -> tuple[Stage, io.StringIO]:
    stream = io.StringIO()
    clock = iter(times)
    terminal = Terminal(width=80, color=color, unicode=unicode)
    return Stage(stream, Output(Format.TABLE, terminal), lambda: next(clock)), stream


def test_a_step_is_written_when_it_is_done_with_the_time_it_took() -> None:
    shown, stream = stage(times=(1.0, 3.5))
    with shown.step("starting") as step:
        assert stream.getvalue() == ""
        step.says = "started"
    assert stream.getvalue() == f"  √ {'started':<69} 2.5 s\n"


def test_a_step_that_fails_is_marked_and_the_error_passes() -> None:
    shown, stream = stage(times=(1.0, 2.0))
    with pytest.raises(OSError, match="no"), shown.step("starting"):
        raise OSError("no")
    assert stream.getvalue().startswith("  \N{MULTIPLICATION SIGN} starting ")


def test_on_a_terminal_the_step_under_way_is_seen_and_then_replaced() -> None:
    shown, stream = stage(color=True, times=(1.0, 1.0))
    with shown.step("starting"):
        assert stream.getvalue() == "  . starting"
    assert "\r\x1b[K" in stream.getvalue()


@pytest.mark.parametrize("unicode", [True, False])
def test_nothing_is_wider_than_80_columns_and_times_are_aligned(unicode: bool) -> None:
    shown, stream = stage(unicode=unicode)
    shown.result(False, "curl: (7) " + "a reason that goes on and on " * 8, "12.5 ms")
    shown.result(True, "short", "1.0 ms")
    shown.note("spiffe://onprem.fed.example/ns/shop/sa/frontend " * 4)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 79
    timed = [line for line in lines if line.endswith(" ms")]
    assert len(timed) == 2
    assert len({len(line) for line in timed}) == 1
    assert "on and on" in lines[1]
