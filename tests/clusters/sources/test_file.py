"""Reading a file and following it: what counts as a change, and what a broken edit does."""

import os
from pathlib import Path

import pytest

from clusters.errors import SourceError
from clusters.model import Offer
from clusters.names import ServiceName
from clusters.sources.file import MAX_BYTES, FileSource, Reading, SourceState, load, watch
from clusters.sources.notices import Notices

NOTHING = "services: []\n"


def offering(*names: str) -> str:
    return "services:\n" + "".join(f"- {{namespace: shop, name: {name}, ports: [80]}}\n" for name in names)


def services(reading: Reading | None) -> set[str]:
    assert reading is not None
    assert reading.offer is not None
    return {service.name for service in reading.offer.services}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "offer.yaml"


def settle(source: FileSource) -> Reading | None:
    """Look at a file that holds still: once to see it, once to read it."""
    assert source.look() is None
    return source.look()


def test_a_file_is_loaded(path: Path) -> None:
    path.write_text(offering("catalog"))
    assert set(load(path).services) == {ServiceName("shop", "catalog")}


def test_a_file_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(SourceError, match=r"offer\.yaml: cannot be read: No such file"):
        load(path)


def test_a_folder_a_pipe_and_a_device_are_refused_without_waiting(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(SourceError, match="not a regular file"):
        load(path)
    with pytest.raises(SourceError, match="Is a directory"):
        load(path.parent)
    with pytest.raises(SourceError, match="not a regular file"):
        load(Path("/dev/zero"))


def test_a_huge_file_is_refused_unread(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SourceError, match="larger than 8 MiB"):
        load(path)


def test_bytes_that_are_no_text_are_told_with_their_line(path: Path) -> None:
    path.write_bytes(b"services:\n- \xff\n")
    with pytest.raises(SourceError, match="2:1: byte 12 is not UTF-8"):
        load(path)


def test_the_first_version_is_read_once_it_holds_still(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("catalog"))
    assert source.look() is None
    assert services(source.look()) == {"catalog"}
    assert source.look() is None


def test_an_edit_in_place_is_seen(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("catalog"))
    settle(source)
    path.write_text(offering("catalog", "cart"))
    assert services(settle(source)) == {"catalog", "cart"}


def test_an_edit_of_the_same_length_is_seen(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("cart"))
    settle(source)
    before = path.stat()
    path.write_text(offering("card"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert services(settle(source)) == {"card"}


def test_a_file_that_takes_the_place_of_another_is_seen(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("cart"))
    settle(source)
    new = path.with_suffix(".new")
    new.write_text(offering("card"))
    new.replace(path)
    assert services(settle(source)) == {"card"}


def test_a_link_that_is_turned_to_another_file_is_seen(path: Path, tmp_path: Path) -> None:
    for name in ("cart", "card"):
        (tmp_path / name).write_text(offering(name))
    path.symlink_to("cart")
    source = FileSource(path)
    settle(source)
    turned = tmp_path / "turned"
    turned.symlink_to("card")
    turned.replace(path)
    assert services(settle(source)) == {"card"}


def test_a_file_that_is_being_written_is_left_alone_until_it_holds_still(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("catalog", "cart"))
    settle(source)
    path.write_text("services: []\n")
    assert source.look() is None
    path.write_text(offering("catalog", "cart", "pay"))
    assert source.look() is None
    assert services(source.look()) == {"catalog", "cart", "pay"}


def test_a_broken_edit_keeps_the_last_good_offer_and_is_told_once(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("catalog"))
    settle(source)
    path.write_text("services: [1]\n")
    reading = settle(source)
    assert services(reading) == {"catalog"}
    assert reading is not None
    assert reading.state is SourceState.STALE
    assert reading.problems == (
        "1:12 services[0]: want a mapping with namespace, name, ports, endpoints, allow, health, traffic, "
        "passthrough, staleness",
    )
    assert source.look() is None
    path.write_text("services: [1]\n# and a remark\n")
    assert settle(source) is None


def test_mending_a_broken_edit_is_told_even_when_it_says_what_was_said_before(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("catalog"))
    good = settle(source)
    path.write_text("services:\n")
    settle(source)
    path.write_text(offering("catalog"))
    assert settle(source) == good


def test_a_file_that_goes_away_keeps_the_last_good_offer(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("catalog"))
    settle(source)
    path.unlink()
    reading = settle(source)
    assert services(reading) == {"catalog"}
    assert source.reading.problems == ("cannot be read: No such file or directory",)


def test_a_file_that_never_was_is_told_and_awaited(path: Path) -> None:
    source = FileSource(path)
    assert settle(source) == Reading(None, ("cannot be read: No such file or directory",))
    path.write_text(NOTHING)
    assert settle(source) == Reading(Offer())


def test_a_reading_says_how_the_source_is_doing() -> None:
    assert Reading(None, ("gone",)).state is SourceState.UNREAD
    assert Reading(Offer(), ("broken",)).state is SourceState.STALE
    assert Reading(Offer()).state is SourceState.GOOD


def test_an_edit_that_changes_no_meaning_is_not_told(path: Path) -> None:
    source = FileSource(path)
    path.write_text(NOTHING)
    settle(source)
    path.write_text(NOTHING + "# a remark\n")
    assert settle(source) is None


def test_a_file_that_is_known_to_have_been_replaced_is_read_at_once(path: Path) -> None:
    source = FileSource(path)
    path.write_text(offering("cart"))
    assert services(source.look(replaced=True)) == {"cart"}
    assert source.look(replaced=True) is None


async def test_a_file_that_takes_the_place_of_the_watched_one_is_not_waited_for(path: Path) -> None:
    new = path.with_suffix(".new")
    with Notices(path) as notices:
        new.write_text(offering("cart"))
        new.replace(path.with_suffix(".other"))
        assert not await notices.wait(0.01)
        new.write_text(offering("cart"))
        new.replace(path)
        assert await notices.wait(60)
        assert not await notices.wait(0)


async def test_where_the_kernel_tells_nothing_the_time_alone_counts(path: Path) -> None:
    with Notices(path.parent / "missing" / "file") as notices:
        assert not await notices.wait(0)


async def test_watching_yields_what_the_file_says_and_then_each_change(path: Path) -> None:
    path.write_text(offering("cart"))
    readings = watch(path, every=0)
    assert services(await anext(readings)) == {"cart"}
    path.write_text(offering("card", "cart"))
    assert services(await anext(readings)) == {"card", "cart"}
