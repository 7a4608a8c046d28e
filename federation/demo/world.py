"""Where the demo's parts are: a hub and two sites, on hosts of their own or on this machine's loopback.

    hub ──────┐ 192.0.2.1             in namespaces: "underlay" joins hub and gateways and nobody else;
              │ underlay              both sites use the same addresses inside, and cannot reach each other
     ┌────────┴────────┐
  gateway .10       gateway .20       runs the agent (with its DNS) and the gateway; owns the VIP range there
     │ onprem          │ cloud
  10.0.0.0/24       10.0.0.0/24
   app .11           app .11          calls
   server .21        server .21       runs the sample services

On loopback each part has an address 127.77.x.y of its own instead, each site a VIP range in 127.0.0.0/8, and
whoever calls from this machine calls from 127.0.0.1: so that is the address of every site's workload.

Some scenarios have another shape: two gateways in a cluster, or a third site that runs nothing but callers.
"""

import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import astuple, dataclass, replace
from ipaddress import ip_network
from typing import Final, NamedTuple

from clusters.names import ServiceName
from federation.demo.machines import Machine, ThisMachine
from federation.demo.topology import Host, Lab
from federation.errors import CannotDemonstrate
from federation.settings import DEFAULT_DOMAIN, DEFAULT_VIP_RANGES, HUB_PORT, SYNC_PORT

NAMESPACE = "shop"


@dataclass(frozen=True, slots=True)
class Ports:
    """Who listens on which port; on hosts of their own, these."""

    hub: int = HUB_PORT
    sync: int = SYNC_PORT
    ingress: int = 15008
    dns: int = 53
    http: int = 8080
    grpc: int = 9090
    tcp: int = 7070
    ads: int = 15010
    enrol: int = 15011
    etcd: int = 2379
    etcd_peer: int = 2380


@dataclass(frozen=True, slots=True)
class Shape:
    """What is not the same in every scenario: how many gateways a cluster has, whether there is an `edge`.

    The edge is a third site, of callers alone. Sites that are *alike* run the same service, the cloud's. More
    than one of *hubs* share an etcd, of which each has a member beside it.
    """

    hubs: int = 1
    gateways: int = 1
    edge: bool = False
    alike: bool = False


@dataclass(frozen=True, slots=True)
class Front:
    """One gateway of a site: its machine, where peers dial it, and the VIP ranges that lead to it."""

    name: str
    machine: Machine
    underlay: tuple[str, ...]
    vip_ranges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster's machines and addresses: all that its files and options are made of.

    The agent runs on the machine of the first of `fronts`. `resolves` says whether names of the clusterset
    resolve on the machine of the caller; where they do not, callers look up the address at the first of
    `dns` and dial that.
    """

    cluster: str
    workload: str
    service: ServiceName
    fronts: tuple[Front, ...]
    caller: Machine
    server: Machine
    callers: tuple[str, ...]
    endpoints: tuple[str, ...]
    dns: tuple[str, ...]
    ports: Ports
    capture: str
    resolves: bool
    vip_ranges: tuple[str, ...] = ()
    region: str = ""

    @property
    def gateway(self) -> Machine:
        """The machine of its agent, and of its first gateway."""
        return self.fronts[0].machine

    @property
    def underlay(self) -> tuple[str, ...]:
        """Where peers dial its first gateway."""
        return self.fronts[0].underlay

    @property
    def name_servers(self) -> tuple[str, ...]:
        """Where its agent answers DNS, as ADDRESS:PORT."""
        return tuple(at(address, self.ports.dns) for address in self.dns)

    @property
    def caller_id(self) -> str:
        """The SPIFFE ID by which the far side should know this site's caller."""
        return f"spiffe://{self.cluster}.{DEFAULT_DOMAIN}/ns/{NAMESPACE}/sa/{self.workload}"

    @property
    def answers_as(self) -> str:
        """What this site's service says it is."""
        return f"{self.service.name}@{self.cluster}"

    def source(self) -> dict[str, list[dict[str, object]]]:
        """What the site offers, as its agent's source file says it."""
        return {
            "services": [self._service()] if self.endpoints else [],
            "workloads": [
                {"namespace": NAMESPACE, "name": self.workload, "addresses": list(self.callers)},
            ],
            "gateways": [self._gateway(front) for front in self.fronts],
        }

    def _gateway(self, front: Front) -> dict[str, object]:
        where = {"locality": {"region": self.region}} if self.region else {}
        return {"name": front.name, "addresses": list(front.underlay), "port": self.ports.ingress, **where}

    def _service(self) -> dict[str, object]:
        ports = {"http": self.ports.http, "grpc": self.ports.grpc, "tcp": self.ports.tcp}
        return {
            "namespace": self.service.namespace,
            "name": self.service.name,
            "ports": [{"port": port, "name": name, "appProtocol": name} for name, port in ports.items()],
            "endpoints": list(self.endpoints),
        }


