"""Options of the whole test suite, and what its markers need of this machine."""

import pytest

from tests import requirements


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files; read the difference like code"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail where FEDGATE_REQUIRE says so, before any fixture begins."""
    if item.get_closest_marker("envoy"):
        requirements.envoy()
    if item.get_closest_marker("netns"):
        requirements.namespaces()
