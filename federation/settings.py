"""What the hub and the agent are told at start: plain values that check themselves.

The command line makes them and the long-running parts take them. Nothing heavy is imported here,
because every command pays for it.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from clusters.errors import InvalidValue
from clusters.model import VipRange
from clusters.names import canonical_address, label
from federation.registry.etcd.location import Location
from pki.lifetimes import GRACE, SVID_LIFETIME, Lifetimes, check_lifetime

HUB_PORT = 7443
SYNC_PORT = 7444
DNS_PORT = 53
BUNDLE_REFRESH = timedelta(minutes=5)
_SOONEST_REFRESH, _LATEST_REFRESH = timedelta(seconds=10), timedelta(days=1)
HOLD_WITHDRAWALS = timedelta(hours=1)
DEFAULT_DOMAIN = "fed.example"
DEFAULT_LISTEN = f"[::]:{HUB_PORT}"
DEFAULT_SYNC_LISTEN = f"[::]:{SYNC_PORT}"
DEFAULT_DNS_LISTEN = (f"127.0.0.1:{DNS_PORT}",)
DEFAULT_VIP_RANGES = ("241.0.0.0/16", "fd5f:ed:6a7e::/112")


def host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Split `192.0.2.1:53`, `[::1]:53` or `hub.example:7443`; port 0 lets the kernel choose.

    Without a port *default_port* is taken, and without that it is an error.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = text, ""
    if not port and default_port is None:
        raise InvalidValue("address", text, "want HOST:PORT, or [IPV6]:PORT")
    if port and not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise InvalidValue("address", text, "the port must be 0-65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or any(c.isspace() or c in "/[]" for c in host):
        raise InvalidValue("address", text, "want HOST:PORT, or [IPV6]:PORT")
    return host, int(port) if port else default_port or 0


def _check_reachable(text: str, default_port: int | None = None) -> None:
    """Refuse what cannot be an address that others are told of."""
    host, _ = host_port(text, default_port)
    if "%" in host:
        raise InvalidValue("address", text, "has a zone, which means nothing on another host")


def _check_ranges(ranges: tuple[str, ...]) -> None:
    """Refuse ranges that are none, and two that share an address."""
    parsed = [VipRange(cidr) for cidr in ranges]
    for i, one in enumerate(parsed):
        for other in parsed[:i]:
            if one.overlaps(other):
                raise InvalidValue("VIP range", one.cidr, f"overlaps {other.cidr}")


@dataclass(frozen=True, slots=True)
class HubSettings:
    """How to run a hub.

    `listen` serves joins and `sync_listen` the members' streams; `advertise` are the names and
    addresses by which members reach this host, first one first. The admin API is always on
    `state/admin.sock`; it is on TCP, with TLS, only if `admin_listen` and `admin_token_file` say so.
    `root_cert` with `root_key`, or `hub_ca_chain`, are what a first start begins with, instead of a new root.
    `bundle_listen` serves SPIFFE bundles, with the hub's own SVID unless there is `bundle_cert`. Others
    are to look again there after `bundle_refresh`.
    For `grace` after the end of its issuing CA a cluster is let in again by the key of that.
    Without a `store` the registry is a file in `state`. `name` is how other hubs with the same store know
    this one; without it that is the machine's name.
    """

    state: Path
    domain: str = DEFAULT_DOMAIN
    listen: str = DEFAULT_LISTEN
    sync_listen: str = DEFAULT_SYNC_LISTEN
    advertise: tuple[str, ...] = ()
    vip_ranges: tuple[str, ...] = DEFAULT_VIP_RANGES
    passphrase: bytes | None = field(default=None, repr=False)
    root_cert: Path | None = None
    root_key: Path | None = None
    hub_ca_chain: Path | None = None
    admin_listen: str | None = None
    admin_token_file: Path | None = None
    bundle_listen: str | None = None
    bundle_cert: Path | None = None
    bundle_key: Path | None = None
    bundle_refresh: timedelta = BUNDLE_REFRESH
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    grace: timedelta = GRACE
    store: Location | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for address in (self.listen, self.sync_listen, self.admin_listen, self.bundle_listen):
            if address:
                _check_reachable(address)
        if bool(self.bundle_cert) != bool(self.bundle_key) or (self.bundle_cert and not self.bundle_listen):
            raise InvalidValue(
                "bundle endpoint",
                self.bundle_listen or "",
                "its certificate, its key and where it listens are said together",
            )
        if not _SOONEST_REFRESH <= self.bundle_refresh <= _LATEST_REFRESH:
            raise InvalidValue("bundle refresh", f"{self.bundle_refresh}", "want 10 seconds to a day")
        for address in self.advertise:
            _check_reachable(address, HUB_PORT)
        if self.name:
            label("hub", self.name)
        if (self.root_cert is None) is not (self.root_key is None):
            raise InvalidValue("root", str(self.root_cert or self.root_key), "it needs certificate and key")
        if self.root_cert and self.hub_ca_chain:
            raise InvalidValue("root", str(self.root_cert), "want it with its key, or a hub CA: not both")
        _check_ranges(self.vip_ranges)
        if not self.vip_ranges:
            raise InvalidValue("VIP ranges", "", "a hub needs at least one")
        if self.admin_listen and not self.admin_token_file:
            raise InvalidValue(
                "admin address", self.admin_listen, "the admin API is on TCP only with a token file"
            )

    @property
    def heard_outside(self) -> timedelta:
        """After how long those who follow our bundles have heard of what is new there; none if nobody can.

        That is twice the time after which they look, as one look may fail, or be answered from a cache.
        """
        return 2 * self.bundle_refresh if self.bundle_listen else timedelta()


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How to run a cluster's agent.

    `source` is the file that says what the cluster offers. Without `vip_ranges` the federation's
    are used. `ads_listen` and `enrol_listen` serve gateways on other hosts, and are off by default;
    `dns_forward` are the name servers for everything outside of `clusterset.local`. Without
    `workload_socket` the Workload API is in the state folder, where only this user reaches it.
    """

    state: Path
    source: Path | None = None
    dns_listen: tuple[str, ...] = DEFAULT_DNS_LISTEN
    dns_forward: tuple[str, ...] = ()
    vip_ranges: tuple[str, ...] = ()
    ads_listen: str | None = None
    enrol_listen: str | None = None
    workload_socket: Path | None = None
    passphrase: bytes | None = field(default=None, repr=False)
    svid_lifetime: timedelta = SVID_LIFETIME
    hold_withdrawals: timedelta = HOLD_WITHDRAWALS

    def __post_init__(self) -> None:
        for address in (self.ads_listen, self.enrol_listen):
            if address:
                _check_reachable(address)
        for address in (*self.dns_listen, *self.dns_forward):
            canonical_address(host_port(address, DNS_PORT)[0])
        _check_ranges(self.vip_ranges)
        check_lifetime("SVID", self.svid_lifetime)
