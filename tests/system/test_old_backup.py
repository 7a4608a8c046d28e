"""A hub that goes on from an old backup: what it does not know is not taken for gone."""

import subprocess
from pathlib import Path

import pytest

from federation.commands.answers import records
from federation.demo.fleet import FEDGATE, environment
from tests.system.processes import Federation, federation

pytestmark = pytest.mark.slow

SERVICES = 6
NONE = "services: []\n"
SIX = "services:\n" + "".join(
    f"- {{namespace: shop, name: s{n}, ports: [8080], endpoints: [192.0.2.{n + 1}]}}\n"
    for n in range(SERVICES)
)


def fedgate(*words: str) -> None:
    subprocess.run([*FEDGATE, *words], env=environment(), check=True, timeout=60, capture_output=True)


def imports(fed: Federation) -> object:
    """How many services cloud knows."""
    return fed.agent("cloud").get("/v1/status")["imports"]


def doubted(fed: Federation) -> bool:
    """Whether cloud says that it does not believe its hub."""
    checks = records(fed.agent("cloud").get("/v1/check"), "checks")
    return any(check["name"] == "imports" for check in checks)


def test_services_that_an_old_backup_does_not_have_stay_known_until_the_hub_hears_of_them_again(
    short_path: Path,
) -> None:
    passphrase, saved = short_path / "passphrase", short_path / "saved"
    passphrase.touch(mode=0o600)
    passphrase.write_text("correct horse")
    source, nothing = short_path / "six.yaml", short_path / "nothing.yaml"
    source.write_text(NONE)
    nothing.write_text(NONE)
    with federation(short_path / "fed") as fed:
        hub = fed.start_hub("--passphrase-file", str(passphrase))
        onprem = fed.join("onprem", "--source", str(source))
        fed.join("cloud", "--source", str(nothing))
        fedgate("backup", str(saved), "--state", str(fed.hub_state))
        source.write_text(SIX)
        fed.until("cloud knows the services", lambda: imports(fed) == SERVICES)
        onprem.stop()
        hub.stop()
        fedgate("restore", str(saved), "--state", str(fed.hub_state), "--replace")
        fed.start_hub("--passphrase-file", str(passphrase))
        fed.until("cloud doubts its hub", lambda: doubted(fed))
        assert imports(fed) == SERVICES
        fed.run_agent("onprem", "agent", "--source", str(source))
        fed.until("the hub has told of all again", lambda: not doubted(fed))
        assert imports(fed) == SERVICES