@dataclass(frozen=True, slots=True)
class World:
    """The hub's machine, the sites, and *more_hubs* beside the hub. `mode` is `namespaces` or `loopback`."""

    mode: str
    hub: Machine
    hub_address: str
    ports: Ports
    onprem: Site
    cloud: Site
    edge: Site | None = None
    more_hubs: tuple[tuple[Machine, str], ...] = ()

    @property
    def hubs(self) -> tuple[tuple[Machine, str], ...]:
        """Each hub's machine and address, the first one first."""
        return ((self.hub, self.hub_address), *self.more_hubs)

    @property
    def sites(self) -> tuple[Site, Site]:
        """The two sites that run services, in the order in which they join."""
        return self.onprem, self.cloud


_PLAIN: Final = Shape()


def in_namespaces(lab: Lab, shape: Shape = _PLAIN) -> World:
    """Build the world of hosts in *lab*.

    Of two gateways each has half of the VIPs: callers have a route for each half, which never changes.
    """
    hub, ports = lab.host("hub"), Ports()
    lab.connect("underlay", {hub: ["192.0.2.1/24", "2001:db8:2::1/64"]})
    more = tuple((lab.host(f"hub-{n}"), f"192.0.2.{n}") for n in range(2, shape.hubs + 1))
    for host, address in more:
        lab.connect("underlay", {host: [f"{address}/24"]})
    return World(
        "namespaces",
        hub,
        "192.0.2.1",
        ports,
        _site_in(lab, ports, _onprem(shape), 10, shape.gateways),
        _site_in(lab, ports, _CLOUD, 20, shape.gateways),
        _site_in(lab, ports, _EDGE, 30, shape.gateways) if shape.edge else None,
        more,
    )


def on_loopback(shape: Shape = _PLAIN) -> World:
    """Give everything an address of this machine's own, and ports that nobody has: one gateway for each."""
    machine, ports = ThisMachine(), _free_ports()

    def site(number: int, who: _Who) -> Site:
        block = f"127.77.{number}"
        return Site(
            who.cluster,
            who.workload,
            ServiceName(NAMESPACE, who.service),
            fronts=(Front("gw-1", machine, (f"{block}.1",)),),
            caller=machine,
            server=machine,
            callers=("127.0.0.1",),
            endpoints=(f"{block}.21",) if who.serves else (),
            dns=(f"{block}.1",),
            ports=ports,
            capture="loopback",
            resolves=False,
            vip_ranges=(f"127.77.{100 + number}.0/24",),
            region=who.region,
        )

    return World(
        "loopback",
        machine,
        "127.77.0.1",
        ports,
        site(1, _onprem(shape)),
        site(2, _CLOUD),
        site(3, _EDGE) if shape.edge else None,
        tuple((machine, f"127.77.0.{n}") for n in range(2, shape.hubs + 1)),
    )


def at(address: str, port: int) -> str:
    """`192.0.2.1:80` or `[2001:db8::1]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class _Who(NamedTuple):
    """Who a site is, wherever it stands; the cloud is the edge's neighbour."""

    cluster: str
    workload: str
    service: str
    region: str
    serves: bool = True


