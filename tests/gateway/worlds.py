"""The small worlds that translations are shown in, by name."""

from dataclasses import replace

from clusters.model import ClusterView, GatewayRecord, Locality, Member, Offer, Offering, VipRange
from clusters.names import ClusterName, ServiceName
from clusters.services import CallerPattern, Port, Protocol
from gateway.spec import Capture, GatewaySpec, Role, without_ipv6
from tests.builders import CLOUD, HTTP, ONPREM, imported, local_service, member, view, workload

# Issuing CAs as they come: Envoy reads them when it validates, and minds no dates.
ONPREM_CA = """\
-----BEGIN CERTIFICATE-----
MIICljCCAjygAwIBAgIUUyBuWry/XNRN1qB4iuRTDmmM2UIwCgYIKoZIzj0EAwIw
WjEXMBUGCgmSJomT8ixkARkWB2V4YW1wbGUxEzARBgoJkiaJk/IsZAEZFgNmZWQx
FzAVBgNVBAMMDmZlZGdhdGUgaHViIENBMREwDwYDVQQFEwgwNzRhMjFiNDAeFw0y
NjA2MDExMTU1MDBaFw0yNjA2MTUxMjAwMDBaMHYxFzAVBgoJkiaJk/IsZAEZFgdl
eGFtcGxlMRMwEQYKCZImiZPyLGQBGRYDZmVkMRYwFAYKCZImiZPyLGQBGRYGb25w
cmVtMRswGQYDVQQDDBJmZWRnYXRlIGlzc3VpbmcgQ0ExETAPBgNVBAUTCDkzZWMw
ZWJiMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEn0Z9Tr1n/JOt998ByVCMOT57
DmWKLEOMPrdXkouZwobrpS2UPNpumB7hQSgLbWIgvBsySigZ33/T6A6I40us5aOB
wzCBwDASBgNVHRMBAf8ECDAGAQH/AgEAMA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4E
FgQUk+wOuySR8XQnyWRnapz7+PUpQP0wHwYDVR0jBBgwFoAUB0ohtJp7qVP7DbQ1
3DJjR3VHTC8wWgYDVR0eAQH/BFAwTqAWMBSGEm9ucHJlbS5mZWQuZXhhbXBsZaE0
MAKCADAKhwgAAAAAAAAAADAihyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAADAKBggqhkjOPQQDAgNIADBFAiEA/QUbkcJkHEL1ih+Plq45VHzqNQz7Jfqr
l0Bg507104kCIA480kpCSXZNRi4S+HlkcU1j5fWOR1PSXD8bLtcld4z1
-----END CERTIFICATE-----
"""
CLOUD_CA = """\
-----BEGIN CERTIFICATE-----
MIICkzCCAjqgAwIBAgIUapIR2YIfL6Gd8yWN6ivawZxAYyowCgYIKoZIzj0EAwIw
WjEXMBUGCgmSJomT8ixkARkWB2V4YW1wbGUxEzARBgoJkiaJk/IsZAEZFgNmZWQx
FzAVBgNVBAMMDmZlZGdhdGUgaHViIENBMREwDwYDVQQFEwgwNzRhMjFiNDAeFw0y
NjA2MDExMTU1MDBaFw0yNjA2MTUxMjAwMDBaMHUxFzAVBgoJkiaJk/IsZAEZFgdl
eGFtcGxlMRMwEQYKCZImiZPyLGQBGRYDZmVkMRUwEwYKCZImiZPyLGQBGRYFY2xv
dWQxGzAZBgNVBAMMEmZlZGdhdGUgaXNzdWluZyBDQTERMA8GA1UEBRMIMGQ2Zjgy
MTMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASgf40lRBZCvxudAczX7clD3ers
2fNmiTLW8L6+OLFyzhzW3KUR6lc0D6fGp8RG0G89y0pTLPu0RNq8OS5TmPYjo4HC
MIG/MBIGA1UdEwEB/wQIMAYBAf8CAQAwDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQW
BBQNb4IT8MmFGn3lgGbGC5Ta44hJ7DAfBgNVHSMEGDAWgBQHSiG0mnupU/sNtDXc
MmNHdUdMLzBZBgNVHR4BAf8ETzBNoBUwE4YRY2xvdWQuZmVkLmV4YW1wbGWhNDAC
ggAwCocIAAAAAAAAAAAwIocgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAwCgYIKoZIzj0EAwIDRwAwRAIgH/3fr3qtnFVWhd+iPZZbY2OjRzNOrSqb4E7E
8L02PAoCIFcLR0U5tjuOGLYRbba54lf7gJtThCSBvojrqeRZvL7+
-----END CERTIFICATE-----
"""

EDGE = ClusterName("edge")
BOTH = GatewaySpec("gw-1", frozenset(Role), access_log="/var/log/calls.log")
LOOPBACK = replace(BOTH, capture=Capture.LOOPBACK, ingress_addresses=("127.0.1.1",), access_log=None)
REDIRECT = replace(BOTH, capture=Capture.REDIRECT)
INGRESS = replace(BOTH, roles=frozenset({Role.INGRESS}))
EGRESS = replace(BOTH, roles=frozenset({Role.EGRESS}))

