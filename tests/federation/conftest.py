"""A machine of its own for each command: an empty home, and a hub and an agent that answer as told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from federation.cli import main
from tests.federation.fake_admin import FakeAdmin


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Fedgate = Callable[..., Ended]


@pytest.fixture
def fedgate_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HUB", "AGENT", "TOKEN", "TOKEN_FILE", "ADMIN_TOKEN_FILE", "CA_FILE", "SOURCE"):
        monkeypatch.delenv(f"FEDGATE_{name}", raising=False)
    monkeypatch.setenv("FEDGATE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def fedgate(fedgate_home: Path, capsys: pytest.CaptureFixture[str]) -> Fedgate:
    """The command, in this process; its stdout is no terminal."""

    def run(*arguments: str) -> Ended:
        code = main(arguments)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def hub(fedgate_home: Path) -> Iterator[FakeAdmin]:
    with FakeAdmin(fedgate_home / "hub" / "admin.sock") as fake:
        yield fake


@pytest.fixture
def agent(fedgate_home: Path) -> Iterator[FakeAdmin]:
    with FakeAdmin(fedgate_home / "agent" / "admin.sock") as fake:
        yield fake
