"""SPIFFE IDs: who someone is, as a name that certificates carry.

The federation's domain names the hub. Each cluster is a trust domain of its own, one label below it,
so that a cluster's issuing CA can be bound to it by a name constraint on the host of the URI.
"""

import re
from dataclasses import dataclass
from typing import Final

from pki.errors import InvalidSpiffeId, InvalidTrustDomain

GATEWAY_ROLES: Final = ("ingress", "egress", "both")

_SCHEME: Final = "spiffe://"
_LONGEST_ID: Final = 2048
_LONGEST_TRUST_DOMAIN: Final = 255
_LONGEST_DNS_NAME: Final = 253
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """`spiffe://TRUST-DOMAIN/PATH`; *path* is empty, or begins with a slash."""

    trust_domain: str
    path: str = ""

    def __post_init__(self) -> None:
        if reason := _fault(self.trust_domain, self.path):
            raise InvalidSpiffeId(f"{_SCHEME}{self.trust_domain}{self.path}"[: _LONGEST_ID + 1], reason)

    @classmethod
    def parse(cls, text: str) -> "SpiffeId":
        """Undo `str`. Only the normal form is taken: two spellings of one identity are one too many."""
        if not text.startswith(_SCHEME):
            raise InvalidSpiffeId(text[:_LONGEST_ID], "does not begin with spiffe://")
        trust_domain, slash, path = text.removeprefix(_SCHEME).partition("/")
        return cls(trust_domain, slash + path)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"


def _fault(trust_domain: str, path: str) -> str:
    """Say what the specification holds against an ID made of these, or nothing."""
    if len(_SCHEME) + len(trust_domain) + len(path) > _LONGEST_ID:
        return f"longer than {_LONGEST_ID} bytes"
    if len(trust_domain) > _LONGEST_TRUST_DOMAIN:
        return f"the trust domain is longer than {_LONGEST_TRUST_DOMAIN} bytes"
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        return "the trust domain may have only a-z, 0-9, '.', '-' and '_', and at least one of them"
    if not path:
        return ""
    if not path.startswith("/"):
        return "the path does not begin with '/'"
    for segment in path[1:].split("/"):
        if not segment:
            return "the path has an empty segment, or ends with '/'"
        if segment in {".", ".."}:
            return "the path has a relative segment"
        if not _SEGMENT.fullmatch(segment):
            return "the path may have only letters, digits, '.', '-', '_' and '/'"
    return ""


def federation_domain(text: str) -> str:
    """Check the domain of a federation: a lower-case DNS name, with room for clusters' names before it."""
    if not _DNS_NAME.fullmatch(text):
        raise InvalidTrustDomain(text, "not a lower-case DNS name")
    if text.rpartition(".")[2].isdigit():
        raise InvalidTrustDomain(text, "looks like an IP address, to which no URI can be constrained")
    if len(text) + 64 > _LONGEST_DNS_NAME:
        raise InvalidTrustDomain(text, "too long: cluster names are put before it")
    return text


def trust_domain_of(cluster: str, domain: str) -> str:
    """The trust domain of *cluster* in the federation of *domain*: `onprem.fed.example`."""
    if "." in cluster or not _DNS_NAME.fullmatch(cluster):
        raise InvalidTrustDomain(f"{cluster}.{domain}", "the cluster's name is not a DNS label")
    return f"{cluster}.{federation_domain(domain)}"


def cluster_of(trust_domain: str, domain: str) -> str:
    """Undo `trust_domain_of`; a trust domain that is no cluster's of this federation is an error."""
    cluster = trust_domain.removesuffix(f".{domain}")
    if cluster == trust_domain or "." in cluster or not _DNS_NAME.fullmatch(cluster):
        raise InvalidTrustDomain(trust_domain, f"not a cluster's of the federation {domain}")
    return cluster


def workload_id(trust_domain: str, namespace: str, name: str) -> SpiffeId:
    """A workload, by its namespace and service account."""
    return SpiffeId(trust_domain, f"/ns/{namespace}/sa/{name}")


def gateway_id(trust_domain: str, role: str, name: str) -> SpiffeId:
    """A gateway in a role. No peer accepts `both`: it is how such a gateway calls its own agent."""
    if role not in GATEWAY_ROLES:
        raise InvalidSpiffeId(f"{_SCHEME}{trust_domain}/gateway/{role}/{name}", "no such gateway role")
    return SpiffeId(trust_domain, f"/gateway/{role}/{name}")


def agent_id(trust_domain: str) -> SpiffeId:
    """A cluster's agent."""
    return SpiffeId(trust_domain, "/agent")


def hub_id(domain: str) -> SpiffeId:
    """The federation's hub."""
    return SpiffeId(domain, "/hub")
