"""Golden files: what a translation is expected to say, as YAML beside the tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

Golden: TypeAlias = Callable[[str, list[Message]], None]

_FOLDER = Path(__file__).with_name("golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare messages with `golden/NAME.yaml`, or write it with `--update-golden`."""

    def compare(name: str, messages: list[Message]) -> None:
        path = _FOLDER / f"{name}.yaml"
        said = [json.loads(MessageToJson(message, preserving_proto_field_name=True)) for message in messages]
        text = yaml.safe_dump_all(said, sort_keys=True, width=110)
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no {path.name} yet: run pytest --update-golden, and read it"
        assert text == path.read_text()

    return compare
