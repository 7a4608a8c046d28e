"""How each kind of error is shown, and what the command ends with."""

import pytest

from clusters.errors import ClusterError, InvalidName, JoinRefused
from federation.errors import ClusterExists, Exit
from federation.failure import Failure, describe
from gateway.errors import EnvoyNotFound


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ClusterExists("west"), Exit.CONFLICT),
        (JoinRefused("unreachable", "no hub"), Exit.UNREACHABLE),
        (JoinRefused("cluster-exists", "there is one"), Exit.CONFLICT),
        (JoinRefused("token-used", "used"), Exit.FORBIDDEN),
        (InvalidName("cluster", "X", "no"), Exit.USAGE),
        (ClusterError("other"), Exit.CHECK_FAILED),
        (EnvoyNotFound("nowhere"), Exit.CHECK_FAILED),
        (PermissionError(13, "Permission denied", "/state"), Exit.FORBIDDEN),
        (FileNotFoundError(2, "No such file or directory", "/state"), Exit.CHECK_FAILED),
        (TimeoutError(), Exit.TIMED_OUT),
    ],
)
def test_an_error_has_the_exit_code_of_its_kind(error: Exception, exit_code: Exit) -> None:
    failure = describe(error)
    assert failure is not None
    assert failure.exit_code == exit_code


def test_the_hint_has_a_line_of_its_own_and_an_os_error_names_its_file() -> None:
    assert describe(EnvoyNotFound("x")) == Failure("no Envoy found: x", EnvoyNotFound.hint, Exit.CHECK_FAILED)
    denied = describe(PermissionError(13, "Permission denied", "/state"))
    assert denied is not None
    assert denied.text() == "error: /state: Permission denied\nhint: run this as a user who may"


def test_a_group_of_foreseen_errors_is_shown_as_its_first() -> None:
    group = ExceptionGroup("tasks", [ExceptionGroup("more", [ClusterExists("west")]), TimeoutError()])
    failure = describe(group)
    assert failure is not None
    assert failure.exit_code == Exit.CONFLICT


def test_a_bug_is_not_dressed_up_not_even_in_a_group() -> None:
    assert describe(KeyError("x")) is None
    assert describe(ExceptionGroup("tasks", [ClusterExists("west"), KeyError("x")])) is None


def test_tokens_and_control_characters_never_reach_the_terminal() -> None:
    shown = Failure("got fgj1.AbC-_9 \x1b[2J", "use fgg1.xyz", 1).text()
    assert shown == "error: got fgj1.…  [2J\nhint: use fgg1.…"
