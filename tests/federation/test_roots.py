"""The roots that an agent trusts: what it takes from the hub, and what is on its disk then."""

from pathlib import Path

import pytest

from clusters.identity import ROOTS_FILE
from clusters.model import Federation
from federation.errors import ChangesRejected, FederationError
from federation.roots import Roots, kept_in
from pki.authority import from_pem, to_pem
from pki.bundle import fingerprint
from pki.errors import KeystoreError
from pki.succession import cross_certificate
from tests import builders
from tests.authorities import NOW, Authorities

OLD, NEW = Authorities(), Authorities()
CROSS = to_pem([cross_certificate(NEW.root.certificate, OLD.root, NOW)])


def trusting(state: Path, *roots: Authorities, member_of: Authorities = OLD) -> Roots:
    """An agent that trusts *roots*, with an issuing CA by *member_of*."""
    certificates = tuple(each.root.certificate for each in roots)
    return Roots(certificates, lambda: member_of.issuing_ca("west").chain, kept_in(state))


def telling(*roots: Authorities, crosses: tuple[str, ...] = ()) -> Federation:
    federation = builders.federation(roots=tuple(each.root_pem for each in roots))
    return Federation(federation.domain, federation.roots, federation.vip_ranges, crosses)


async def test_what_is_taken_is_on_the_disk(tmp_path: Path) -> None:
    roots = trusting(tmp_path, OLD)
    await roots.follow(telling(OLD, NEW, crosses=(CROSS,)), NOW)
    wanted = (OLD.root.certificate, NEW.root.certificate)
    assert roots.certificates == wanted == from_pem((tmp_path / ROOTS_FILE).read_bytes())
    assert roots.named(fingerprint(NEW.root.certificate)) == NEW.root.certificate


async def test_what_is_held_already_is_not_written_again(tmp_path: Path) -> None:
    roots = trusting(tmp_path, OLD)
    await roots.follow(telling(OLD), NOW)
    assert not (tmp_path / ROOTS_FILE).exists()


async def test_the_old_root_goes_when_it_is_told_no_more(tmp_path: Path) -> None:
    roots = trusting(tmp_path, OLD, NEW, member_of=NEW)
    await roots.follow(telling(NEW), NOW)
    assert roots.pem == NEW.root_pem


async def test_the_root_above_our_own_issuing_ca_does_not_go(tmp_path: Path) -> None:
    roots = trusting(tmp_path, OLD, NEW)
    with pytest.raises(ChangesRejected, match="none of them is that of our own issuing CA"):
        await roots.follow(telling(NEW), NOW)
    assert roots.pem == OLD.root_pem + NEW.root_pem


async def test_a_root_that_was_taken_back_is_dropped(tmp_path: Path) -> None:
    roots = trusting(tmp_path, OLD, NEW)
    await roots.follow(telling(OLD), NOW)
    assert roots.pem == OLD.root_pem


async def test_roots_that_cannot_be_kept_do_not_count() -> None:
    def fail(_: str) -> None:
        raise KeystoreError("no space left on device")

    roots = Roots((OLD.root.certificate,), lambda: OLD.hub_ca.chain, fail)
    with pytest.raises(FederationError, match="no space"):
        await roots.follow(telling(OLD, NEW, crosses=(CROSS,)), NOW)
    assert roots.pem == OLD.root_pem
