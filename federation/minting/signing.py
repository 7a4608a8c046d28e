"""Signing many SVIDs: what a worker does, and what it is told. Pure, but for the random serial numbers."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import msgspec

from pki.authority import Authority, describe, from_pem, to_pem
from pki.csr import verify_csr
from pki.errors import CannotIssue, CsrRefused, InvalidSpiffeId, PkiError
from pki.profile import svid
from pki.signer import KeySigner
from pki.spiffe import SpiffeId

_RESERVED: Final = ("agent", "gateway")


class Charge(msgspec.Struct, frozen=True):
    """What a worker signs with: key and chain of the issuing CA, PEM; SVIDs live for *lifetime* seconds."""

    key: bytes
    chain: str
    trust_domain: str
    lifetime: float

    def __repr__(self) -> str:
        return f"Charge({self.trust_domain})"


def charge_of(authority: Authority, trust_domain: str, lifetime: timedelta) -> Charge:
    """What a worker needs to sign as *authority* does; CannotIssue if its key cannot be handed over."""
    if not isinstance(authority.signer, KeySigner):
        raise CannotIssue(describe(authority.certificate), "its key is not in this process")
    key = authority.signer.private_pem()
    return Charge(key, to_pem(authority.chain), trust_domain, lifetime.total_seconds())


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One SVID that is wanted."""

    spiffe_id: str
    csr: str


class Signed(msgspec.Struct, frozen=True, array_like=True):
    """A certificate, PEM; or without one, why there is none."""

    certificate: str = ""
    serial: str = ""
    code: str = ""
    reason: str = ""


class Work(msgspec.Struct, frozen=True):
    """Some SVIDs to sign, as of *now*."""

    now: datetime
    asked: tuple[Asked, ...]


class Mint:
    """Signs by one charge."""

    def __init__(self, charge: Charge) -> None:
        certificate, *above = from_pem(charge.chain)
        self._authority = Authority(certificate, tuple(above), KeySigner.from_pem(charge.key))
        self._trust_domain = charge.trust_domain
        self._lifetime = timedelta(seconds=charge.lifetime)

    def sign(self, asked: Iterable[Asked], now: datetime) -> list[Signed]:
        """An answer for each, in order: a bad one takes nothing from the others."""
        return [self._one(each, now) for each in asked]

    def _one(self, asked: Asked, now: datetime) -> Signed:
        try:
            spiffe_id = SpiffeId.parse(asked.spiffe_id)
            if denied := objection(spiffe_id, self._trust_domain):
                return Signed(code="not-yours", reason=denied)
            key = verify_csr(asked.csr)
            certificate = self._authority.issue(svid(spiffe_id, self._lifetime), key, now)
            return Signed(to_pem([certificate]), f"{certificate.serial_number:x}")
        except PkiError as error:
            return Signed(code=_code(error), reason=str(error))


def objection(spiffe_id: SpiffeId, trust_domain: str) -> str:
    """Say why nobody is given an SVID for *spiffe_id* here, or nothing.

    The agent's own name and the gateways' are not given away: with one of them, a workload could pose as
    the way to all the others.
    """
    if spiffe_id.trust_domain != trust_domain:
        return f"{spiffe_id} is not of this cluster, whose trust domain is {trust_domain}"
    if spiffe_id.path.split("/")[1:2] in ([], *([name] for name in _RESERVED)):
        return f"{spiffe_id} is no workload's"
    return ""


def shares(asked: Sequence[Asked], most: int, least: int) -> list[Sequence[Asked]]:
    """*asked* in as many parts as there are workers, but none with fewer than *least* if that can be had."""
    parts = max(1, min(most, len(asked) // least))
    size, rest = divmod(len(asked), parts)
    ends = [size * n + min(n, rest) for n in range(parts + 1)]
    return [asked[begin:end] for begin, end in pairwise(ends)]


def _code(error: PkiError) -> str:
    match error:
        case InvalidSpiffeId():
            return "bad-id"
        case CsrRefused():
            return "bad-csr"
        case CannotIssue():
            return "cannot-issue"
    return "denied"
