"""The audit record: what is written down, what becomes of floods, crashes and tampering."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from federation.audit import Audit
from federation.audit_chain import START, Event, Link, read, written
from federation.audit_files import CURRENT, Journal, Limits, broken_of, entries_of, files_of, verify
from federation.audit_thrift import Allowance, Thrift
from federation.errors import AuditBroken, AuditBusy
from tests import requirements
from tests.authorities import NOW
from tests.federation import dying_auditor


def event(number: int, action: str = "issued") -> Event:
    return Event(NOW + timedelta(seconds=number), action, f"cluster-{number}", "somebody", {"what": "a test"})


def journal(folder: Path, limits: Limits | None = None) -> Journal:
    return Journal.open(folder, NOW, limits or Limits())


def record(folder: Path, count: int, limits: Limits | None = None) -> None:
    """Write *count* entries, one by one."""
    opened = journal(folder, limits)
    for number in range(count):
        opened.append([event(number)])
    opened.close()


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def actions(folder: Path) -> list[str]:
    return [entry.action for entry in entries_of(folder)]


# --- the chain ------------------------------------------------------------------------------------


def test_an_entry_is_read_as_it_was_written_whatever_is_in_it() -> None:
    told = Event(NOW, "denied", "\ud800 \n\u2028 ünï\x00", "a\tb", {"reason": '"}\\', "ключ": "x" * 5000})
    line, link = written(told, Link(41, "ab" * 32))
    assert line.isascii()
    assert line.count(b"\n") == 1
    entry = read(line)
    assert (entry.link, entry.prev, entry.moment) == (link, "ab" * 32, NOW)
    assert (entry.subject, entry.details["reason"]) == (told.subject, told.details["reason"])
    assert len(entry.details["ключ"]) == 1000


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line.replace(b"cluster-1", b"cluster-2"),
        lambda line: line.replace(b'{"action"', b'{ "action"'),
        lambda line: line.replace(b'"n":1', b'"n":1.0'),
        lambda line: line.replace(b'"n":1', b'"n":true'),
        lambda line: line.replace(b'"actor":"somebody",', b""),
        lambda line: line[:-20],
        lambda _: b"[" * 100_000,
        lambda _: b"\x00" * 100,
        lambda _: b"{}",
    ],
)
def test_a_line_that_is_not_as_it_was_written_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    line, _ = written(event(1), START)
    with pytest.raises(ValueError, match="it"):
        read(spoil(line))


def test_another_program_can_check_a_hash(tmp_path: Path) -> None:
    line, link = written(Event(NOW, "denied", "ünï", details={"b": "1", "a": "2"}), START)
    jq = requirements.program("jq")
    bare = subprocess.run(
        [jq, "-cSaj", "del(.hash)"], input=line, capture_output=True, check=True, timeout=20
    )
    (tmp_path / "bare").write_bytes(bare.stdout)
    summed = subprocess.run(["sha256sum", tmp_path / "bare"], capture_output=True, check=True, timeout=20)
    assert summed.stdout.split()[0].decode() == link.hash


def test_the_files_are_lines_of_json_that_anybody_can_read(tmp_path: Path) -> None:
    record(tmp_path, 2)
    first, second = map(json.loads, (tmp_path / CURRENT).read_text().splitlines())
    assert first["prev"] == "0" * 64
    assert second["prev"] == first["hash"]


# --- on disk --------------------------------------------------------------------------------------


def test_a_record_goes_on_where_it_ended_and_only_we_can_read_it(tmp_path: Path) -> None:
    record(tmp_path, 3)
    record(tmp_path, 2)
    found = verify(tmp_path)
    assert found.entries == 5
    assert found.last is not None
    assert found.last.n == 5
    assert (tmp_path / CURRENT).stat().st_mode & 0o777 == 0o600


def test_a_last_line_that_was_cut_anywhere_is_mended_and_all_before_it_is_kept(tmp_path: Path) -> None:
    record(made(tmp_path / "whole"), 3)
    content = (tmp_path / "whole" / CURRENT).read_bytes()
    begin = content.index(b"\n", content.index(b"\n") + 1) + 1
    for length in range(begin, len(content)):
        folder = made(tmp_path / str(length))
        (folder / CURRENT).write_bytes(content[:length])
        assert verify(folder).entries == 2
        record(folder, 1)
        assert actions(folder) == ["issued"] * 2 + ["audit-mended"] * (length > begin) + ["issued"]
        verify(folder)


def test_every_changed_byte_is_found_and_its_entry_named(tmp_path: Path) -> None:
    record(tmp_path, 3)
    whole = (tmp_path / CURRENT).read_bytes()
    lines = whole.splitlines(keepends=True)
    for position in range(len(whole) - 1):  # without the last line's end, it is one that was cut
        spoiled = bytearray(whole)
        spoiled[position] ^= 1
        (tmp_path / CURRENT).write_bytes(spoiled)
        with pytest.raises(AuditBroken) as broken:
            verify(tmp_path)
        line = next(n for n in (1, 2, 3) if position < sum(map(len, lines[:n])))
        assert (broken.value.file, broken.value.line) == (CURRENT, line)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[1:],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: [*lines[:2], written(event(9), read(lines[1]).link)[0], *lines[3:]],
        lambda lines: [*lines, written(event(9), Link(7, read(lines[-1]).hash))[0]],
    ],
    ids=["first taken away", "one taken away", "two swapped", "one twice", "one written anew", "a gap"],
)
def test_entries_that_were_moved_or_taken_away_are_noticed(
    spoil: Callable[[list[bytes]], list[bytes]], tmp_path: Path
) -> None:
    record(tmp_path, 5)
    lines = (tmp_path / CURRENT).read_bytes().splitlines(keepends=True)
    (tmp_path / CURRENT).write_bytes(b"".join(spoil(lines)))
    with pytest.raises(AuditBroken):
        verify(tmp_path)


def test_a_record_that_was_cut_short_or_written_anew_lacks_the_head_that_was_noted(tmp_path: Path) -> None:
    record(tmp_path, 5)
    noted = verify(tmp_path).last
    assert noted is not None
    record(tmp_path, 2)
    assert verify(tmp_path, noted.hash).entries == 7
    lines = (tmp_path / CURRENT).read_bytes().splitlines(keepends=True)
    (tmp_path / CURRENT).write_bytes(b"".join(lines[:4]))
    verify(tmp_path)
    with pytest.raises(AuditBroken, match="noted"):
        verify(tmp_path, noted.hash)


def test_a_broken_record_is_kept_aside_and_a_new_one_begins_that_says_so(tmp_path: Path) -> None:
    record(tmp_path, 3)
    spoiled = (tmp_path / CURRENT).read_bytes().replace(b"cluster-1", b"cluster-7")
    (tmp_path / CURRENT).write_bytes(spoiled)
    record(tmp_path, 1)
    (kept,) = broken_of(tmp_path)
    assert (kept / CURRENT).read_bytes() == spoiled
    first, _ = entries_of(tmp_path)
    assert (first.n, first.action, first.details["line"]) == (1, "audit-broken", "2")
    assert first.details["kept"] == kept.name


def test_a_file_that_is_full_is_closed_and_the_chain_goes_on_in_the_next(tmp_path: Path) -> None:
    record(tmp_path, 20, Limits(file_bytes=1000, files=100))
    names = [path.name for path in files_of(tmp_path)]
    assert names[0] == "audit-0000000001.jsonl"
    assert names[-1] == CURRENT
    assert len(names) > 4
    assert verify(tmp_path).entries == 20
    (tmp_path / names[2]).unlink()
    with pytest.raises(AuditBroken):
        verify(tmp_path)


def test_the_oldest_files_go_and_the_record_says_up_to_where(tmp_path: Path) -> None:
    limits = Limits(file_bytes=1000, files=3)
    for _ in range(3):
        record(tmp_path, 10, limits)
    assert len(files_of(tmp_path)) == 3
    assert sum(path.stat().st_size for path in files_of(tmp_path)) < 5000
    found = verify(tmp_path)
    assert found.first is not None
    assert found.first.n > 10
    files_of(tmp_path)[0].unlink()
    with pytest.raises(AuditBroken, match="nobody trimmed"):
        verify(tmp_path)


def test_a_record_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    first = journal(tmp_path)
    with pytest.raises(AuditBusy):
        journal(tmp_path)
    first.close()
    journal(tmp_path).close()


def test_a_writer_that_dies_between_any_two_steps_or_bytes_leaves_a_record_that_goes_on(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-m", dying_auditor.__name__, tmp_path], check=True, timeout=120)
    folders = sorted(tmp_path.iterdir())
    assert len(folders) > 100
    for folder in folders:
        record(folder, 1)
        assert not broken_of(folder), folder.name
        assert verify(folder).entries >= 4


# --- the writer -----------------------------------------------------------------------------------


def test_what_happened_before_and_while_it_is_kept_is_on_the_disk_when_the_block_is_left(
    tmp_path: Path,
) -> None:
    audit = Audit(tmp_path, lambda: NOW)
    audit.record("started", "hub")
    with audit.kept():
        audit.record("issued", "onprem", actor="10.0.0.7", serial="1f")
        assert audit.settle()
        assert actions(tmp_path) == ["started", "issued"]
        audit.record("left", "onprem")
    assert actions(tmp_path) == ["started", "issued", "left"]
    assert audit.waiting == ()


def test_a_disk_that_takes_nothing_delays_the_record_and_loses_none_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    audit = Audit(folder, lambda: NOW)
    with audit.kept():
        audit.record("issued", "onprem")
        assert not audit.settle(0.2)
        assert "No such file" in audit.trouble
        folder.mkdir()
        assert audit.settle()
    assert audit.trouble == ""
    assert actions(folder) == ["issued"]


@pytest.mark.parametrize("action", ["revoked", "withdrawal-doubted", "withdrawal-ended"])
def test_what_a_member_can_say_as_often_as_it_likes_does_not_wash_the_record_clean(action: str) -> None:
    thrift = Thrift()
    passed = [event for _ in range(1000) for event in thrift.passed(Event(NOW, action, "west"))]
    assert len(passed) < 100
    assert [told.details["count"] for told in thrift.told(NOW, at_end=True)] == [str(1000 - len(passed))]


def test_a_flood_of_denials_is_told_as_one_entry_a_minute() -> None:
    thrift = Thrift({"denied": Allowance(3, 1)})
    passed = [e for n in range(100) for e in thrift.passed(Event(NOW, "denied", f"cluster-{n % 5}"))]
    assert len(passed) == 3
    assert list(thrift.told(NOW + timedelta(seconds=30))) == []
    (told,) = thrift.told(NOW + timedelta(minutes=2))
    assert (told.action, told.subject, told.details["count"]) == ("denied", "*", "97")
    assert told.details["among"] == "cluster-3 cluster-4 cluster-0 cluster-1 cluster-2"
    assert list(thrift.told(NOW + timedelta(minutes=9), at_end=True)) == []
    assert list(thrift.passed(event(300, "denied"))) == [event(300, "denied")]
    assert [e for n in range(100) for e in thrift.passed(event(n, "evicted"))] == list(
        map(event_of, range(100))
    )


def event_of(number: int) -> Event:
    return event(number, "evicted")


def test_what_was_counted_is_told_at_the_end(tmp_path: Path) -> None:
    audit = Audit(tmp_path, lambda: NOW, thrift=Thrift({"issued": Allowance(2, 1)}))
    with audit.kept():
        for number in range(10):
            audit.record("issued", f"w-{number}")
    assert [(e.subject, e.details.get("count")) for e in entries_of(tmp_path)] == [
        ("w-0", None),
        ("w-1", None),
        ("*", "8"),
    ]


def test_reading_goes_on_while_files_are_closed_and_removed(tmp_path: Path) -> None:
    audit = Audit(tmp_path, lambda: datetime.now(UTC), limits=Limits(file_bytes=2000, files=3))
    with audit.kept():
        for number in range(300):
            audit.record("evicted", f"cluster-{number}")
            if number % 10 == 0:
                assert list(entries_of(tmp_path)) is not None
        assert audit.settle()
        verify(tmp_path)
