"""README promises only what there is."""

import shlex
from pathlib import Path

import click
import pytest

from clusters.names import ServiceName
from clusters.sources.offer import parse_offer
from federation.cli import fedgate as root
from tests import readme

ROOT = readme.README.parent


def fedgate_lines() -> list[str]:
    """What README has `fedgate` called with."""
    called = (line.rpartition("| ")[2].removesuffix(" &") for line in readme.commands())
    return [line.removeprefix("fedgate ") for line in called if line.startswith("fedgate ")]


def test_readme_has_commands_at_all() -> None:
    assert len(fedgate_lines()) >= 5


@pytest.mark.parametrize("line", fedgate_lines())
def test_a_fedgate_command_of_readme_is_one(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("west.yaml").write_text(readme.blocks("yaml")[0])
    command: click.Command = root
    words = shlex.split(line)
    context = click.Context(command)
    while isinstance(command, click.Group) and words:
        named = command.get_command(context, words[0])
        assert named is not None, words[0]
        command, words = named, words[1:]
    command.make_context(command.name, words, parent=context)


@pytest.mark.parametrize("target", [line for line in readme.commands() if line.startswith("make ")])
def test_a_make_target_of_readme_is_one(target: str) -> None:
    assert f"\n{target.removeprefix('make ')}:" in (ROOT / "Makefile").read_text()


def test_the_source_file_of_readme_is_one() -> None:
    offer = parse_offer(readme.blocks("yaml")[0], "west.yaml")
    assert set(offer.services) == {ServiceName("shop", "catalog")}
    assert offer.workloads
    assert offer.gateways


@pytest.mark.parametrize("page", [readme.README, *sorted(ROOT.glob("docs/**/*.md"))])
def test_a_page_links_to_what_is_there(page: Path) -> None:
    for _, target in readme.links(page):
        assert (page.parent / target).exists(), target
