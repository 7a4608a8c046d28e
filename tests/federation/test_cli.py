"""The command as a whole: what it imports, what it suggests, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from federation import cli
from tests.federation.conftest import Fedgate
from tests.federation.fake_admin import FakeAdmin

HEAVY = ("grpc", "aiohttp", "cryptography", "google.protobuf", "msgspec", "yaml", "asyncio")
COMMANDS = [name for section in cli.SECTIONS.values() for name in section]


def imported_by(*arguments: str) -> set[str]:
    """The heavy modules that are loaded in the end, in a process of its own."""
    script = (
        "import sys; from federation.cli import main; main(sys.argv[1:]);"
        f"print('LOADED', *(m for m in {HEAVY!r} if m in sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.rpartition("LOADED")[2].split())


def test_help_imports_nothing_heavy() -> None:
    assert imported_by("--help") == set()


def test_asking_the_admin_api_imports_nothing_heavy(hub: FakeAdmin) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": []}
    assert imported_by("clusters", "list", "--hub", str(hub.path)) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_help_is_the_first_sentence_of_the_command_itself(name: str) -> None:
    command = cli.fedgate.get_command(click.Context(cli.fedgate), name)
    assert command is not None
    entry = next(entries[name] for entries in cli.SECTIONS.values() if name in entries)
    assert (command.help or "").split("\n\n")[0] == entry[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_subcommand_has_help(name: str, fedgate: Fedgate) -> None:
    ended = fedgate(name, "--help")
    assert ended.code == 0
    for subcommand in re.findall(r"^  (\w+)  ", ended.out.partition("Commands:")[2], re.MULTILINE):
        assert fedgate(name, subcommand, "--help").code == 0


def test_a_mistyped_command_is_answered_by_the_one_that_was_meant(fedgate: Fedgate) -> None:
    ended = fedgate("clusterz")
    assert ended.code == 2
    assert ended.err == "error: No such command 'clusterz'.\nhint: did you mean clusters?\n"


def test_a_mistyped_option_is_answered_by_the_one_that_was_meant(fedgate: Fedgate) -> None:
    ended = fedgate("clusters", "list", "--timeuot", "3s")
    assert ended.code == 2
    assert "did you mean --timeout?" in ended.err


def test_a_command_in_the_singular_is_the_same_command(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": [{"name": "west"}]}
    assert fedgate("cluster", "-o", "name").out == "west\n"


def test_a_token_that_was_pasted_where_a_command_goes_is_not_repeated(fedgate: Fedgate) -> None:
    ended = fedgate("fgj1.c2VjcmV0c2VjcmV0")
    assert ended.code == 2
    assert "c2VjcmV0" not in ended.err + ended.out
    assert "fgj1.…" in ended.err


def test_without_a_command_it_says_which_there_are(fedgate: Fedgate) -> None:
    ended = fedgate()
    assert ended.code == 2
    assert "clusters" in ended.err


def test_the_version_is_that_of_the_installed_package(fedgate: Fedgate) -> None:
    assert re.fullmatch(r"fedgate \d+\.\d+\.\d+\n", fedgate("--version").out)


def test_a_bad_duration_is_a_usage_error_that_says_how_to_write_one(fedgate: Fedgate) -> None:
    ended = fedgate("clusters", "list", "--timeout", "soon")
    assert ended.code == 2
    assert "500ms, 90s, 15m" in ended.err


def test_a_reader_that_has_read_enough_ends_the_command_in_silence(hub: FakeAdmin) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": [{"name": f"c{i}"} for i in range(20000)]}
    reads, writes = os.pipe()
    os.close(reads)
    ran = subprocess.run(
        [sys.executable, "-m", "federation", "clusters", "--hub", str(hub.path)],
        stdout=writes,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writes)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_ctrl_c_ends_a_command_that_waits_for_an_answer_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as silent_hub:
        silent_hub.bind(str(path))
        silent_hub.listen()
        waiting = subprocess.Popen(
            [sys.executable, "-m", "federation", "clusters", "list", "--hub", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with waiting, silent_hub.accept()[0]:
            waiting.send_signal(signal.SIGINT)
            assert waiting.communicate(timeout=30) == (b"", b"")
    assert waiting.returncode == 130


@pytest.mark.parametrize(
    ("shell", "sign"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete ")]
)
def test_completion_prints_what_the_shell_loads(shell: str, sign: str, fedgate: Fedgate) -> None:
    ended = fedgate("completion", shell)
    assert ended.code == 0
    assert sign in ended.out
