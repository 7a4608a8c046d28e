"""The file source's format: the text of a YAML document in, a whole `Offer` out, or every problem in it.

The format's own rules stand here; what a name, an address or a port may be is the model's business.
"""

from functools import partial

from clusters import health
from clusters.attestation import UnixSelector, program, unix_id
from clusters.durations import parse_duration
from clusters.errors import InvalidValue, SourceError
from clusters.health import CheckKind, HealthCheck, grpc_service, http_path, threshold
from clusters.model import GatewayRecord, Locality, Offer, Workload
from clusters.names import ServiceName, host, host_address, is_address, label, port_number, word
from clusters.services import (
    CallerPattern,
    LocalService,
    Port,
    Protocol,
    ServicePort,
    Traffic,
    TrafficPolicy,
    weight,
)
from clusters.sources.cursor import Cursor, Problems
from clusters.sources.document import Malformed, Node, Place, Table, compose
from clusters.staleness import HELD, Policy, Staleness, bound

_SERVICE_FIELDS = (
    *("namespace", "name", "ports", "endpoints", "allow"),
    *("health", "traffic", "passthrough", "staleness"),
)
_HEALTH_FIELDS = (
    *("type", "port", "path", "service"),
    *("interval", "timeout", "unhealthyThreshold", "healthyThreshold"),
)


def parse_offer(text: str, path: str) -> Offer:
    """Read an offer from *text*; `SourceError` names *path* and all that is wrong."""
    return parse_document(text, path)[0]


def parse_document(text: str, path: str) -> tuple[Offer, Node]:
    """As `parse_offer`, with the document that it was read from."""
    problems = Problems()
    offer: Offer | None = None
    root: Node = Table(Place(1, 1))
    try:
        root = compose(text)
        offer = _offer(Cursor.at_root(root, problems))
    except Malformed as error:
        problems.add(error.place, "", error.reason)
    lines = problems.lines()
    if offer is None or lines:
        raise SourceError(path, lines)
    return offer, root


def _offer(at: Cursor) -> Offer | None:
    if not at.has_fields("services", "workloads", "gateways"):
        return None
    services = at["services"].each(read_service, key=lambda service: service.service)
    workloads = at["workloads"].each(_workload, key=lambda workload: (workload.namespace, workload.name))
    gateways = at["gateways"].each(_gateway, key=lambda gateway: gateway.name)
    if services is None or workloads is None or gateways is None:
        return None
    return Offer({service.service: service for service in services}, workloads, gateways)


def read_service(at: Cursor) -> LocalService | None:
    """Read one service, or note what is wrong with it."""
    if not at.has_fields(*_SERVICE_FIELDS):
        return None
    namespace = at["namespace"].text(partial(label, "namespace"))
    name = at["name"].text(partial(label, "service"))
    ports = _ports(at["ports"])
    endpoints = at["endpoints"].each(_address)
    allow = _allow(at["allow"])
    if namespace is None or name is None or ports is None or endpoints is None or allow is None:
        return None
    check = None if at["health"].absent else _health(at["health"], ports)
    traffic = _traffic(at["traffic"])
    passthrough = at["passthrough"].flag(default=False)
    staleness = _staleness(at["staleness"])
    if (
        traffic is None
        or passthrough is None
        or staleness is None
        or (check is None and not at["health"].absent)
    ):
        return None
    service = ServiceName(namespace, name)
    return at.build(
        lambda: LocalService(
            service,
            ports,
            endpoints,
            allow,
            check,
            traffic=traffic,
            passthrough=passthrough,
            staleness=staleness,
        )
    )


def _staleness(at: Cursor) -> Staleness | None:
    """Read what becomes of calls when this cluster is not heard of: they go on, unless it says otherwise."""
    if at.absent:
        return HELD
    if not at.has_fields("policy", "after"):
        return None
    policy = at["policy"].text(_absent_policy, default=Policy.HOLD)
    after = at["after"].text(_after, default=HELD.after)
    return None if policy is None or after is None else Staleness(policy, after)


def _absent_policy(text: str) -> Policy:
    try:
        return Policy(text)
    except ValueError as error:
        raise InvalidValue("policy", text, f"want {', '.join(Policy)}") from error


def _after(text: str) -> float:
    return bound(parse_duration(text).total_seconds())


def _traffic(at: Cursor) -> Traffic | None:
    """Read how calls are shared out between clusters: to the nearest one unless it says otherwise."""
    if at.absent:
        return Traffic()
    if not at.has_fields("policy", "weight"):
        return None
    policy = at["policy"].text(_policy)
    if policy is TrafficPolicy.FAILOVER and not at["weight"].absent:
        at["weight"].wrong(f"makes sense with policy {TrafficPolicy.WEIGHTED} alone")
    share = at["weight"].number(weight, default=Traffic().weight)
    return None if policy is None or share is None else Traffic(policy, share)


def _policy(text: str) -> TrafficPolicy:
    try:
        return TrafficPolicy(text)
    except ValueError as error:
        raise InvalidValue("policy", text, f"want {', '.join(TrafficPolicy)}") from error


def _ports(at: Cursor) -> tuple[ServicePort, ...] | None:
    ports = at.each(_port, key=lambda each: (each.port.number, each.port.protocol))
    if ports == ():
        at.wrong("missing" if at.absent else "empty; want one port at least")
        return None
    if ports and len({each.port.name for each in ports}) < len(ports):
        at.wrong("several ports want a name each, and no two the same: {port: 8080, name: http}")
        return None
    return ports


