"""Mutual TLS between gateways: who presents what, and whom each side believes.

Both sides speak TLS 1.3 only (Envoy's upstream maximum is 1.2 unless it is told), offer h2 only, and
check their peer against the issuing CAs of one cluster and the beginning of the SPIFFE ID it must have.
"""

from collections.abc import Sequence

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from clusters.model import Member
from gateway import names
from gateway.messages import ADS, Json, transport_socket, untyped
from gateway.spec import Role

_SELECTORS = "envoy.extensions.transport_sockets.tls.cert_selectors.on_demand_secret.v3.Config"
# Envoy does not ask an anchor for its path length: an issuing CA could have authorities below it.
_LEAF_AND_ANCHOR = UInt32Value(value=1)
_MAPPERS = "envoy.extensions.transport_sockets.tls.cert_mappers.filter_state_override.v3.Config"


def upstream(member: Member, home: str) -> TransportSocket:
    """Dial a gateway of *member* as the workload that calls, and accept nothing but its ingress.

    The server name says who we are, the trust domain *home*: by it the other side picks the filter chain
    that knows our anchors.
    """
    common = _common(member, [names.gateway_ids(member.trust_domain, Role.INGRESS)])
    common.custom_tls_certificate_selector.CopyFrom(_certificate_of_the_caller())
    context = UpstreamTlsContext(common_tls_context=common, sni=home)
    return transport_socket("envoy.transport_sockets.tls", context)


def probe(member: Member, home: str) -> TransportSocket:
    """Dial a gateway of *member* as the gateway that we are, to see whether it lives."""
    common = _common(member, [names.gateway_ids(member.trust_domain, Role.INGRESS)])
    own = SdsSecretConfig(name=names.gateway_secret(Role.EGRESS), sds_config=ADS)
    common.tls_certificate_sds_secret_configs.append(own)
    return transport_socket(
        "envoy.transport_sockets.tls", UpstreamTlsContext(common_tls_context=common, sni=home)
    )


def downstream(member: Member) -> TransportSocket:
    """Let in the workloads and the egress gateways of *member*."""
    domain = member.trust_domain
    common = _common(member, [names.workload_ids(domain), names.gateway_ids(domain, Role.EGRESS)])
    own = SdsSecretConfig(name=names.gateway_secret(Role.INGRESS), sds_config=ADS)
    common.tls_certificate_sds_secret_configs.append(own)
    context = DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=BoolValue(value=True),
        # A ticket would outlive a change of anchors; tunnels are pooled, so nothing is lost.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return transport_socket("envoy.transport_sockets.tls", context)


def _common(member: Member, peers: Sequence[str]) -> CommonTlsContext:
    """What both sides have: the version, h2, the member's anchors by SDS, and its IDs in *peers*."""
    matchers = [
        SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.URI, matcher=StringMatcher(prefix=prefix))
        for prefix in peers
    ]
    return CommonTlsContext(
        tls_params=TlsParameters(
            tls_minimum_protocol_version=TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=TlsParameters.TLSv1_3,
        ),
        alpn_protocols=["h2"],
        combined_validation_context=CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=CertificateValidationContext(
                match_typed_subject_alt_names=matchers, max_verify_depth=_LEAF_AND_ANCHOR
            ),
            validation_context_sds_secret_config=SdsSecretConfig(
                name=names.anchors(member.name), sds_config=ADS
            ),
        ),
    )


def _certificate_of_the_caller() -> TypedExtensionConfig:
    """Pick the client certificate by the name that the egress listener put into filter state.

    Without one the name is that of a secret that never exists, so that a mistake refuses everybody
    instead of letting everybody out as the gateway.
    """
    mapper: Json = {
        "name": "envoy.tls.upstream_certificate_mappers.filter_state_override",
        "typed_config": {
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": f"type.googleapis.com/{_MAPPERS}",
            "value": {"default_value": names.NO_SOURCE},
        },
    }
    source: Json = {"ads": {}, "resource_api_version": "V3"}
    return TypedExtensionConfig(
        name="envoy.tls.certificate_selectors.on_demand_secret",
        typed_config=untyped(_SELECTORS, {"config_source": source, "certificate_mapper": mapper}),
    )
