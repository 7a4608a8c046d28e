"""The files of a rollover: where each of them is, and that no death leaves them anywhere else."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from federation.errors import RolloverLost
from federation.hub_authority import HUB_CA, ROOT, ROOT_KEY, Vault, open_or_create
from federation.registry.records import RolloverRecord
from federation.rollover.files import arrange, settle
from federation.rollover.phases import Phase
from federation.rollover.preparing import Given, prepare
from pki import keystore
from pki.authority import Authority, from_pem, new_root, to_pem
from pki.bundle import root_of
from pki.errors import CertificateRefused
from pki.signer import KeySigner
from tests.authorities import NOW
from tests.builders import DOMAIN
from tests.federation.rollover import dying_hub


class KeptElsewhere:
    """A key that signs for us and is not given to us."""

    def __init__(self, key: KeySigner) -> None:
        self.public_key, self.sign = key.public_key, key.sign


@dataclass(frozen=True)
class Begun:
    """A state folder in which a rollover has been prepared, and that rollover."""

    state: Path
    record: RolloverRecord

    def copy(self, to: Path) -> Vault:
        shutil.copytree(self.state, to)
        return Vault(to)

    @property
    def switched(self) -> RolloverRecord:
        return replace(self.record, phase=Phase.REISSUING)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    state = tmp_path_factory.mktemp("hub")
    open_or_create(state, DOMAIN, None, NOW, lambda: None)
    record, _ = prepare(Vault(state), Given(), DOMAIN, NOW)
    return Begun(state, record)


def files(state: Path) -> dict[str, bytes]:
    return {path.name: keystore.read(path) for path in state.iterdir()}


def test_at_first_the_old_root_signs_and_the_new_one_is_ready(begun: Begun, tmp_path: Path) -> None:
    authority = settle(begun.copy(tmp_path / "hub"), DOMAIN, begun.record, NOW)
    assert authority.roots == (begun.record.old, begun.record.new)
    assert authority.root == from_pem(begun.record.old)[0]
    assert authority.successor is not None
    assert root_of(authority.successor.hub_ca.chain, from_pem(begun.record.new)) is not None


def test_after_the_switch_the_new_root_signs_and_the_old_one_is_still_there(
    begun: Begun, tmp_path: Path
) -> None:
    authority = settle(begun.copy(tmp_path / "hub"), DOMAIN, begun.switched, NOW)
    assert authority.roots == (begun.record.old, begun.record.new)
    assert authority.root == from_pem(begun.record.new)[0]
    assert root_of(authority.hub_ca.chain, [authority.root]) is not None
    assert authority.successor is None


def test_in_the_end_nothing_of_the_old_root_is_left(begun: Begun, tmp_path: Path) -> None:
    vault = begun.copy(tmp_path / "hub")
    arrange(vault, begun.switched)
    authority = settle(vault, DOMAIN, None, NOW)
    assert authority.roots == (begun.record.new,)
    assert not [name for name in files(vault.state) if name.startswith(("old-", "next-"))]


def test_an_abort_leaves_the_files_that_were_there_before(begun: Begun, tmp_path: Path) -> None:
    vault = begun.copy(tmp_path / "hub")
    before = {name: content for name, content in files(vault.state).items() if not name.startswith("next-")}
    arrange(vault, None)
    assert files(vault.state) == before


STEPS = ("switch", "finish", "abort")


@pytest.mark.parametrize("what", STEPS)
def test_whenever_the_hub_dies_the_next_one_finishes_what_it_began(
    begun: Begun, tmp_path: Path, what: str
) -> None:
    vault = begun.copy(tmp_path / "begin")
    if what == "finish":
        arrange(vault, begun.switched)
    target = begun.switched if what == "switch" else None
    record, deaths = tmp_path / "record", tmp_path / "deaths"
    record.write_bytes(msgspec.json.encode(target))
    argv = [sys.executable, "-m", dying_hub.__name__, *map(str, (vault.state, record, deaths))]
    subprocess.run(argv, check=True, timeout=120)
    arrange(vault, target)
    wanted = files(vault.state)
    found = list(deaths.iterdir())
    assert len(found) > 4
    for state in found:
        keystore.recover(state)
        arrange(Vault(state), target)
        arrange(Vault(state), target)
        assert files(state) == wanted, f"lost by a death at step {state.name}"


def test_files_of_another_rollover_are_refused(begun: Begun, tmp_path: Path) -> None:
    stranger = to_pem([new_root(DOMAIN, KeySigner.generate(), NOW).certificate])
    with pytest.raises(RolloverLost, match=r"next-root\.pem"):
        arrange(begun.copy(tmp_path / "hub"), replace(begun.record, new=stranger))
    with pytest.raises(RolloverLost, match=r"root\.pem"):
        arrange(Vault(tmp_path / "hub"), replace(begun.switched, old=stranger, new=stranger))


def test_what_was_prepared_and_never_begun_is_replaced(begun: Begun, tmp_path: Path) -> None:
    vault = begun.copy(tmp_path / "hub")
    again, _ = prepare(vault, Given(), DOMAIN, NOW)
    assert vault.certificates("next-root.pem") == from_pem(again.new) != from_pem(begun.record.new)


def test_the_old_roots_key_does_not_stay_beside_a_root_whose_key_is_kept_elsewhere(
    begun: Begun, tmp_path: Path
) -> None:
    vault, signer = begun.copy(tmp_path / "hub"), KeySigner.generate()
    certificate = new_root(DOMAIN, signer, NOW).certificate
    record, _ = prepare(vault, Given(Authority(certificate, (), KeptElsewhere(signer))), DOMAIN, NOW)
    arrange(vault, replace(record, phase=Phase.REISSUING))
    assert vault.certificates(ROOT) == (certificate,)
    assert not vault.has(ROOT_KEY)
    assert root_of(vault.certificates(HUB_CA), [certificate]) is not None


def test_the_present_root_is_no_new_one(begun: Begun, tmp_path: Path) -> None:
    vault = begun.copy(tmp_path / "hub")
    root = Authority(vault.certificates(ROOT)[0], (), vault.signer(ROOT_KEY))
    with pytest.raises(CertificateRefused, match="it would be no other"):
        prepare(vault, Given(root), DOMAIN, NOW)
