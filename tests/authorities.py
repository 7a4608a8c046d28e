"""A federation's certificates for tests: root, hub CA, and an issuing CA for each cluster, on one page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from cryptography import x509

from federation.roots import Roots
from pki import profile
from pki.authority import Authority, new_root, to_pem
from pki.bundle import spki_sha256
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, agent_id, trust_domain_of
from tests.builders import DOMAIN

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate, what leads up to the root (without it), and the key."""

    chain: tuple[x509.Certificate, ...]
    signer: KeySigner

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def chain_pem(self) -> str:
        return to_pem(self.chain)

    @property
    def key_pem(self) -> str:
        return self.signer.private_pem().decode()


@dataclass
class Authorities:
    """The authorities of a federation `fed.example`, all made at *now*."""

    now: datetime = NOW
    domain: str = DOMAIN
    _issuing: dict[str, Authority] = field(default_factory=dict)

    @cached_property
    def root(self) -> Authority:
        return new_root(self.domain, KeySigner.generate(), self.now)

    @cached_property
    def hub_ca(self) -> Authority:
        return self.root.subordinate(profile.hub_ca(self.domain), KeySigner.generate(), self.now)

    def issuing_ca(self, cluster: str) -> Authority:
        """The one issuing CA of *cluster*."""
        if cluster not in self._issuing:
            described = profile.issuing_ca(trust_domain_of(cluster, self.domain))
            self._issuing[cluster] = self.hub_ca.subordinate(described, KeySigner.generate(), self.now)
        return self._issuing[cluster]

    def hub(self, *names: str) -> Credential:
        """A hub's server certificate, with the operator's *names*."""
        return self._credential(self.hub_ca, profile.hub(self.domain, names))

    def svid(self, spiffe_id: SpiffeId) -> Credential:
        """An SVID by the issuing CA of the cluster whose trust domain it is of."""
        cluster = spiffe_id.trust_domain.removesuffix(f".{self.domain}")
        return self._credential(self.issuing_ca(cluster), profile.svid(spiffe_id))

    def agent(self, cluster: str) -> Credential:
        """The SVID of a cluster's agent."""
        return self.svid(agent_id(trust_domain_of(cluster, self.domain)))

    @property
    def root_pem(self) -> str:
        return to_pem([self.root.certificate])

    @property
    def pin(self) -> str:
        return spki_sha256(self.root.certificate)

    @property
    def roots(self) -> Roots:
        """What an agent of this federation trusts, without a disk."""
        return Roots((self.root.certificate,), lambda: self.hub_ca.chain, lambda _: None)

    def _credential(self, authority: Authority, described: profile.Profile) -> Credential:
        signer = KeySigner.generate()
        certificate = authority.issue(described, signer.public_key(), self.now)
        return Credential((certificate, *authority.chain), signer)
