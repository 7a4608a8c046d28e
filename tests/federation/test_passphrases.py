"""Where the passphrase comes from, and what happens if there are two."""

from pathlib import Path

import pytest

from federation import passphrases
from federation.errors import PassphraseUnclear
from pki import keystore
from pki.errors import KeyExposed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    keystore.write(tmp_path / "secret", b"open sesame\n")
    return tmp_path / "secret"


def credentials(folder: Path, content: str) -> dict[str, str]:
    (folder / "fedgate.passphrase").write_text(content)
    return {"CREDENTIALS_DIRECTORY": str(folder)}


def test_each_way_gives_the_same_and_none_gives_nothing(file: Path, tmp_path: Path) -> None:
    assert passphrases.given(file, {}) == b"open sesame"
    assert passphrases.given(None, {"FEDGATE_PASSPHRASE_FILE": str(file)}) == b"open sesame"
    assert passphrases.given(None, {"FEDGATE_PASSPHRASE": "open sesame"}) == b"open sesame"
    assert passphrases.given(None, credentials(tmp_path, "open sesame\n")) == b"open sesame"
    assert passphrases.given(None, {"CREDENTIALS_DIRECTORY": str(tmp_path / "other")}) is None
    assert passphrases.given(None, {}) is None


def test_no_child_inherits_it_from_the_environment() -> None:
    environment = {"FEDGATE_PASSPHRASE": "open sesame", "PATH": "/bin"}
    passphrases.given(None, environment)
    assert environment == {"PATH": "/bin"}


def test_two_that_agree_are_one_and_two_that_differ_are_an_error_that_names_both(
    file: Path, tmp_path: Path
) -> None:
    environment = {"FEDGATE_PASSPHRASE": "open sesame", **credentials(tmp_path, "open sesame")}
    assert passphrases.given(file, environment) == b"open sesame"
    environment = {"FEDGATE_PASSPHRASE": "shut sesame"}
    with pytest.raises(PassphraseUnclear) as unclear:
        passphrases.given(file, environment)
    assert "--passphrase-file" in str(unclear.value)
    assert "FEDGATE_PASSPHRASE" in str(unclear.value)
    assert "sesame" not in str(unclear.value)
    assert environment == {}


@pytest.mark.parametrize("content", ["", " \n", "x" * 5000])
def test_one_that_is_empty_or_endless_is_an_error(content: str) -> None:
    with pytest.raises(PassphraseUnclear):
        passphrases.given(None, {"FEDGATE_PASSPHRASE": content})


def test_a_file_that_others_can_read_is_refused_with_what_to_run(file: Path) -> None:
    file.chmod(0o640)
    with pytest.raises(KeyExposed) as exposed:
        passphrases.given(file, {})
    assert exposed.value.hint == f"chmod 600 {file}"