HOME = member(ONPREM, "192.0.2.10", anchors=(ONPREM_CA,))
AWAY = member(CLOUD, "198.51.100.10", "198.51.100.11", anchors=(CLOUD_CA,))
MEMBERS = (HOME, AWAY)
CART = local_service("cart", "10.0.0.21")
FRONTEND = workload("frontend", "10.0.0.11", "fd00::11")


def _two_places() -> Member:
    """A member whose gateways are in two zones, one of them on both IP versions."""
    gateways = (
        GatewayRecord("b", ("198.51.100.11",), 443, Locality("eu", "b")),
        GatewayRecord("a", ("198.51.100.10", "2001:db8::10"), 15008, Locality("eu", "a")),
    )
    return replace(AWAY, gateways=gateways)


def _by_name() -> Member:
    """A member whose gateways have to be resolved."""
    gateways = (GatewayRecord("a", ("gw.cloud.example",), 443), GatewayRecord("b", ("gw-b.cloud.example",)))
    return replace(AWAY, gateways=gateways)


def _allowing(*patterns: str) -> ClusterView:
    service = replace(
        local_service("cart", "10.0.0.21"), allow=tuple(CallerPattern(pattern) for pattern in patterns)
    )
    return view(services=(service,), members=MEMBERS)


MANY_PORTS = (Port(80, "http"), Port(53, "dns", Protocol.UDP), Port(9000, "grpc", app_protocol="grpc"))

WORLDS: dict[str, tuple[ClusterView, GatewaySpec]] = {
    "empty": (view(), BOTH),
    "abroad": (view(imported("cart", CLOUD), members=MEMBERS, workloads=(FRONTEND,)), BOTH),
    "nobody": (view(imported("cart", CLOUD), members=MEMBERS), BOTH),
    "home-first": (view(imported("cart", CLOUD, ONPREM, EDGE), members=MEMBERS), BOTH),
    "nowhere": (view(imported("cart"), members=MEMBERS, workloads=(FRONTEND,)), BOTH),
    "not-ready": (
        view(replace(imported("cart"), offerings=(Offering(CLOUD, (HTTP,), 0),)), members=MEMBERS),
        BOTH,
    ),
    "two-places": (view(imported("cart", CLOUD), members=(HOME, _two_places())), BOTH),
    "by-name": (view(imported("cart", CLOUD), members=(HOME, _by_name())), BOTH),
    "no-gateways": (view(imported("cart", CLOUD), members=(HOME, replace(AWAY, gateways=()))), BOTH),
    "shut-out": (view(imported("cart", CLOUD), members=(HOME, replace(AWAY, anchors=()))), BOTH),
    "many-ports": (view(imported("cart", CLOUD, ports=MANY_PORTS), members=MEMBERS), BOTH),
    "claimed-twice": (
        view(
            imported("cart", CLOUD),
            members=MEMBERS,
            workloads=(FRONTEND, workload("cart", "10.0.0.11", "10.0.0.12")),
        ),
        BOTH,
    ),
    "knows-whose-connections-are": (
        view(members=MEMBERS),
        replace(INGRESS, access_log=None, tunnel_log="/dev/null"),
    ),
    "without-ipv6": (view(imported("cart", CLOUD), members=MEMBERS), without_ipv6(BOTH)),
    "port-of-the-ingress": (view(imported("cart", CLOUD, ports=(Port(15008),)), members=MEMBERS), BOTH),
    "redirect": (
        view(imported("cart", CLOUD, ports=(HTTP, Port(15001))), members=MEMBERS, workloads=(FRONTEND,)),
        REDIRECT,
    ),
    "loopback": (
        replace(
            view(imported("cart", CLOUD), members=MEMBERS, workloads=(workload("frontend", "127.0.2.1"),)),
            vip_ranges=(VipRange("127.0.3.0/24"),),
        ),
        LOOPBACK,
    ),
    "served": (
        view(services=(local_service("cart", "10.0.0.22", "fd00::21", "10.0.0.21"),), members=MEMBERS),
        BOTH,
    ),
    "served-without-endpoints": (view(services=(local_service("cart"),), members=MEMBERS), BOTH),
    "served-to-some": (
        _allowing(
            "spiffe://cloud.fed.example/ns/shop/sa/*", "spiffe://onprem.fed.example/ns/shop/sa/frontend"
        ),
        BOTH,
    ),
    "but-not-to-the-revoked": (
        replace(
            view(members=(HOME, replace(AWAY, revoked=("shop/batch",)))),
            offer=Offer({CART.service: CART}, revoked=("shop/web",)),
        ),
        BOTH,
    ),
    "served-to-a-trust-domain": (_allowing("spiffe://cloud.fed.example/*"), BOTH),
    "served-to-those-granted": (
        replace(_allowing(), callers={ServiceName("shop", "cart"): (CLOUD, ONPREM)}),
        BOTH,
    ),
    "served-to-nobody": (
        replace(
            _allowing("spiffe://edge.fed.example/ns/shop/sa/frontend"),
            callers={ServiceName("shop", "cart"): (CLOUD,)},
        ),
        BOTH,
    ),
    "ingress-only": (
        view(imported("cart", CLOUD), services=(local_service("cart", "10.0.0.21"),), members=MEMBERS),
        INGRESS,
    ),
    "egress-only": (
        view(imported("cart", CLOUD), services=(local_service("cart", "10.0.0.21"),), members=MEMBERS),
        EGRESS,
    ),
}
