"""Options of the whole test suite, and what its markers need of this machine."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import requirements


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files; read the difference like code"
    )


def pytest_configure() -> None:
    """Let what tests start hear Ctrl-C: a shell has its background ignore it, and they would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    """A command that a test has run here sends every later line to a stream that is closed by then."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder of one's own with a path that leaves room for the names of unix sockets: 107 bytes are all."""
    with TemporaryDirectory(prefix="fg-") as folder:
        yield Path(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail where FEDGATE_REQUIRE says so, before any fixture begins."""
    if item.get_closest_marker("envoy"):
        requirements.envoy()
    if item.get_closest_marker("netns"):
        requirements.namespaces()
