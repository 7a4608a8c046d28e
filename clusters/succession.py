"""How one issuing CA follows another on an agent's disk, so that a crash at any moment loses nothing.

    next.key        the key of the one to come: made first, so that it is asked for under the same key again
    next.pem        its certificate and the hub CA's, once the hub has given them
    retiring.json   those before, whose certificates alone are kept while something they signed is valid

When the next one takes the place of the active one, key, certificate and `retiring.json` are replaced
together. What is left of the next one then is recognised by its key, and removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509

from clusters.admission import Instant
from clusters.decoding import UNDECODABLE
from clusters.identity import (
    CHAIN_FILE,
    KEY_FILE,
    NEXT_CHAIN_FILE,
    NEXT_KEY_FILE,
    RETIRING_FILE,
    ClusterIdentity,
)
from pki import keystore
from pki.authority import Authority, from_pem, to_pem
from pki.errors import PkiError
from pki.signer import KeySigner


@dataclass(frozen=True, slots=True)
class Successor:
    """The issuing CA to come: its key, and its chain once the hub has certified it."""

    signer: KeySigner
    chain: tuple[x509.Certificate, ...] = ()


class Retiring(msgspec.Struct, frozen=True):
    """An issuing CA that signs no more, PEM, and when the last of what it signed ends."""

    certificate: str
    until: Instant


def load_successor(state: Path, active: ClusterIdentity) -> Successor | None:
    """The successor in *state*, if there is one; remains of a change and what cannot be read are removed."""
    try:
        signer = KeySigner.from_pem(active.seal.read(state / NEXT_KEY_FILE))
        if signer.public_key() == active.signer.public_key():
            drop_successor(state)
            return None
        chain = _chain_for(signer, state / NEXT_CHAIN_FILE)
    except FileNotFoundError:
        return None
    except PkiError:
        drop_successor(state)
        return None
    return Successor(signer, chain)


def begin(state: Path, signer: KeySigner, closed: bytes, retiring: Iterable[Retiring]) -> Successor:
    """Keep the key of the next issuing CA, before anybody is asked to certify it.

    *closed* is the key as it goes to the disk: sealed, if keys are. A next one whose place it takes is among
    the *retiring*.
    """
    (state / NEXT_CHAIN_FILE).unlink(missing_ok=True)
    keystore.write_all(state, {NEXT_KEY_FILE: closed, RETIRING_FILE: _encoded(retiring)})
    return Successor(signer)


def certified(state: Path, successor: Successor, chain: tuple[x509.Certificate, ...]) -> Successor:
    """Keep what the hub gave for its key."""
    keystore.write(state / NEXT_CHAIN_FILE, to_pem(chain).encode())
    return replace(successor, chain=chain)


def drop_successor(state: Path) -> None:
    """Forget the next issuing CA; its certificate first, as it is nothing without the key."""
    for name in (NEXT_CHAIN_FILE, NEXT_KEY_FILE):
        (state / name).unlink(missing_ok=True)


def switch(
    state: Path, active: ClusterIdentity, successor: Successor, retiring: Iterable[Retiring]
) -> ClusterIdentity:
    """Put *successor* in the place of the *active* issuing CA, whose key is gone then."""
    first, *above = successor.chain
    authority = Authority(first, tuple(above), successor.signer)
    files = {
        KEY_FILE: keystore.read(state / NEXT_KEY_FILE),  # as it is: sealing it once more would take 0.4 s
        CHAIN_FILE: to_pem(successor.chain).encode(),
        RETIRING_FILE: _encoded(retiring),
    }
    keystore.write_all(state, files)
    drop_successor(state)
    return replace(active, authority=authority, signer=successor.signer)


def load_retiring(state: Path) -> tuple[Retiring, ...]:
    """The issuing CAs that sign no more and still vouch for something."""
    try:
        return msgspec.json.decode(keystore.read(state / RETIRING_FILE), type=tuple[Retiring, ...])
    except (FileNotFoundError, PkiError, *UNDECODABLE):
        return ()  # their anchors stay at the hub until they end, which is no harm


def save_retiring(state: Path, retiring: Iterable[Retiring]) -> None:
    """Keep *retiring* as all there are."""
    keystore.write(state / RETIRING_FILE, _encoded(retiring))


def retiring_from(active: ClusterIdentity, last_end: datetime) -> Retiring:
    """What the *active* issuing CA becomes; nothing that it signed is valid after *last_end*."""
    certificate = active.authority.certificate
    return Retiring(to_pem([certificate]), min(last_end, certificate.not_valid_after_utc))


def _encoded(retiring: Iterable[Retiring]) -> bytes:
    return msgspec.json.encode(tuple(retiring))


def _chain_for(signer: KeySigner, path: Path) -> tuple[x509.Certificate, ...]:
    """The chain at *path*, or nothing if there is none, or one of another key."""
    try:
        chain = from_pem(keystore.read(path))
    except FileNotFoundError:
        return ()
    return chain if chain[0].public_key() == signer.public_key() else ()
