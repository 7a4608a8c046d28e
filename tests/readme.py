"""README taken apart: its blocks by language, so that tests can run what it promises."""

import re
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    """The blocks in *language*, in order."""
    return [body for found, body in _BLOCK.findall(README.read_text()) if found == language]


def commands() -> list[str]:
    """Every line that README tells a reader to type, without the prompt."""
    lines = (line for block in blocks("console") for line in block.splitlines())
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def numberless(text: str) -> list[str]:
    """The lines of *text* with every number made the same, and without the spaces that numbers push about."""
    return [re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?", "0", line)).strip() for line in text.splitlines()]


def links(page: Path) -> list[tuple[str, str]]:
    """Text and target of each link of *page* to a file of the project."""
    found = re.findall(r"\[([^]]+)\]\(([^)#]+)", page.read_text())
    return [(text, target) for text, target in found if "://" not in target]
