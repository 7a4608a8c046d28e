"""Who holds which certificate until when: the hub's and the agent's own, told and watched in the same way."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from prometheus_client.metrics_core import Metric

from clusters.durations import short
from clusters.names import ClusterName
from federation.api.answers import Check
from federation.api.metrics import gauges
from federation.hub_authority import HubAuthority
from federation.svids import Svid
from pki import jwt_keys
from pki.authority import describe, from_pem
from pki.errors import CertificateRefused
from pki.jwt_keys import SigningKey
from pki.rotation import Validity, jitter_of, renew_at
from pki.spiffe import SpiffeId

_OVERDUE: Final = 0.75
"""So much of its life is over when somebody is told: it was to be renewed at half of it."""
_JWT_KEY: Final = "JWT key"
_ROOT_NEEDS: Final = timedelta(days=365)
_ROLL_OVER: Final = "replace it in good time: `fedgate ca rollover start`"
_LOOK: Final = "whoever holds it should have renewed it by now: look at the log there"


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate. *kind* is `root`, `hub CA`, `hub`, `issuing CA`, `agent`, `gateway` or `workload`.

    Or a `JWT key`, whose *serial* is its key ID, and which has the name of its trust domain. Without
    *renews_at* nobody renews it by itself: a root, or a key after which there is another already.
    """

    name: str
    kind: str
    cluster: str
    serial: str
    validity: Validity
    renews_at: datetime | None

    def document(self, now: datetime) -> dict[str, object]:
        """All of it, as the admin API tells it."""
        return {
            "spiffe_id": self.name,
            "kind": self.kind,
            "cluster": self.cluster,
            "serial": self.serial,
            "not_before": self.validity.not_before,
            "not_after": self.validity.not_after,
            "renews_at": self.renews_at,
            "state": self.state(now),
        }

    def state(self, now: datetime) -> str:
        """`valid`, `overdue` for one that should have been renewed, or `expired`."""
        if not self.validity.covers(now):
            return "expired" if now >= self.validity.not_after else "not yet valid"
        if self.kind == "root":
            return "overdue" if self.validity.not_after - now < _ROOT_NEEDS else "valid"
        overdue = self.renews_at is not None and self.validity.elapsed(now) > _OVERDUE
        return "overdue" if overdue else "valid"


def of(certificate: x509.Certificate, kind: str, cluster: str = "") -> Held:
    """What is told of *certificate*; a root is not renewed by itself."""
    validity = Validity.of(certificate)
    renews = None if kind == "root" else renew_at(validity, jitter_of(certificate))
    return Held(describe(certificate), kind, cluster, f"{certificate.serial_number:x}", validity, renews)


def of_svid(svid: Svid) -> Held:
    """What is told of an SVID that the agent minted."""
    kind = svid.spiffe_id.path.split("/")[1].replace("ns", "workload")
    return Held(str(svid.spiffe_id), kind, "", f"{svid.serial:x}", svid.validity, svid.renew_at)


def of_jwt_keys(keys: Sequence[SigningKey], trust_domain: str, now: datetime) -> Iterator[Held]:
    """What is told of a cluster's JWT *keys*, oldest first, as far as they count at *now*."""
    name = str(SpiffeId(trust_domain))
    for key in keys:
        if key.validity.covers(now):
            renews = jwt_keys.renew_at(key) if key is keys[-1] else None
            yield Held(name, _JWT_KEY, "", key.key_id, key.validity, renews)


def of_hub(
    authority: HubAuthority, own: x509.Certificate, anchors: Iterable[tuple[ClusterName, str]]
) -> Iterator[Held]:
    """What the hub holds, and the issuing CA of each cluster, whose chain is in *anchors*."""
    for root in authority.certificates:
        yield of(root, "root")
    yield of(authority.hub_ca.certificate, "hub CA")
    yield of(own, "hub")
    for cluster, chain in anchors:
        try:
            yield of(from_pem(chain)[0], "issuing CA", cluster)
        except CertificateRefused:
            continue


def checks(held: Iterable[Held], now: datetime) -> Iterator[Check]:
    """A check for each certificate that is overdue or over, and one for all others together."""
    well = 0
    for each in held:
        state, left = each.state(now), each.validity.not_after - now
        if state == "valid":
            well += 1
            continue
        hint = _ROLL_OVER if each.kind == "root" else _LOOK
        if state == "overdue":
            yield Check("certificate", "warn", f"{each.kind} {each.name} ends in {short(left)}", hint)
        else:
            yield Check("certificate", "fail", f"{each.kind} {each.name} is {state}", hint)
    yield Check("certificates", "ok", f"{well} are valid, and none of these is overdue")


def metrics(held: Iterable[Held]) -> Iterator[Metric]:
    """When each certificate ends, and the newest JWT key; the others end as they are meant to."""
    watched = [each for each in held if each.kind != _JWT_KEY or each.renews_at is not None]
    ends = [((each.kind, each.cluster, each.name), each.validity.not_after.timestamp()) for each in watched]
    text = "When a certificate or JWT key ends, Unix time."
    yield gauges("fedgate_certificate_expiry_seconds", text, ("kind", "cluster", "name"), ends)
