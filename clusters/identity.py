"""Who this cluster is, as its agent keeps it on disk from the day it joins.

    agent.json      the membership
    issuing.key     the key of the issuing CA; made here, and never anywhere else
    issuing.pem     its certificate, followed by the hub CA's
    roots.pem       the federation's roots
    next.key, next.pem, retiring.json    while the issuing CA changes: see `clusters.succession`

All are 0600, and all are replaced together or not at all. The key is sealed if the agent has a passphrase.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from clusters.decoding import UNDECODABLE
from clusters.errors import IdentityUnusable, InvalidName, InvalidValue
from clusters.model import VipRange
from clusters.names import ClusterName, cluster_name
from pki import keystore
from pki.authority import Authority, from_pem, to_pem
from pki.errors import PkiError
from pki.sealing import UNSEALED, Seal
from pki.signer import KeySigner

MEMBERSHIP_FILE: Final = "agent.json"
KEY_FILE: Final = "issuing.key"
CHAIN_FILE: Final = "issuing.pem"
ROOTS_FILE: Final = "roots.pem"
NEXT_KEY_FILE: Final = "next.key"
NEXT_CHAIN_FILE: Final = "next.pem"
RETIRING_FILE: Final = "retiring.json"

_SUCCESSION: Final = (NEXT_KEY_FILE, NEXT_CHAIN_FILE, RETIRING_FILE)
_SCHEMA: Final = 1
_JOIN_FIRST: Final = "join first: `fedgate token create CLUSTER` on the hub prints the line to paste here"
_JOIN_AGAIN: Final = "put the file back from a backup, or join again with --rejoin"


@dataclass(frozen=True, slots=True)
class Membership:
    """What a cluster was told when it joined: who it is, and where the hub's sync stream is.

    `join` is where it joined: there it is let in again when its certificates have ended.
    """

    cluster: ClusterName
    domain: str
    trust_domain: str
    sync: tuple[str, ...]
    vip_ranges: tuple[VipRange, ...]
    join: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """A membership, with the authority that lets the cluster name its own, and the roots above it."""

    membership: Membership
    authority: Authority
    signer: KeySigner
    roots: tuple[x509.Certificate, ...]
    seal: Seal = UNSEALED

    def save(self, state: Path) -> None:
        """Make this the identity in *state*; what was under way for another one there is over."""
        for name in _SUCCESSION:
            (state / name).unlink(missing_ok=True)
        keystore.write_all(
            state,
            {
                KEY_FILE: self.seal.closed(self.signer.private_pem()),
                CHAIN_FILE: to_pem(self.authority.chain).encode(),
                ROOTS_FILE: to_pem(self.roots).encode(),
                MEMBERSHIP_FILE: _encode(self.membership),
            },
        )


def load_identity(state: Path, seal: Seal = UNSEALED) -> ClusterIdentity:
    """Read the identity in *state*, whose key *seal* opens."""
    membership = load_membership(state)
    try:
        signer = KeySigner.from_pem(seal.read(state / KEY_FILE))
        certificate, *above = from_pem(keystore.read(state / CHAIN_FILE))
        roots = from_pem(keystore.read(state / ROOTS_FILE))
        authority = Authority(certificate, tuple(above), signer)
    except FileNotFoundError as error:
        raise IdentityUnusable(state, f"{Path(error.filename).name} is missing", _JOIN_AGAIN) from error
    except PkiError as error:
        raise IdentityUnusable(state, str(error), error.hint or _JOIN_AGAIN) from error
    return ClusterIdentity(membership, authority, signer, roots, seal)


def load_membership(state: Path) -> Membership:
    """Read which cluster *state* belongs to, without touching a key."""
    keystore.recover(state)
    try:
        content = keystore.read(state / MEMBERSHIP_FILE)
        refuse_newer(state, content, known=_SCHEMA)
        return _membership(msgspec.json.decode(content, type=_Record))
    except FileNotFoundError as error:
        raise IdentityUnusable(state, "no cluster has joined with this state", _JOIN_FIRST) from error
    except PkiError as error:
        raise IdentityUnusable(state, str(error), error.hint) from error
    except (*UNDECODABLE, InvalidName, InvalidValue) as error:
        raise IdentityUnusable(state, f"{MEMBERSHIP_FILE}: {error}", _JOIN_AGAIN) from error


def has_joined(state: Path) -> bool:
    """Whether some cluster joined with *state*, be it usable or not."""
    keystore.recover(state)
    return (state / MEMBERSHIP_FILE).exists()


def forget_identity(state: Path) -> None:
    """Take the identity out of *state*; the membership first, so that a crash leaves nobody half a member."""
    for name in (MEMBERSHIP_FILE, KEY_FILE, CHAIN_FILE, ROOTS_FILE, *_SUCCESSION):
        (state / name).unlink(missing_ok=True)


def refuse_newer(state: Path, content: bytes, *, known: int) -> None:
    """Refuse a JSON record of *state* whose `schema` is of a version that is not *known* here."""
    schema = msgspec.json.decode(content, type=_Schema).schema
    if schema > known:
        reason = f"written by a newer fedgate (schema {schema}; this one knows {known})"
        raise IdentityUnusable(state, reason, "run that version, or a newer one")


class _Record(msgspec.Struct, frozen=True):
    """`agent.json`. New fields get a default; a change that older versions must not miss, a new schema."""

    schema: int
    cluster: str
    domain: str
    trust_domain: str
    sync: tuple[str, ...]
    vip_ranges: tuple[str, ...]
    join: tuple[str, ...] = ()


class _Schema(msgspec.Struct, frozen=True):
    schema: int


def _encode(membership: Membership) -> bytes:
    record = _Record(
        _SCHEMA,
        membership.cluster,
        membership.domain,
        membership.trust_domain,
        membership.sync,
        tuple(r.cidr for r in membership.vip_ranges),
        membership.join,
    )
    return msgspec.json.format(msgspec.json.encode(record)) + b"\n"


def _membership(record: _Record) -> Membership:
    return Membership(
        cluster_name(record.cluster),
        record.domain,
        record.trust_domain,
        record.sync,
        tuple(VipRange(cidr) for cidr in record.vip_ranges),
        record.join,
    )
