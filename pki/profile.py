"""What each kind of certificate says: described here, signed in ``authority``.

root           10 years   everybody's, may be kept offline
└── hub CA     90 days    path length 1
    ├── hub    90 days    spiffe://DOMAIN/hub, and names to dial it by
    └── issuing CA        14 days, path length 0, bound to one cluster's trust domain
        └── SVID          1 hour: an agent, a gateway, a workload
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from pki.lifetimes import HUB_CA_LIFETIME, HUB_LIFETIME, ISSUING_CA_LIFETIME, ROOT_LIFETIME, SVID_LIFETIME
from pki.spiffe import SpiffeId, federation_domain, hub_id

HUB_DNS_NAME: Final = "hub.fedgate.internal"
"""The name every hub certificate has, whatever address the hub is dialled by."""

BACKDATE: Final = timedelta(minutes=5)
"""How long before its issue a certificate begins, so that a clock that is behind takes it too."""
_BACKDATE_PART: Final = 12  # of what lives too briefly for that: else half of its life would be over at once


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate: everything in it but key, serial number and dates.

    An authority has a `subject` (without the number that tells its keys apart); everybody else is known
    by alternative names alone.
    """

    lifetime: timedelta
    is_ca: bool = False
    subject: tuple[x509.NameAttribute[str], ...] = ()
    path_length: int | None = None
    names: tuple[x509.GeneralName, ...] = ()
    constraints: x509.NameConstraints | None = None

    @property
    def backdate(self) -> timedelta:
        """How long before its issue it begins."""
        return min(BACKDATE, self.lifetime / _BACKDATE_PART)


def issued_at(certificate: x509.Certificate) -> datetime:
    """When *certificate*, one of ours, was signed: it begins so much before that as its profile says."""
    begins = certificate.not_valid_before_utc
    return begins + min(BACKDATE, (certificate.not_valid_after_utc - begins) / (_BACKDATE_PART + 1))


def root(domain: str) -> Profile:
    """The federation's root. It leaves the path length open, so that it can sign its own successor."""
    return Profile(ROOT_LIFETIME, True, _ca_subject("root", federation_domain(domain)))


def hub_ca(domain: str, lifetime: timedelta = HUB_CA_LIFETIME) -> Profile:
    """The CA that the hubs of *domain* sign with."""
    return Profile(lifetime, True, _ca_subject("hub CA", federation_domain(domain)), path_length=1)


def hub(domain: str, names: tuple[str, ...] = (), lifetime: timedelta = HUB_LIFETIME) -> Profile:
    """A hub's own certificate; *names* are the DNS names and IP addresses that operators dial it by."""
    dialled = dict.fromkeys([x509.DNSName(HUB_DNS_NAME), *(_dialled(name) for name in names)])
    uri = x509.UniformResourceIdentifier(str(hub_id(federation_domain(domain))))
    return Profile(lifetime, names=(uri, *dialled))


def issuing_ca(trust_domain: str, lifetime: timedelta = ISSUING_CA_LIFETIME) -> Profile:
    """A cluster's CA: it can sign IDs of exactly this trust domain, and no DNS name or IP address."""
    return Profile(
        lifetime,
        True,
        _ca_subject("issuing CA", trust_domain),
        path_length=0,
        constraints=constraints_for(trust_domain),
    )


def svid(spiffe_id: SpiffeId, lifetime: timedelta = SVID_LIFETIME) -> Profile:
    """An X.509-SVID: one URI, no other name."""
    return Profile(lifetime, names=(x509.UniformResourceIdentifier(str(spiffe_id)),))


@lru_cache(maxsize=256)
def constraints_for(trust_domain: str) -> x509.NameConstraints:
    """Allow URIs whose host is *trust_domain* and nothing else that a verifier looks at.

    The bare host, as RFC 5280 has it: with the scheme it would match nothing, with a leading dot only
    hosts below. A constraint on URIs is silent about other kinds of names, so those are shut out one by
    one; directory names are not, because verifiers that do not know that kind refuse the whole chain.
    """
    return x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(trust_domain)],
        excluded_subtrees=[
            x509.DNSName(""),
            x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
            x509.IPAddress(ipaddress.ip_network("::/0")),
        ],
    )


def _ca_subject(kind: str, domain: str) -> tuple[x509.NameAttribute[str], ...]:
    """Name a CA by kind and domain. Domain components have room for any domain; a common name has not."""
    labels = [x509.NameAttribute(NameOID.DOMAIN_COMPONENT, label) for label in reversed(domain.split("."))]
    return (*labels, x509.NameAttribute(NameOID.COMMON_NAME, f"fedgate {kind}"))


def _dialled(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
