"""A backup file is read whole, or it is said what is wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.backup.form import Backup, decode, encode
from federation.errors import BackupUnusable
from tests.federation.registry.worlds import NOW

KEPT = Backup(NOW, 7, {"root.pem": b"A ROOT"}, {"fedgate/federation": b"{}", "fedgate/clusters/onprem": b"x"})


@given(
    st.dictionaries(st.sampled_from(["root.pem", "hub-ca.key.sealed"]), st.binary(max_size=50)),
    st.dictionaries(st.text(st.characters(codec="ascii"), max_size=20), st.binary(max_size=50)),
)
def test_what_was_written_is_read(files: dict[str, bytes], records: dict[str, bytes]) -> None:
    backup = Backup(NOW, 4711, files, records)
    assert decode(encode(backup), "b") == backup


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    whole = encode(KEPT)
    for size in range(len(whole)):
        with pytest.raises(BackupUnusable, match="b cannot be restored"):
            decode(whole[:size], "b")


def test_a_file_with_any_byte_changed_is_refused() -> None:
    whole = encode(KEPT)
    for place in range(len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(BackupUnusable):
            decode(bytes(changed), "b")


def test_a_file_of_a_newer_format_is_refused_with_what_to_do() -> None:
    newer = encode(KEPT).replace(b'{"fedgate_backup":1', b'{"fedgate_backup":2', 1)
    with pytest.raises(BackupUnusable, match="format 2, and this fedgate knows format 1") as raised:
        decode(newer, "b")
    assert "a newer one" in raised.value.hint


def test_a_file_that_would_be_written_elsewhere_is_refused() -> None:
    with pytest.raises(BackupUnusable, match="belongs in no folder of a hub"):
        decode(encode(Backup(NOW, 7, {"../root.pem": b""}, {})), "b")
