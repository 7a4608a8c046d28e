"""The packet filter's rules that lead a range of VIPs to one port of a gateway, as text for `nft -f`.

They are a table of their own, so that they come and go as a whole and touch nobody else's. Calls from other
machines meet `arriving`, those of this machine `own`. What is not TCP is refused, as it would be where the
addresses exist: sent on, it would wander off by the default route, or in a circle.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

from clusters.model import VipRange

_CHAINS: Final = (
    ("arriving", "nat", "prerouting", "dstnat", "meta l4proto tcp redirect to :{port}"),
    ("own", "nat", "output", "-100", "meta l4proto tcp redirect to :{port}"),
    # Behind the redirect, and before the way onwards is looked up: a host that would send such a packet back
    # to where it came from also tells the sender to take another way to that address.
    ("passing", "filter", "prerouting", "-99", "reject"),
    ("leaving", "filter", "output", "filter", "reject"),
)


def table(gateway: str) -> str:
    """What the table of *gateway* is called."""
    return f"inet fedgate-{gateway}"


def ruleset(gateway: str, ranges: Iterable[VipRange], port: int) -> str:
    """Lead TCP to *ranges* to *port* here: in one transaction, in place of what *gateway* had before."""
    chains = "".join(_chain(*chain, tuple(ranges), port) for chain in _CHAINS)
    return f"{removal(gateway)}table {table(gateway)} {{\n{chains}}}\n"


def removal(gateway: str) -> str:
    """Undo `ruleset`; not an error when there is nothing to undo."""
    return f"table {table(gateway)}\ndelete table {table(gateway)}\n"


def _chain(
    name: str, kind: str, hook: str, priority: str, verdict: str, ranges: tuple[VipRange, ...], port: int
) -> str:
    lines = [f"type {kind} hook {hook} priority {priority}"]
    networks = [ip_network(block.cidr) for block in ranges]
    for family, blocks in (
        ("ip", collapse_addresses(each for each in networks if isinstance(each, IPv4Network))),
        ("ip6", collapse_addresses(each for each in networks if isinstance(each, IPv6Network))),
    ):
        if elements := ", ".join(map(str, blocks)):
            lines.append(f"{family} daddr {{ {elements} }} {verdict.format(port=port)}")
    body = "".join(f"\t\t{line}\n" for line in lines)
    return f"\tchain {name} {{\n{body}\t}}\n"
