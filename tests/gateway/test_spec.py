"""What a gateway says of itself arrives as it was said, or not at all."""

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidSpec
from gateway.messages import Json
from gateway.spec import Capture, GatewaySpec, Role, from_metadata, to_metadata, without_ipv6

specs = st.builds(
    GatewaySpec,
    st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True),
    st.sets(st.sampled_from(Role), min_size=1).map(frozenset),
    st.sampled_from(Capture),
    st.lists(st.ip_addresses().map(str), min_size=1, max_size=4).map(tuple),
    st.integers(1, 15000),
    st.none() | st.text(alphabet="abc/._-", max_size=20),
    st.booleans(),
    st.integers(15001, 65535),
    tunnel_log=st.none() | st.text(alphabet="abc/._-", max_size=20),
)


@given(specs)
def test_it_survives_the_way_through_a_nodes_metadata(spec: GatewaySpec) -> None:
    assert from_metadata(Struct.FromString(to_metadata(spec).SerializeToString())) == spec


GOOD: dict[str, object] = {
    "name": "gw",
    "roles": ["egress"],
    "capture": "anyip",
    "ingress_addresses": ["0.0.0.0"],
    "ingress_port": 15008,
}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", "Not A Name", "name"),
        ("roles", [], "roles"),
        ("roles", ["admin"], "admin"),
        ("roles", "egress", "lists"),
        ("capture", "all", "all"),
        ("ingress_addresses", ["somewhere"], "not names"),
        ("ingress_addresses", [], "addresses"),
        ("ingress_addresses", ["fe80::1%eth0"], "zone"),
        ("ingress_addresses", ["10.0.0.1"] * 100, "addresses"),
        ("ingress_port", 0, "port"),
        ("ingress_port", 1.5, "port"),
        ("ingress_port", "http", "port"),
        ("ingress_port", float("inf"), "metadata"),
        ("capture_port", 0, "capture port"),
        ("capture_port", 15008, "capture port"),
        ("capture_port", "any", "capture_port"),
        ("access_log", ["/var/log"], "access_log"),
        ("tunnel_log", 1, "tunnel_log"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(field: str, value: Json, told: str) -> None:
    metadata = Struct()
    metadata.update({"fedgate": {**GOOD, field: value}})  # type: ignore[dict-item]
    with pytest.raises(InvalidSpec, match=told):
        from_metadata(metadata)


def test_a_machine_without_ipv6_binds_what_is_left() -> None:
    spec = without_ipv6(GatewaySpec("gw", frozenset(Role), ingress_addresses=("192.0.2.1", "2001:db8::1")))
    assert spec.ingress_addresses == ("192.0.2.1",)
    assert not spec.ipv6


def test_an_ingress_with_ipv6_addresses_alone_is_refused_where_there_is_no_ipv6() -> None:
    with pytest.raises(InvalidSpec, match="which this machine does not have"):
        without_ipv6(GatewaySpec("gw", frozenset({Role.INGRESS}), ingress_addresses=("2001:db8::1",)))


def test_an_envoy_that_is_no_gateway_of_ours_is_told_so() -> None:
    with pytest.raises(InvalidSpec, match="was this Envoy started by fedgate"):
        from_metadata(Struct())