_CLOUD: Final = _Who("cloud", "reports", "catalog", "north")
_EDGE: Final = _Who("edge", "kiosk", "catalog", "north", serves=False)


def _onprem(shape: Shape) -> _Who:
    return _Who("onprem", "frontend", "catalog" if shape.alike else "orders", "south")


def _site_in(lab: Lab, ports: Ports, who: _Who, number: int, gateways: int) -> Site:
    cluster = who.cluster
    app, server = (lab.host(f"{cluster}-{part}") for part in ("app", "server"))
    callers, endpoints = (tuple(_usable(lab, f"10.0.0.{n}", f"fd00::{n}")) for n in (11, 21))
    _plug(lab, cluster, app, callers)
    _plug(lab, cluster, server, endpoints)
    fronts = tuple(_front_in(lab, cluster, app, number, n, gateways) for n in range(1, gateways + 1))
    dns = tuple(_usable(lab, "10.0.0.1", "fd00::1"))
    app.name_servers(*dns)
    ranges = tuple(cidr for front in fronts for cidr in front.vip_ranges)
    return Site(
        cluster,
        who.workload,
        ServiceName(NAMESPACE, who.service),
        fronts,
        app,
        server,
        callers=callers,
        endpoints=endpoints if who.serves else (),
        dns=dns,
        ports=ports,
        capture="anyip",
        resolves=True,
        vip_ranges=ranges if gateways > 1 or not lab.ipv6 else (),
        region=who.region,
    )


def _front_in(lab: Lab, cluster: str, app: Host, number: int, n: int, gateways: int) -> Front:
    """The *n*-th gateway of a cluster, and the way to it from the host *app*."""
    host = lab.host(f"{cluster}-gateway" if n == 1 else f"{cluster}-gateway-{n}")
    underlay = tuple(_usable(lab, f"192.0.2.{number + n - 1}", f"2001:db8:2::{number + n - 1}"))
    _plug(lab, "underlay", host, underlay)
    inside = _usable(lab, f"10.0.0.{n}", f"fd00::{n}")
    _plug(lab, cluster, host, inside)
    ranges = _usable(lab, *(_part(cidr, n - 1, gateways) for cidr in DEFAULT_VIP_RANGES))
    for cidr in ranges:
        host.capture(cidr)
        app.route(cidr, via=next(address for address in inside if (":" in address) == (":" in cidr)))
    return Front(f"gw-{n}", host, underlay, tuple(ranges))


def _part(cidr: str, index: int, parts: int) -> str:
    """The part number *index* of *cidr* in so many equal *parts*, a power of two."""
    return str(list(ip_network(cidr).subnets(parts.bit_length() - 1))[index])


def _plug(lab: Lab, network: str, host: Host, addresses: Iterable[str]) -> None:
    lab.connect(network, {host: [f"{address}/{64 if ':' in address else 24}" for address in addresses]})


def _usable(lab: Lab, *addresses: str) -> list[str]:
    return [address for address in addresses if lab.ipv6 or ":" not in address]


def _free_ports() -> Ports:
    """The usual ports, but for those that somebody has on any address of this machine."""
    usual = replace(Ports(), dns=10053)  # 53 is not for everybody
    with ExitStack() as held:  # all at once, so that no two of them are the same
        return Ports(*(free_port(port, held) for port in astuple(usual)))


def free_port(wanted: int, held: ExitStack) -> int:
    """*wanted* if it is free for both TCP and UDP, else one that the kernel chooses."""
    for port in (wanted, 0, 0, 0):
        tcp, udp = (
            held.enter_context(socket.socket()),
            held.enter_context(socket.socket(type=socket.SOCK_DGRAM)),
        )
        try:
            tcp.bind(("", port))
            udp.bind(tcp.getsockname())
        except OSError:
            continue
        return int(tcp.getsockname()[1])
    raise CannotDemonstrate("this machine has no free port", "see what `ss -ltn` lists")
