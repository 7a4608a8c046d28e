"""Secrets that others could use are told of at the start, with what to run."""

import shlex
import subprocess
from pathlib import Path

import pytest

from federation import secret_files
from federation.errors import SecretsExposed
from pki import keystore

FILES = ("hub.key", "root.key.sealed", "registry.db", "audit.jsonl", "next/next.key")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "next").mkdir(mode=0o700)
    for name in FILES:
        keystore.write(tmp_path / name, b"secret")
    (tmp_path / "root.pem").write_text("everybody may know this")
    (tmp_path / "root.pem").chmod(0o644)
    tmp_path.chmod(0o755)
    secret_files.check(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_that_others_may_use_is_named_and_the_hint_mends_it(
    name: str, mode: int, state: Path
) -> None:
    (state / name).chmod(mode)
    with pytest.raises(SecretsExposed) as exposed:
        secret_files.check(state)
    assert f"{state / name} has mode {mode:04o}" in str(exposed.value)
    subprocess.run(shlex.split(exposed.value.hint), check=True)
    secret_files.check(state)


def test_all_of_them_are_told_of_at_once(state: Path) -> None:
    for name in FILES:
        (state / name).chmod(0o666)
    state.chmod(0o777)
    with pytest.raises(SecretsExposed) as exposed:
        secret_files.check(state)
    folders, files = exposed.value.hint.split(" && ")
    assert folders == f"chmod 700 {state}"
    assert set(files.split()[2:]) == {str(state / name) for name in FILES}


def test_a_link_to_what_is_not_here_is_not_followed(state: Path) -> None:
    (state / "other.key").symlink_to("/etc/passwd")
    secret_files.check(state)