def _port(at: Cursor) -> ServicePort | None:
    """Read a mapping, or a plain number for a port that is the same on both sides."""
    if at.is_scalar:
        number = at.number(port_number)
        return None if number is None else ServicePort(Port(number), number)
    if not at.has_fields("port", "targetPort", "name", "protocol", "appProtocol"):
        return None
    number = at["port"].number(port_number)
    target = at["targetPort"].number(port_number, default=number or 1)
    name = at["name"].text(partial(label, "port"), default="")
    protocol = at["protocol"].text(_protocol, default=Protocol.TCP)
    app_protocol = at["appProtocol"].text(word, default="")
    if number is None or target is None or name is None or protocol is None or app_protocol is None:
        return None
    return at.build(lambda: ServicePort(Port(number, name, protocol, app_protocol or None), target))


def _allow(at: Cursor) -> tuple[CallerPattern, ...] | None:
    """Read whom a service lets in. An empty list could mean nobody or anybody, so it means neither."""
    allow = at.each(lambda each: each.text(CallerPattern))
    if allow == () and not at.absent:
        at.wrong("empty; leave the field out to let every workload in, or name the callers")
        return None
    return allow


def _health(at: Cursor, ports: tuple[ServicePort, ...]) -> HealthCheck | None:
    """Read how endpoints are checked: on the target of the first TCP port unless another is named."""
    if not at.has_fields(*_HEALTH_FIELDS):
        return None
    kind = at["type"].text(_kind)
    for field, only in (("path", CheckKind.HTTP), ("service", CheckKind.GRPC)):
        if kind not in (None, only) and not at[field].absent:
            at[field].wrong(f"makes sense with type {only} alone")
    carried = [each.target for each in ports if each.port.protocol is Protocol.TCP]
    if not carried and at["port"].absent:
        at["port"].wrong("missing; the service has no TCP port that could be taken instead")
        return None
    port = at["port"].number(port_number, default=carried[0] if carried else None)
    path, service = at["path"].text(http_path, default="/"), at["service"].text(grpc_service, default="")
    interval = at["interval"].text(_interval, default=2.0)
    timeout = at["timeout"].text(_timeout, default=1.0)
    down = at["unhealthyThreshold"].number(threshold, default=2)
    up = at["healthyThreshold"].number(threshold, default=1)
    if kind is None or port is None or path is None or service is None or interval is None or timeout is None:
        return None
    if down is None or up is None:
        return None
    return at.build(lambda: HealthCheck(kind, port, path, service, interval, timeout, down, up))


def _interval(text: str) -> float:
    return health.interval(parse_duration(text).total_seconds())


def _timeout(text: str) -> float:
    return health.timeout(parse_duration(text).total_seconds())


def _kind(text: str) -> CheckKind:
    try:
        return CheckKind(text)
    except ValueError as error:
        raise InvalidValue("type", text, f"want {', '.join(CheckKind)}") from error


def _workload(at: Cursor) -> Workload | None:
    if not at.has_fields("namespace", "name", "addresses", "unix"):
        return None
    namespace = at["namespace"].text(partial(label, "namespace"))
    name = at["name"].text(partial(label, "workload"))
    addresses = at["addresses"].each(_address)
    selector = None if at["unix"].absent else _unix(at["unix"])
    if namespace is None or name is None or addresses is None:
        return None
    if selector is None and not at["unix"].absent:
        return None
    return at.build(lambda: Workload(namespace, name, addresses, selector))


def _unix(at: Cursor) -> UnixSelector | None:
    """Read what a workload's processes are known by: their user, and perhaps group and program."""
    if not at.has_fields("uid", "gid", "path"):
        return None
    uid = at["uid"].number(unix_id)
    gid = None if at["gid"].absent else at["gid"].number(unix_id)
    path = None if at["path"].absent else at["path"].text(program)
    unread = (gid is None and not at["gid"].absent) or (path is None and not at["path"].absent)
    return None if uid is None or unread else at.build(lambda: UnixSelector(uid, gid, path))


def _gateway(at: Cursor) -> GatewayRecord | None:
    if not at.has_fields("name", "addresses", "port", "locality"):
        return None
    name = at["name"].text(partial(label, "gateway"))
    addresses = at["addresses"].each(_address_or_name)
    port = at["port"].number(port_number, default=15008)
    locality = _locality(at["locality"])
    if addresses == ():
        at["addresses"].wrong(
            "missing" if at["addresses"].absent else "empty; other clusters could not dial it"
        )
        return None
    if name is None or addresses is None or port is None or locality is None:
        return None
    return at.build(lambda: GatewayRecord(name, addresses, port, locality))


def _locality(at: Cursor) -> Locality | None:
    if at.absent:
        return Locality()
    if not at.has_fields("region", "zone"):
        return None
    region, zone = at["region"].text(word, default=""), at["zone"].text(word, default="")
    return None if region is None or zone is None else Locality(region, zone)


def _address(at: Cursor) -> str | None:
    return at.text(host_address)


def _address_or_name(at: Cursor) -> str | None:
    return at.text(lambda text: host_address(text) if is_address(text) else host(text))


def _protocol(text: str) -> Protocol:
    try:
        return Protocol(text)
    except ValueError as error:
        raise InvalidValue("protocol", text, f"want {', '.join(Protocol)}") from error
