"""What grants allow: patterns, defaults, who is told, and addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.errors import ClusterError
from clusters.names import ClusterName
from federation.registry.grants import Default, Defaults, Grant, Grants
from federation.registry.judge import Judge
from tests.builders import CLOUD, ONPREM, VIP_RANGES
from tests.federation.registry.worlds import service

EDGE = ClusterName("edge-1")
DENY = Defaults(Default.DENY, Default.DENY, Default.DENY)
CATALOG = service("catalog")


def judge(*grants: Grant, defaults: Defaults = DENY, one_machine: bool = False) -> Judge:
    return Judge(Grants(defaults, grants=grants), (ONPREM, CLOUD, EDGE), VIP_RANGES, one_machine=one_machine)


def test_by_default_everything_is_allowed_to_everybody() -> None:
    open_to_all = judge(defaults=Defaults())
    assert open_to_all.export(ONPREM, CATALOG)
    assert open_to_all.passes(ONPREM, CATALOG, CLOUD)
    assert open_to_all.import_(CLOUD, CATALOG)
    assert open_to_all.audience(ONPREM, CATALOG) is None
    assert open_to_all.address(ONPREM, "192.0.2.1")


def test_what_no_grant_speaks_of_is_refused_with_a_reason_where_that_is_the_default() -> None:
    ruling = judge().export(ONPREM, CATALOG)
    assert (ruling.granted, ruling.reason) == (False, "no grant lets onprem export shop/catalog")
    assert judge().audience(ONPREM, CATALOG) == frozenset()


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("shop/catalog", True),
        ("shop/cat*", True),
        ("shop/*", True),
        ("*/catalog", True),
        ("*/*", True),
        ("sh*/c*", True),
        ("shop/cart", False),
        ("shop2/*", False),
        ("sho/*", False),
    ],
)
def test_a_grant_speaks_of_services_by_patterns(pattern: str, allowed: bool) -> None:
    ruling = judge(Grant("g", ("onprem",), exports=(pattern,))).export(ONPREM, CATALOG)
    assert ruling.granted is allowed
    assert ruling.by == ("g" if allowed else "default")


def test_a_grant_is_for_the_clusters_that_it_names_and_for_no_others() -> None:
    ours = judge(Grant("g", ("edge-*",), exports=("*/*",)))
    assert ours.export(EDGE, CATALOG)
    assert not ours.export(ONPREM, CATALOG)


def test_what_is_exported_to_some_is_for_them_and_its_exporter() -> None:
    exports = Grant("g", ("onprem",), exports=("shop/*",), to=("edge-*",))
    ours = judge(exports, defaults=Defaults(exports=Default.DENY))
    assert ours.audience(ONPREM, CATALOG) == frozenset({ONPREM, EDGE})
    assert ours.passes(ONPREM, CATALOG, EDGE).by == "g"
    assert ours.passes(ONPREM, CATALOG, CLOUD).reason == "no grant lets onprem export shop/catalog to cloud"


def test_grants_add_up() -> None:
    some = [Grant(name, ("onprem",), exports=("shop/*",), to=(name,)) for name in ("cloud", "edge-1")]
    assert judge(*some, defaults=Defaults(exports=Default.DENY)).audience(ONPREM, CATALOG) is None


def test_who_may_import_nothing_is_told_of_nothing_but_its_own() -> None:
    importing = Grant("g", ("cloud",), imports=("shop/*",))
    ours = judge(importing, defaults=Defaults(imports=Default.DENY))
    assert ours.audience(ONPREM, CATALOG) == frozenset({ONPREM, CLOUD})
    assert ours.import_(CLOUD, CATALOG).by == "g"
    assert not ours.import_(EDGE, CATALOG)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "is loopback"),
        ("::1", "is loopback"),
        ("localhost", "is loopback"),
        ("a.localhost", "is loopback"),
        ("169.254.169.254", "is link-local"),
        ("fe80::1", "is link-local"),
        ("224.0.0.1", "is multicast"),
        ("ff02::1", "is multicast"),
        ("0.0.0.0", "is no host's address"),
        ("255.255.255.255", "is no host's address"),
        ("::", "is no host's address"),
        ("241.0.0.7", "is in the VIP range"),
        ("fd5f:ed:6a7e::7", "is in the VIP range"),
    ],
)
def test_addresses_that_are_another_place_for_others_are_refused_though_all_are_allowed(
    address: str, why: str
) -> None:
    everything = Grant("g", ("*",), addresses=("0.0.0.0/0", "::/0"))
    ruling = judge(everything, defaults=Defaults()).address(ONPREM, address)
    assert not ruling
    assert f"{address} {why}" in ruling.reason


@pytest.mark.parametrize(
    ("pattern", "address", "allowed"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.77.1.1", "127.77.1.1", True),
        ("::1", "::1", True),
        ("127.77.1.1", "127.77.1.2", False),
        ("localhost", "localhost", True),
        ("169.254.0.0/16", "169.254.1.1", True),
        ("126.0.0.0/7", "127.0.0.1", False),
        ("224.0.0.0/4", "224.0.0.1", False),
        ("192.0.2.0/24", "192.0.2.9", True),
        ("192.0.2.0/24", "192.0.3.9", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("*.gw.example", "a.gw.example", True),
        ("*.gw.example", "gw.example", False),
        ("*.gw.example", "agw.example", False),
        ("gw.example", "gw.example", True),
    ],
)
def test_a_grant_speaks_of_addresses_and_of_special_ones_only_if_of_them_alone(
    pattern: str, address: str, allowed: bool
) -> None:
    assert judge(Grant("g", ("onprem",), addresses=(pattern,))).address(ONPREM, address).granted is allowed


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_where_all_are_on_one_machine_loopback_is_one_place(address: str) -> None:
    assert judge(defaults=Defaults(), one_machine=True).address(ONPREM, address)
    assert not judge(defaults=Defaults(), one_machine=True).address(ONPREM, "169.254.1.1")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Grant("g", ()),
        lambda: Grant("g", ("onprem",)),
        lambda: Grant("g", ("onprem",), exports=("shop",)),
        lambda: Grant("g", ("onprem",), exports=("*hop/*",)),
        lambda: Grant("g", ("on*prem",), exports=("*/*",)),
        lambda: Grant("G", ("onprem",), exports=("*/*",)),
        lambda: Grant("g", ("onprem",), exports=("*/*",), to=()),
        lambda: Grant("g", ("onprem",), addresses=("192.0.2.1/24",)),
        lambda: Grant("g", ("onprem",), addresses=("*",)),
        lambda: Grant("g", ("onprem",), exports=("*/*",) * 101),
        lambda: Grants(grants=(Grant("g", ("*",), exports=("*/*",)),) * 2),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ClusterError):
        make()


names = st.sampled_from([ONPREM, CLOUD, EDGE, ClusterName("edge-2")])
grants = st.builds(
    lambda name, of, what, to, imports: Grant(name, (of,), exports=(what,), to=(to,), imports=(imports,)),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["onprem", "edge-*", "*"]),
    st.sampled_from(["shop/*", "*/db", "*/*"]),
    st.sampled_from(["cloud", "e*", "*"]),
    st.sampled_from(["shop/catalog", "pay/*", "*/*"]),
)
defaults = st.builds(Defaults, *[st.sampled_from(Default)] * 3)


@given(defaults, st.lists(grants, max_size=3, unique_by=lambda grant: grant.name), names, names)
def test_who_has_a_service_may_call_it_and_nobody_else(
    defaults: Defaults, made: list[Grant], exporter: ClusterName, importer: ClusterName
) -> None:
    ours = Judge(Grants(defaults, grants=tuple(made)), (ONPREM, CLOUD, EDGE, ClusterName("edge-2")))
    callers = ours.audience(exporter, CATALOG)
    seen = ours.export(exporter, CATALOG).granted and ours.sees(importer, exporter, CATALOG)
    assert seen is (callers is None or importer in callers)
