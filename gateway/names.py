"""How everything in a gateway's configuration is called: the one place where names are made.

A name is a promise between two resources (a listener names a cluster, a cluster names a secret), and
some names are made by Envoy itself from a connection's addresses, so they are never built elsewhere.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from clusters.names import ClusterName, ServiceName

INGRESS: Final = "ingress"  # the listener that other gateways dial, and its table of routes
TUNNEL: Final = "tunnel"  # the internal listener that opens tunnels
FORWARD: Final = "forward"  # the internal listener that asks several clusters for a tunnel
TUNNEL_METADATA: Final = "fed.tunnel"  # where an endpoint says what is behind its tunnel
WAY_KEY: Final = "fed.way"  # filter state: the cluster of clusters that a tunnel is asked of
WAY_HEADER: Final = "x-fed-way"  # the same, as a table of routes can see it; only within a gateway
CAPTURE: Final = "capture"  # the listener where redirected calls arrive
CALLERS: Final = "callers"  # the filter chain of an egress listener for what is carried as bytes
HTTP: Final = "http"  # the one for what is carried request by request, and its table of routes
CALLER_HEADER: Final = "x-fed-caller"  # whose call it is, as that table can see it; only within a gateway
VIP_HEADER: Final = "x-fed-vip"  # the cluster that is called, likewise

IDENTITY_KEY: Final = "envoy.tls.certificate_mappers.on_demand_secret"  # Envoy's own name for it
# The clusters that a gateway loads at their first use; what gateways dial each other by is always there.
ON_DEMAND: Final = ("vip|", "local|")
CALLED_VIP: Final = "vip|%DOWNSTREAM_LOCAL_ADDRESS%"  # of a connection an egress makes `vip_cluster`'s name

CLUSTER_KEY: Final = "envoy.tcp_proxy.cluster"  # likewise
ANCHORS: Final = "anchors|"
NO_SOURCE: Final = "src/none"  # a secret that does not exist: nobody is nobody's identity


def host_port(address: str, port: int) -> str:
    """Spell a socket's address as Envoy does: `241.0.0.7:80`, `[fd5f::7]:80`."""
    return f"[{address}]:{port}" if ip_address(address).version == 6 else f"{address}:{port}"


def vip_cluster(address: str, port: int) -> str:
    """The cluster (and the load assignment) of a service as called on one of its VIPs.

    An egress makes the same name by `CALLED_VIP`.
    """
    return f"vip|{host_port(address, port)}"


def gateway_cluster(cluster: ClusterName) -> str:
    """The ingress gateways of *cluster*, as an egress dials them."""
    return way([cluster])


def way(clusters: Sequence[ClusterName]) -> str:
    """The gateways of *clusters*, for a tunnel that each of them is asked for in turn.

    A tunnel makes the same name from what an endpoint says is behind it.
    """
    return f"gw|{','.join(clusters)}"


def gateways_of(name: str) -> ClusterName | None:
    """Undo `gateway_cluster`; None for the name of something else."""
    kind, _, cluster = name.partition("|")
    return ClusterName(cluster) if kind == "gw" and cluster and "," not in cluster else None


def in_turn(clusters: Sequence[ClusterName]) -> str:
    """What asks the gateways of *clusters*: each attempt goes to another."""
    return f"try|{','.join(clusters)}"


def first_alive(clusters: Sequence[ClusterName]) -> str:
    """The gateways of the first of *clusters* that has one alive."""
    return f"any|{','.join(clusters)}" if len(clusters) > 1 else gateway_cluster(clusters[0])


def local_cluster(service: ServiceName, port: int) -> str:
    """The endpoints of a service of this cluster, as the ingress dials them."""
    return f"local|{service}:{port}"


def anchors(cluster: ClusterName) -> str:
    """The secret that holds the issuing CAs of *cluster*."""
    return f"{ANCHORS}{cluster}"


def source_secret(address: str) -> str:
    """The certificate of the workload that calls from *address*, in its canonical spelling."""
    return f"src/{address}"


def gateway_secret(role: str) -> str:
    """A gateway's own certificate in *role*."""
    return f"gateway/{role}"


def egress_listener(port: int) -> str:
    """The listener for every VIP that is called on *port*."""
    return f"egress|{port}"


def workload_ids(trust_domain: str) -> str:
    """What the SPIFFE ID of each workload of *trust_domain* begins with."""
    return f"spiffe://{trust_domain}/ns/"


def gateway_ids(trust_domain: str, role: str) -> str:
    """What the SPIFFE ID of each gateway of *trust_domain* in *role* begins with."""
    return f"spiffe://{trust_domain}/gateway/{role}/"
