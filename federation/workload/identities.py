"""What a process is given: the SVIDs of the workloads that it is, and the trust bundles of all members.

A process may be several workloads. It is then given the SVID of each, in the source file's order, so that the
first workload that fits is who it is by default; the hint tells them apart.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from clusters.attestation import Process
from clusters.foreign import TrustBundle
from clusters.model import ClusterView, Member, Workload
from federation.errors import NoIdentity
from federation.log import Log
from federation.svids import Svid, Svids
from federation.workload import wire
from federation.workload.wire import X509Entry
from pki.authority import from_pem
from pki.errors import PkiError
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, workload_id

log = Log(__name__)

_DER: Final = serialization.Encoding.DER


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A workload that a process is, with its SVID."""

    workload: Workload
    svid: Svid

    @property
    def hint(self) -> str:
        """What tells this identity from the others of a process."""
        return f"{self.workload.namespace}/{self.workload.name}"


class Identities:
    """Answers for one cluster, by its view at this moment."""

    def __init__(
        self, view: Callable[[], ClusterView], trust_domain: str, svids: Svids, now: Callable[[], datetime]
    ) -> None:
        self._view = view
        self._trust_domain = trust_domain
        self._svids = svids
        self._now = now
        self._seen: tuple[object, object] = (None, None)
        self._bundles: Mapping[str, bytes] = {}
        self._encoded: dict[SpiffeId, tuple[int, X509Entry]] = {}

    def known(self, process: Process) -> bool:
        """Whether *process* is some workload."""
        return any(w.unix and w.unix.matches(process) for w in self._view().offer.workloads)

    def entitled(self, process: Process) -> tuple[Entitlement, ...]:
        """The identities of *process*, one at least; raises NoIdentity."""
        matched = [w for w in self._view().offer.workloads if w.unix and w.unix.matches(process)]
        found = [Entitlement(w, svid) for w in matched if (svid := self._svid(w))]
        if not found:
            raise NoIdentity(process, [f"{w.namespace}/{w.name}" for w in matched])
        return tuple(found)

    def due_in(self) -> float:
        """How many seconds there are until another SVID is due."""
        now = self._now()
        due = self._svids.next_due(now)
        return (due - now).total_seconds() if due else math.inf

    def x509_svids(self, process: Process) -> bytes:
        """The X.509-SVIDs of *process* with all trust bundles, as they travel; raises NoIdentity."""
        entitled = self.entitled(process)
        bundles = dict(self._x509_bundles(entitled[0].svid))
        own = bundles.pop(_key(self._trust_domain))
        return wire.x509_svids([self._entry(one, own) for one in entitled], bundles)

    def x509_bundles(self, process: Process) -> bytes:
        """All trust bundles, as they travel; raises NoIdentity."""
        return wire.x509_bundles(self._x509_bundles(self.entitled(process)[0].svid))

    def _svid(self, workload: Workload) -> Svid | None:
        """The SVID of *workload*; None if there is none to be had, which refuses who is nobody else."""
        spiffe_id = workload_id(self._trust_domain, workload.namespace, workload.name)
        try:
            return self._svids.get(spiffe_id, self._now())
        except PkiError as error:
            log.error("no certificate", identity=str(spiffe_id), reason=str(error))
            return None

    def _x509_bundles(self, own: Svid) -> Mapping[str, bytes]:
        """The issuing CAs of each trust domain; also that of *own*, which the hub may not know yet."""
        view = self._view()
        if self._seen[0] is not view.members or self._seen[1] is not view.trusts:
            outside = {_key(t.trust_domain): _authorities(t) for t in view.trusts.values() if t.authorities}
            members = {_key(m.trust_domain): _anchors(m) for m in view.members.values() if m.anchors}
            self._seen, self._bundles = (view.members, view.trusts), outside | members
        bundles = dict(self._bundles)
        issuing = from_pem(own.chain_pem)[1].public_bytes(_DER)
        known = bundles.get(_key(self._trust_domain), b"")
        bundles[_key(self._trust_domain)] = known if issuing in known else known + issuing
        return bundles

    def _entry(self, entitlement: Entitlement, bundle: bytes) -> X509Entry:
        svid = entitlement.svid
        serial, entry = self._encoded.get(svid.spiffe_id, (0, None))
        if entry is None or serial != svid.serial or (entry.bundle, entry.hint) != (bundle, entitlement.hint):
            key = KeySigner.from_pem(svid.key_pem.encode()).private_der()
            entry = X509Entry(
                str(svid.spiffe_id), _der(from_pem(svid.chain_pem)), key, bundle, entitlement.hint
            )
            self._encoded[svid.spiffe_id] = svid.serial, entry
        return entry


def _anchors(member: Member) -> bytes:
    """The issuing CAs of *member*, without what leads up to the root: that would speak for everybody."""
    return _der([from_pem(chain)[0] for chain in member.anchors])


def _authorities(bundle: TrustBundle) -> bytes:
    """The authorities of a trust domain outside, as it told them."""
    return _der([from_pem(authority)[0] for authority in bundle.authorities])


def _der(certificates: list[x509.Certificate] | tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(_DER) for certificate in certificates)


def _key(trust_domain: str) -> str:
    """By what a bundle goes: the SPIFFE ID of its trust domain."""
    return str(SpiffeId(trust_domain))
