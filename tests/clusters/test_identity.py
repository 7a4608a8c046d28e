"""What a join left on the disk, read again: whole, damaged, exposed, or from the future."""

from pathlib import Path

import pytest

from clusters.errors import IdentityUnusable
from clusters.identity import (
    ClusterIdentity,
    Membership,
    forget_identity,
    has_joined,
    load_identity,
    load_membership,
)
from clusters.model import VipRange
from clusters.names import ClusterName
from pki import keystore
from pki.signer import KeySigner
from tests.authorities import Authorities

FED = Authorities()
ISSUING = FED.issuing_ca("west")
MEMBERSHIP = Membership(
    ClusterName("west"), "fed.example", "west.fed.example", ("hub:7444",), (VipRange("241.0.0.0/16"),)
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state of a cluster that joined."""
    assert isinstance(ISSUING.signer, KeySigner)
    ClusterIdentity(MEMBERSHIP, ISSUING, ISSUING.signer, (FED.root.certificate,)).save(tmp_path)
    return tmp_path


def test_what_was_saved_is_loaded(state: Path) -> None:
    identity = load_identity(state)
    assert identity.membership == MEMBERSHIP
    assert identity.authority.chain == ISSUING.chain
    assert identity.signer.private_pem() == keystore.read(state / "issuing.key")
    assert identity.roots == (FED.root.certificate,)


def test_a_directory_without_an_identity_says_how_to_get_one(tmp_path: Path) -> None:
    assert not has_joined(tmp_path)
    for load in (load_identity, load_membership):
        with pytest.raises(IdentityUnusable, match="no cluster has joined") as caught:
            load(tmp_path)
        assert "fedgate token create" in caught.value.hint


@pytest.mark.parametrize("name", ["issuing.key", "issuing.pem", "roots.pem"])
def test_a_file_that_is_missing_is_named(name: str, state: Path) -> None:
    (state / name).unlink()
    with pytest.raises(IdentityUnusable, match=f"{name} is missing"):
        load_identity(state)


@pytest.mark.parametrize("name", ["agent.json", "issuing.key", "issuing.pem", "roots.pem"])
def test_a_file_that_is_damaged_is_told(name: str, state: Path) -> None:
    keystore.write(state / name, b"{")
    with pytest.raises(IdentityUnusable) as caught:
        load_identity(state)
    assert "--rejoin" in caught.value.hint


def test_a_key_that_others_may_read_is_not_used(state: Path) -> None:
    (state / "issuing.key").chmod(0o644)
    with pytest.raises(IdentityUnusable, match="others may use it") as caught:
        load_identity(state)
    assert caught.value.hint.startswith("chmod 600")


def test_a_key_that_does_not_go_with_its_certificate_is_told(state: Path) -> None:
    keystore.write(state / "issuing.key", KeySigner.generate().private_pem())
    with pytest.raises(IdentityUnusable, match="its key is not the signer's"):
        load_identity(state)


def test_a_state_from_a_newer_version_is_refused_clearly(state: Path) -> None:
    keystore.write(state / "agent.json", b'{"schema": 7, "all": "different"}')
    with pytest.raises(IdentityUnusable, match=r"by a newer fedgate \(schema 7; this one knows 1\)"):
        load_identity(state)


def test_a_membership_whose_values_make_no_sense_is_told(state: Path) -> None:
    content = (state / "agent.json").read_bytes().replace(b"241.0.0.0/16", b"241.0.0.0/99")
    keystore.write(state / "agent.json", content)
    with pytest.raises(IdentityUnusable, match=r"agent\.json: VIP range"):
        load_membership(state)


def test_nothing_is_left_of_an_identity_that_is_forgotten(state: Path) -> None:
    forget_identity(state)
    assert not has_joined(state)
    assert list(state.iterdir()) == []


def test_a_save_that_was_cut_short_is_finished_by_the_next_reader(state: Path) -> None:
    successor = Authorities().issuing_ca("west")
    assert isinstance(successor.signer, KeySigner)
    elsewhere = state / "elsewhere"
    elsewhere.mkdir()
    ClusterIdentity(MEMBERSHIP, successor, successor.signer, (FED.root.certificate,)).save(elsewhere)
    for name in ("issuing.key", "issuing.pem"):
        (elsewhere / name).rename(state / f".{name}.new")
    keystore.write(state / ".write-all", b'["issuing.key", "issuing.pem"]')
    assert load_identity(state).authority.certificate == successor.certificate
