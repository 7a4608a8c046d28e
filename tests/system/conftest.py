"""The worlds that tests of the full system share: made once for all tests of a worker that ask for one."""

from collections.abc import Iterator

import pytest

from tests.system.federation_lab import Federation, federation


@pytest.fixture(scope="session")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation whose programs stay up: for tests that call, and edit sources."""
    with federation(tmp_path_factory.mktemp("fed")) as built:
        yield built


@pytest.fixture(scope="session")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation whose programs are killed and started again; each test leaves all of them running."""
    with federation(tmp_path_factory.mktemp("frail")) as built:
        yield built
