"""Reading a file that another one writes, and having it begin a new one."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.errors import EnvoyFailed
from gateway.tunnel_log import TunnelLog, clear


class Writer:
    """Writes as Envoy does: it opens the file anew with the next line after it was asked to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = 0
        self.answers = True
        self._file: BinaryIO | None = None
        self._again = True

    def reopen(self) -> None:
        if not self.answers:
            raise EnvoyFailed("no answer")
        self.asked += 1
        self._again = True

    def write(self, what: bytes) -> None:
        if self._again or self._file is None:
            self.close()
            self._file, self._again = self.path.open("ab", buffering=0), False
        self._file.write(what)

    def write_late(self, what: bytes) -> None:
        """Write what was under way before it was asked to open the file anew."""
        assert self._file is not None
        self._file.write(what)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with closing(Writer(tmp_path / "tunnels.jsonl")) as made:
        yield made


@pytest.fixture
def log(writer: Writer) -> Iterator[TunnelLog]:
    with closing(TunnelLog(writer.path, writer.reopen, most=10)) as made:
        yield made


def test_each_line_is_read_once_and_when_it_is_whole(writer: Writer, log: TunnelLog) -> None:
    assert log.read() == []
    writer.write(b"one\ntw")
    assert log.read() == [b"one"]
    assert log.read() == []
    writer.write(b"o\n")
    assert log.read() == [b"two"]


def test_a_file_that_is_too_long_gives_way_to_another_and_no_line_is_lost(
    writer: Writer, log: TunnelLog, tmp_path: Path
) -> None:
    writer.write(b"0123456789\n")
    assert log.read() == [b"0123456789"]
    assert writer.asked == 1
    writer.write_late(b"late\n")
    assert log.read() == [b"late"]
    writer.write_late(b"latest\n")
    writer.write(b"new\n")
    assert log.read() == [b"latest", b"new"]
    assert writer.asked == 1
    assert [each.name for each in tmp_path.iterdir()] == ["tunnels.jsonl"]


def test_a_writer_that_does_not_answer_is_asked_again(writer: Writer, log: TunnelLog) -> None:
    writer.answers = False
    writer.write(b"0123456789\n")
    assert log.read() == [b"0123456789"]
    writer.write(b"late\n")
    assert log.read() == [b"late"]
    writer.answers = True
    assert log.read() == []
    writer.write(b"new\n")
    assert log.read() == [b"new"]
    assert writer.asked == 1


def test_what_another_writer_has_left_is_removed_and_a_reader_of_it_goes_on_with_the_new_one(
    writer: Writer, log: TunnelLog, tmp_path: Path
) -> None:
    writer.write(b"0123456789\n")
    log.read()
    writer.write(b"cut")
    clear(writer.path)
    assert list(tmp_path.iterdir()) == []
    assert log.read() == []
    writer.reopen()
    writer.write(b"new\n")
    assert log.read() == [b"new"]
