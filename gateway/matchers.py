"""Matching a connection by its addresses, as a tree that Envoy walks once when it accepts.

An RBAC filter would look too late: Envoy asks it when the first bytes arrive, and by then the connection
onwards is being made. A listener's matcher decides before there is any filter, so that a connection that
it does not let in costs nothing and leaves nothing behind.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

from envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import (
    DestinationIPInput,
    SourceIPInput,
)
from google.protobuf.wrappers_pb2 import StringValue, UInt32Value
from xds.core.v3.cidr_pb2 import CidrRange
from xds.core.v3.extension_pb2 import TypedExtensionConfig
from xds.type.matcher.v3.ip_pb2 import IPMatcher
from xds.type.matcher.v3.matcher_pb2 import Matcher

from gateway.messages import packed

SOURCE: Final = TypedExtensionConfig(name="source", typed_config=packed(SourceIPInput()))
DESTINATION: Final = TypedExtensionConfig(name="destination", typed_config=packed(DestinationIPInput()))


def chain(name: str) -> Matcher.OnMatch:
    """Take the filter chain *name*."""
    action = TypedExtensionConfig(name="chain", typed_config=packed(StringValue(value=name)))
    return Matcher.OnMatch(action=action)


def by_address(which: TypedExtensionConfig, *found: tuple[Iterable[str], Matcher.OnMatch]) -> Matcher:
    """Go on for exactly the addresses in *found* with what stands beside them; nothing else matches."""
    matcher = Matcher()
    ranges = [(cidr_ranges(addresses), then) for addresses, then in found]
    some = [IPMatcher.IPRangeMatcher(ranges=blocks, on_match=then) for blocks, then in ranges if blocks]
    if not some:  # Envoy wants at least one range, and a matcher that is empty matches nothing
        return matcher
    among = IPMatcher(range_matchers=some)
    matcher.matcher_tree.input.CopyFrom(which)
    matcher.matcher_tree.custom_match.CopyFrom(TypedExtensionConfig(name="ip", typed_config=packed(among)))
    return matcher


def cidr_ranges(addresses: Iterable[str]) -> list[CidrRange]:
    """The fewest blocks that hold *addresses* and nothing else, in a fixed order."""
    networks = [ip_network(address) for address in set(addresses)]
    blocks: list[IPv4Network | IPv6Network] = [
        *collapse_addresses(n for n in networks if isinstance(n, IPv4Network)),
        *collapse_addresses(n for n in networks if isinstance(n, IPv6Network)),
    ]
    return [
        CidrRange(address_prefix=str(block.network_address), prefix_len=UInt32Value(value=block.prefixlen))
        for block in blocks
    ]
