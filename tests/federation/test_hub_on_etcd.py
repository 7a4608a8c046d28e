"""A hub whose registry is on etcd: what it knows is there, and not in its folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests import requirements
from tests.federation.registry.etcd_server import etcd

PASSPHRASE = "correct horse"
FEDGATE = (sys.executable, "-P", "-m", "federation")
LISTENING = ("--listen", "127.0.0.1:0", "--sync-listen", "127.0.0.1:0", "--advertise", "127.0.0.1:7443")


def fedgate(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FEDGATE, *words], env=environment(home), capture_output=True, text=True, check=False, timeout=60
    )


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "FEDGATE_HOME": str(home), "FEDGATE_PASSPHRASE": PASSPHRASE}


@contextmanager
def hub(home: Path, options: Sequence[str]) -> Iterator[None]:
    """A hub with its state in *home*, until the block is left."""
    process = subprocess.Popen([*FEDGATE, "hub", *LISTENING, *options], env=environment(home))
    try:
        deadline = time.monotonic() + 30
        while fedgate(home, "clusters", "list").returncode:
            assert process.poll() is None, "the hub has ended"
            assert time.monotonic() < deadline, "the hub does not answer"
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_what_a_hub_knows_is_on_etcd(short_path: Path) -> None:
    requirements.program("etcd")
    with etcd(short_path) as (member,):
        store = ("--store", f"etcd://{member.endpoint}/fed")
        with hub(short_path, store):
            assert fedgate(short_path, "token", "create", "west").returncode == 0
        assert not list((short_path / "hub").glob("*.db*"))
        with hub(short_path, store):
            listed = msgspec.json.decode(fedgate(short_path, "token", "list", "-o", "json").stdout)
        assert [token["cluster"] for token in listed["tokens"]] == ["west"]


@pytest.mark.slow
def test_a_hub_moves_to_etcd_and_knows_what_it_knew(short_path: Path) -> None:
    requirements.program("etcd")
    with hub(short_path, ()):
        assert fedgate(short_path, "token", "create", "west").returncode == 0
        busy = fedgate(
            short_path, "store", "migrate", f"sqlite:{short_path}/hub/registry.db", "etcd://127.0.0.1:1"
        )
        assert "another process has it open" in busy.stderr
    with etcd(short_path) as (member,):
        store = f"etcd://{member.endpoint}/fed"
        moved = fedgate(short_path, "store", "migrate", f"sqlite:{short_path}/hub/registry.db", store)
        assert (moved.returncode, moved.stdout) == (0, f"2 records moved to {store}\n")
        again = fedgate(short_path, "store", "migrate", f"sqlite:{short_path}/hub/registry.db", store)
        assert (again.returncode, "not empty" in again.stderr) == (7, True)
        with hub(short_path, ("--store", store)):
            listed = msgspec.json.decode(fedgate(short_path, "token", "list", "-o", "json").stdout)
        assert [token["cluster"] for token in listed["tokens"]] == ["west"]


def test_an_etcd_that_does_not_answer_is_said_in_a_line(short_path: Path) -> None:
    ended = fedgate(short_path, "hub", *LISTENING, "--store", "etcd://127.0.0.1:1/fed")
    assert (ended.returncode, ended.stdout) == (5, "")
    assert "etcd://127.0.0.1:1/fed does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--store", "sqlite:x"), "want etcd://HOST[:PORT],.../PREFIX"),
        (("--store", "etcd://h:x"), "'h:x' is not HOST or HOST:PORT"),
        (("--store", "etcd://2001:db8::1"), "in brackets"),
        (("--store-user", "hub"), "need --store"),
        (("--store", "etcd://h", "--store-user", "hub"), "a user needs a password file"),
    ],
)
def test_options_that_make_no_sense_are_refused(short_path: Path, options: Sequence[str], says: str) -> None:
    ended = fedgate(short_path, "hub", *options)
    assert ended.returncode == 2
    assert says in ended.stderr
