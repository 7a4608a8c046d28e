"""Whom a gateway believes: the issuing CAs of a cluster and nobody above them."""

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import Resource as Frame

from gateway import sds
from gateway.delta import Resource
from pki.authority import from_pem, to_pem
from tests.authorities import Authorities


def anchors_in(resource: Resource) -> bytes:
    secret = Secret()
    assert Frame.FromString(resource.body).resource.Unpack(secret)
    return secret.validation_context.trusted_ca.inline_bytes


def test_of_a_chain_only_the_issuing_ca_is_an_anchor() -> None:
    authorities = Authorities()
    issuing = authorities.issuing_ca("onprem")
    chain = to_pem([*issuing.chain, authorities.root.certificate])
    resource = sds.validation_context("anchors|onprem", [chain])
    assert from_pem(anchors_in(resource).decode()) == (issuing.certificate,)


def test_each_replicas_issuing_ca_is_an_anchor() -> None:
    authorities, others = Authorities(), Authorities()
    both = [authorities.issuing_ca("onprem"), others.issuing_ca("onprem")]
    resource = sds.validation_context("anchors|onprem", [to_pem(a.chain) for a in both])
    assert from_pem(anchors_in(resource).decode()) == tuple(a.certificate for a in both)
