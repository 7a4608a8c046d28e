"""What an Envoy is started with: who it is, and where it gets everything else from.

The file holds no secret. The agent is reached by a Unix socket on its own machine, and by mutual TLS from
elsewhere; its certificate there is watched, so that a renewed one is taken without a restart.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from envoy.config.bootstrap.v3.bootstrap_pb2 import Admin, Bootstrap, LayeredRuntime, RuntimeLayer
from envoy.config.cluster.v3.cluster_pb2 import Cluster, UpstreamConnectionOptions
from envoy.config.core.v3.address_pb2 import Address, Pipe, TcpKeepalive
from envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from envoy.config.core.v3.base_pb2 import DataSource, Node, RetryPolicy, TransportSocket, WatchedDirectory
from envoy.config.core.v3.config_source_pb2 import (
    ApiConfigSource,
    ApiVersion,
    ConfigSource,
    PathConfigSource,
)
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions, KeepaliveSettings
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.metrics.v3.stats_pb2 import StatsConfig, StatsMatcher
from envoy.extensions.bootstrap.internal_listener.v3.internal_listener_pb2 import InternalListener
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsCertificate,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher, StringMatcher
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import UInt32Value

from gateway.limits import DEFAULT_MEMORY, overload_manager
from gateway.messages import (
    ADS,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_TIMEOUT,
    packed,
    socket_address,
    transport_socket,
)
from gateway.spec import GatewaySpec, to_metadata

_AGENT: Final = "agent"
_IDENTITY: Final = "identity.json"
_ROOTS: Final = "roots.json"

# An inclusion list: a cluster on demand costs 65 KiB with all its counters, and half of that without.
_STATS: Final = (
    "cluster.agent.",
    "cluster.gw|",
    "cluster_manager.",
    "connection_limit.",
    "control_plane.",
    "http.egress.",
    "http.ingress.",
    "listener.",
    "listener_manager.",
    "overload.",
    "server.",
    "tcp.",
)

# By default a reset crosses an internal listener, and a client loses what the server sent before it closed.
# An ingress resets a tunnel when its server has said all. If that became a reset of the caller's connection,
# what is on the way would be lost. Resets the other way are needed: a caller who hangs up while it does not
# read would leave its tunnel behind for good.
_RUNTIME: Final = {"envoy.reloadable_features.propagate_upstream_rst_through_tunneled_tcp_proxy": False}


@dataclass(frozen=True, slots=True)
class UnixAgent:
    """The agent of this machine, by its socket."""

    socket: Path


@dataclass(frozen=True, slots=True)
class RemoteAgent:
    """An agent elsewhere, by mutual TLS: files for our own identity, and the SPIFFE ID it must have."""

    host: str
    port: int
    certificate: Path
    key: Path
    roots: Path
    spiffe_id: str


Agent = UnixAgent | RemoteAgent


def admin_socket(folder: Path) -> Path:
    """Where the Envoy that runs in *folder* has its admin interface, for its owner alone."""
    return folder / "envoy.sock"


def files(spec: GatewaySpec, agent: Agent, folder: Path, memory: int = DEFAULT_MEMORY) -> dict[Path, str]:
    """Every file that Envoy needs in *folder* to run as the gateway *spec* with so many bytes of *memory*."""
    written = {bootstrap_file(folder): to_json(bootstrap(spec, agent, folder, memory))}
    if isinstance(agent, RemoteAgent):
        written[folder / _IDENTITY] = _secret_file(_identity(agent))
        written[folder / _ROOTS] = _secret_file(_roots(agent))
    return written


def bootstrap_file(folder: Path) -> Path:
    """The file to start Envoy with."""
    return folder / "bootstrap.json"


def bootstrap(spec: GatewaySpec, agent: Agent, folder: Path, memory: int = DEFAULT_MEMORY) -> Bootstrap:
    """The bootstrap of the gateway *spec* that runs in *folder*."""
    message = Bootstrap(
        node=Node(id=spec.name, cluster="fedgate", metadata=to_metadata(spec)),
        admin=Admin(address=Address(pipe=Pipe(path=str(admin_socket(folder)), mode=0o600))),
        layered_runtime=LayeredRuntime(layers=[RuntimeLayer(name="fedgate", static_layer=_runtime())]),
        stats_config=StatsConfig(stats_matcher=_stats()),
        overload_manager=overload_manager(memory, spec.max_connections),
        bootstrap_extensions=[
            TypedExtensionConfig(
                name="envoy.bootstrap.internal_listener", typed_config=packed(InternalListener())
            )
        ],
    )
    message.dynamic_resources.lds_config.CopyFrom(ADS)
    message.dynamic_resources.cds_config.CopyFrom(ADS)
    message.dynamic_resources.ads_config.CopyFrom(_ads())
    message.static_resources.clusters.append(_agent_cluster(agent, folder))
    return message


def to_json(message: Message) -> str:
    """*message* as Envoy reads it from a file."""
    return MessageToJson(message, preserving_proto_field_name=True, indent=2)


def _runtime() -> Struct:
    layer = Struct()
    layer.update(_RUNTIME)
    return layer


def _stats() -> StatsMatcher:
    patterns = [StringMatcher(prefix=prefix) for prefix in _STATS]
    return StatsMatcher(inclusion_list=ListStringMatcher(patterns=patterns))


def _ads() -> ApiConfigSource:
    """One delta stream for everything; an agent that was restarted is found again within two seconds."""
    backoff = BackoffStrategy(base_interval=Duration(nanos=100_000_000), max_interval=Duration(seconds=2))
    service = GrpcService(
        envoy_grpc=GrpcService.EnvoyGrpc(
            cluster_name=_AGENT, retry_policy=RetryPolicy(retry_back_off=backoff)
        )
    )
    return ApiConfigSource(
        api_type=ApiConfigSource.DELTA_GRPC,
        transport_api_version=ApiVersion.V3,
        grpc_services=[service],
        set_node_on_first_message_only=True,
    )


def _agent_cluster(agent: Agent, folder: Path) -> Cluster:
    """The agent as Envoy dials it."""
    cluster = Cluster(name=_AGENT, connect_timeout=Duration(seconds=2))
    if isinstance(agent, UnixAgent):
        address = Address(pipe=Pipe(path=str(agent.socket)))
    else:
        address = socket_address(agent.host, agent.port)
        cluster.type = (
            Cluster.DiscoveryType.STATIC if _is_ip(agent.host) else Cluster.DiscoveryType.STRICT_DNS
        )
        cluster.transport_socket.CopyFrom(_mutual_tls(folder))
        cluster.upstream_connection_options.CopyFrom(
            UpstreamConnectionOptions(tcp_keepalive=TcpKeepalive(keepalive_time=UInt32Value(value=30)))
        )
    endpoint = LbEndpoint(endpoint=Endpoint(address=address))
    cluster.load_assignment.CopyFrom(
        ClusterLoadAssignment(cluster_name=_AGENT, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])])
    )
    http2 = Http2ProtocolOptions(
        connection_keepalive=KeepaliveSettings(interval=KEEPALIVE_INTERVAL, timeout=KEEPALIVE_TIMEOUT)
    )
    options = HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=http2)
    )
    cluster.typed_extension_protocol_options[
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    ].CopyFrom(packed(options))
    return cluster


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _mutual_tls(folder: Path) -> TransportSocket:
    """Our identity and the roots, both from files that are watched."""
    common = CommonTlsContext(
        tls_params=TlsParameters(
            tls_minimum_protocol_version=TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=TlsParameters.TLSv1_3,
        ),
        alpn_protocols=["h2"],
        tls_certificate_sds_secret_configs=[_watched("identity", folder / _IDENTITY)],
        validation_context_sds_secret_config=_watched("roots", folder / _ROOTS),
    )
    return transport_socket("envoy.transport_sockets.tls", UpstreamTlsContext(common_tls_context=common))


def _watched(name: str, path: Path) -> SdsSecretConfig:
    source = ConfigSource(
        path_config_source=PathConfigSource(path=str(path)), resource_api_version=ApiVersion.V3
    )
    return SdsSecretConfig(name=name, sds_config=source)


def _identity(agent: RemoteAgent) -> Secret:
    """Our own certificate and key, where enrolment put them."""
    certificate = TlsCertificate(
        certificate_chain=DataSource(filename=str(agent.certificate)),
        private_key=DataSource(filename=str(agent.key)),
        watched_directory=WatchedDirectory(path=str(agent.certificate.parent)),
    )
    return Secret(name="identity", tls_certificate=certificate)


def _roots(agent: RemoteAgent) -> Secret:
    """The federation's roots, and the one name that the agent must have."""
    name = SubjectAltNameMatcher(
        san_type=SubjectAltNameMatcher.URI, matcher=StringMatcher(exact=agent.spiffe_id)
    )
    context = CertificateValidationContext(
        trusted_ca=DataSource(filename=str(agent.roots)),
        watched_directory=WatchedDirectory(path=str(agent.roots.parent)),
        match_typed_subject_alt_names=[name],
    )
    return Secret(name="roots", validation_context=context)


def _secret_file(secret: Secret) -> str:
    return to_json(DiscoveryResponse(resources=[packed(secret)]))
