"""Secrets: certificates with their keys, and the issuing CAs that a gateway believes.

Anchors are part of a snapshot. Keys never are: the agent, which mints them, puts them beside it.
"""

from collections.abc import Iterable

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from clusters.model import Member
from gateway import names
from gateway.delta import Resource
from gateway.messages import resource

_END = "-----END CERTIFICATE-----"


def tls_certificate(name: str, chain_pem: str, key_pem: str) -> Resource:
    """A certificate and its key. What leads up to an anchor may follow it; gateways have the anchor."""
    certificate = TlsCertificate(
        certificate_chain=DataSource(inline_bytes=chain_pem.encode()),
        private_key=DataSource(inline_bytes=key_pem.encode()),
    )
    return resource(name, Secret(name=name, tls_certificate=certificate))


def validation_context(name: str, anchors_pem: Iterable[str]) -> Resource:
    """The issuing CAs to believe.

    Of each chain only the first certificate is taken: a hub CA or a root among the anchors would make
    the certificates of every other cluster good as well.
    """
    bundle = "\n".join(_issuing_ca(chain) for chain in anchors_pem) + "\n"
    context = CertificateValidationContext(trusted_ca=DataSource(inline_bytes=bundle.encode()))
    return resource(name, Secret(name=name, validation_context=context))


def anchors(member: Member) -> Resource:
    """The issuing CAs of *member*."""
    return validation_context(names.anchors(member.name), sorted(member.anchors))


def _issuing_ca(chain_pem: str) -> str:
    """The first certificate of a chain."""
    first, _, _ = chain_pem.strip().partition(_END)
    return first + _END
