"""What everybody is told of the hubs that run."""

from dataclasses import replace

from federation.registry.clusterset import Change, Clusterset
from federation.registry.codec import encode
from federation.registry.hubs import at_hubs
from federation.registry.keyspace import FEDERATION, hub
from federation.registry.records import HubRecord
from tests.builders import federation
from tests.federation.registry.worlds import NOW


def record(name: str) -> HubRecord:
    return HubRecord(name, f"instance of {name}", (f"{name}:7443",), (f"{name}:7444",), "1", NOW)


def test_all_hubs_are_told_of_in_the_order_of_their_names_whoever_came_first() -> None:
    one, other = Clusterset(), Clusterset()
    for clusterset, names in ((one, "ab"), (other, "ba")):
        assert clusterset.apply(FEDERATION, encode(federation())) == Change(federation=True)
        for name in names:
            assert clusterset.apply(hub(name), encode(record(name))) == Change(federation=True, hubs=True)
    assert one.federation == other.federation
    assert one.federation is not None
    assert (one.federation.join, one.federation.sync) == (("a:7443", "b:7443"), ("a:7444", "b:7444"))
    again = encode(HubRecord("a", "another", ("a:7443",), ("a:7444",), "2", NOW))
    assert one.apply(hub("a"), again) == Change(hubs=True)
    one.apply(hub("a"), None)
    assert one.federation.sync == ("b:7444",)


def test_proofs_are_seen_by_all_hubs_while_they_are_asked_for() -> None:
    hubs = [record("a"), record("b")]
    asking = at_hubs(replace(federation(), prove_at=("a:7443",)), hubs)
    quiet = at_hubs(federation(), hubs)
    assert asking is not None
    assert quiet is not None
    assert (asking.prove_at, quiet.prove_at) == (("a:7443", "b:7443"), ())
