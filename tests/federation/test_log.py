import io
import json
import logging

import pytest

from federation.log import JsonLines, Log, TextLines, configure


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_for_machines_is_one_json_object_with_the_phrase_and_its_keys() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    Log("federation.hub").warning("snapshot kept", gateway="gw-1", clusters=12)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "federation.hub",
        "event": "snapshot kept",
        "gateway": "gw-1",
        "clusters": 12,
    }


def test_a_line_on_a_terminal_is_text() -> None:
    stream = Terminal()
    configure(stream=stream)
    Log("federation.hub").info("snapshot kept", gateway="gw-1", reason="no such filter")
    assert stream.getvalue().rstrip().endswith('info     snapshot kept  gateway=gw-1 reason="no such filter"')


@pytest.mark.parametrize("value", ["a\nb", "a b", 'a"b', "a=b", "", "\x1b[31m"])
def test_a_value_cannot_pose_as_a_line_or_key_of_its_own(value: str) -> None:
    stream = Terminal()
    configure(stream=stream)
    Log("x").info("event", key=value)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(f"key={json.dumps(value)}")


def test_a_key_cannot_take_the_place_of_the_phrase() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    Log("x").info("joined", event="forged", level="forged", cluster="west")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["cluster"]) == ("joined", "info", "west")


def test_what_json_does_not_know_is_written_as_text() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    Log("x").info("seen", error=ValueError("no"), name="\udcff")
    assert json.loads(stream.getvalue())["error"] == "no"


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_an_exception_brings_its_traceback(formatter: logging.Formatter) -> None:
    stream = io.StringIO()
    configure(stream=stream)
    logging.getLogger().handlers[0].setFormatter(formatter)
    try:
        raise ValueError("broken")
    except ValueError:
        Log("x").exception("failed", cluster="west")
    assert "Traceback" in stream.getvalue()
    assert "ValueError: broken" in stream.getvalue()


def test_lines_of_stdlib_loggers_come_out_the_same_way() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    logging.getLogger("gateway.ads").warning("rejected %s", "v1", extra={"fields": {"gateway": "gw-1"}})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["gateway"]) == ("rejected v1", "gw-1")


def test_levels_below_the_configured_one_are_silent() -> None:
    stream = io.StringIO()
    configure(logging.WARNING, stream)
    Log("x").info("quiet")
    Log("x").debug("quieter")
    Log("x").error("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]
