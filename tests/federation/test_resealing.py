"""Another passphrase for the keys of a hub or an agent, and what each start says to a wrong one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clusters import keyring
from clusters.errors import IdentityUnusable
from clusters.identity import ClusterIdentity, Membership, load_identity
from clusters.names import ClusterName
from federation.errors import NotFound
from federation.hub_authority import UNSEAL_KEY, open_or_create
from federation.resealing import sealed_anew
from pki import keystore, profile
from pki.errors import CannotUnseal, StateBusy
from pki.jwt_keys import SigningKey
from pki.sealing import Seal
from pki.signer import KeySigner
from tests.authorities import NOW, Authorities

OLD, NEW = b"open sesame", b"shut sesame"
ONPREM = "onprem.fed.example"


def opened(state: Path, passphrase: bytes | None) -> tuple[str, ...]:
    return open_or_create(state, "fed.example", passphrase, NOW, lambda: None).pins


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """The state of an agent, its key under `OLD`."""
    pki, signer = Authorities(), KeySigner.generate()
    authority = pki.hub_ca.subordinate(profile.issuing_ca(ONPREM), signer, NOW)
    membership = Membership(ClusterName("onprem"), "fed.example", ONPREM, ("192.0.2.1:7444",), ())
    ClusterIdentity(membership, authority, signer, (pki.root.certificate,), Seal(OLD)).save(tmp_path)
    return tmp_path


def test_a_hubs_keys_go_from_its_own_passphrase_to_the_operators_and_back(tmp_path: Path) -> None:
    pins = opened(tmp_path, None)
    assert sealed_anew(tmp_path, None, NEW) == ("hub-ca.key.sealed", "root.key.sealed")
    assert not (tmp_path / UNSEAL_KEY).exists()
    assert opened(tmp_path, NEW) == pins
    with pytest.raises(CannotUnseal):
        sealed_anew(tmp_path, OLD, NEW)
    sealed_anew(tmp_path, NEW, None)
    assert opened(tmp_path, None) == pins


def test_an_agents_key_is_sealed_opened_and_left_open(agent: Path) -> None:
    key = load_identity(agent, Seal(OLD)).signer.public_key()
    keyring.save(agent, (jwt := SigningKey.new(NOW),), Seal(OLD))
    assert sealed_anew(agent, OLD, NEW) == ("issuing.key", "jwt-keys.json")
    assert keyring.load(agent, Seal(NEW))[0].key_id == jwt.key_id
    assert load_identity(agent, Seal(NEW)).signer.public_key() == key
    for seal in (Seal(OLD), Seal()):
        with pytest.raises(IdentityUnusable, match=r"cannot unseal .*issuing\.key"):
            load_identity(agent, seal)
    sealed_anew(agent, NEW, None)
    assert load_identity(agent).signer.public_key() == key


def test_nothing_is_sealed_anew_where_somebody_runs_or_nothing_is(agent: Path, tmp_path: Path) -> None:
    with keystore.exclusive(agent), pytest.raises(StateBusy):
        sealed_anew(agent, OLD, NEW)
    with pytest.raises(NotFound):
        sealed_anew(tmp_path / "empty", OLD, NEW)


def started(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A hub or agent that ends at once, because something is wrong."""
    argv = [sys.executable, "-m", "federation", *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def test_a_hub_that_is_given_a_wrong_passphrase_says_so_in_two_lines(tmp_path: Path) -> None:
    state = tmp_path / "hub"
    state.mkdir(mode=0o700)
    opened(state, OLD)
    listen = ("--listen", "127.0.0.1:0", "--sync-listen", "127.0.0.1:0", "--advertise", "127.0.0.1")
    ended = started("hub", "--state", str(state), *listen, FEDGATE_PASSPHRASE="wrong")
    assert ended.returncode == 1
    error, hint = [line for line in ended.stderr.splitlines() if line.startswith(("error", "hint"))]
    assert error.startswith("error: cannot unseal")
    assert "fedgate seal" in hint
    assert "Traceback" not in ended.stderr


def test_an_agent_whose_secrets_are_exposed_does_not_start(agent: Path) -> None:
    (agent / "issuing.key").chmod(0o644)
    ended = started("agent", "--state", str(agent), FEDGATE_PASSPHRASE=OLD.decode())
    assert ended.returncode == 4
    assert f"chmod 600 {agent / 'issuing.key'}" in ended.stderr
