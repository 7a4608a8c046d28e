"""What an agent believes of what its hub and its source say."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

import pytest

from clusters.errors import ClusterError, InvalidValue
from clusters.model import Federation, Member, Offer, VipRange, Workload
from clusters.names import ClusterName, ServiceName
from clusters.verdict import UNSAID, Published, Verdict
from federation.errors import ChangesRejected, UnreadableRecord
from federation.knowledge import Knowledge, Learned, export_of
from federation.last_view import Owners, Received
from federation.sync import records
from pki.authority import to_pem
from pki.lifetimes import ISSUING_CA_LIFETIME
from pki.succession import cross_certificate
from tests import builders
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, ONPREM

CART = ServiceName("shop", "cart")


@pytest.fixture(scope="module")
def pki() -> Authorities:
    return Authorities()


@pytest.fixture
def knowledge(pki: Authorities) -> Knowledge:
    federation = builders.federation(roots=(pki.root_pem,))
    return Knowledge(ONPREM, Received(federation), pki.roots, (), lambda: NOW)


def genuine(pki: Authorities, name: ClusterName) -> Member:
    return builders.member(name, "192.0.2.9", anchors=(to_pem(pki.issuing_ca(name).chain),))


def told(*said: records.Record) -> dict[str, bytes | None]:
    return {records.name_of(record): records.encode(record).body for record in said}


async def test_an_import_is_known_and_followers_hear_which_service_it_is(knowledge: Knowledge) -> None:
    heard: list[Learned] = []
    knowledge.follow(heard.append)
    cart = builders.imported("cart", CLOUD)
    await knowledge.accept(records.IMPORT, told(cart))
    assert knowledge.view.imports == {CART: cart}
    assert [learned.services for learned in heard] == [frozenset({CART})]


async def test_an_import_that_ends_is_forgotten(knowledge: Knowledge) -> None:
    await knowledge.accept(records.IMPORT, told(builders.imported("cart", CLOUD)))
    await knowledge.accept(records.IMPORT, {"shop/cart": None})
    assert knowledge.view.imports == {}


async def test_of_changes_with_one_unreadable_record_none_is_taken(knowledge: Knowledge) -> None:
    changes = told(builders.imported("cart", CLOUD)) | {"shop/bad": b"{"}
    with pytest.raises(UnreadableRecord, match="shop/bad"):
        await knowledge.accept(records.IMPORT, changes)
    assert knowledge.view.imports == {}


async def test_a_member_with_an_issuing_ca_of_our_root_is_believed(
    knowledge: Knowledge, pki: Authorities
) -> None:
    cloud = genuine(pki, CLOUD)
    await knowledge.accept(records.MEMBER, told(cloud))
    assert knowledge.view.members == {CLOUD: cloud}


async def test_an_issuing_ca_of_another_root_is_not_believed(knowledge: Knowledge) -> None:
    await knowledge.accept(records.MEMBER, told(genuine(Authorities(), CLOUD)))
    assert knowledge.view.members[CLOUD].anchors == ()


async def test_an_issuing_ca_of_another_cluster_is_not_believed(
    knowledge: Knowledge, pki: Authorities
) -> None:
    posing = replace(genuine(pki, CLOUD), anchors=genuine(pki, ClusterName("east")).anchors)
    await knowledge.accept(records.MEMBER, told(posing))
    assert knowledge.view.members[CLOUD].anchors == ()


async def test_a_hub_ca_is_not_believed_as_an_issuing_ca(knowledge: Knowledge, pki: Authorities) -> None:
    posing = replace(genuine(pki, CLOUD), anchors=(to_pem(pki.hub_ca.chain),))
    await knowledge.accept(records.MEMBER, told(posing))
    assert knowledge.view.members[CLOUD].anchors == ()


async def test_an_expired_issuing_ca_is_not_believed(pki: Authorities) -> None:
    received = Received(builders.federation(), {CLOUD: genuine(pki, CLOUD)})
    later = NOW + ISSUING_CA_LIFETIME * 2
    knowledge = Knowledge(ONPREM, received, pki.roots, (), lambda: later)
    assert knowledge.view.members[CLOUD].anchors == ()


async def test_what_was_not_believed_by_a_wrong_clock_is_when_the_clock_is_right(pki: Authorities) -> None:
    clock = [NOW + ISSUING_CA_LIFETIME * 2]
    received = Received(builders.federation(), {CLOUD: genuine(pki, CLOUD)})
    knowledge = Knowledge(ONPREM, received, pki.roots, (), lambda: clock[0])
    heard: list[Learned] = []
    knowledge.follow(heard.append)
    knowledge.reconsider()
    assert heard == []
    clock[0] = NOW
    knowledge.reconsider()
    assert heard[-1].view.members[CLOUD].anchors == genuine(pki, CLOUD).anchors
    knowledge.reconsider()
    assert len(heard) == 1


async def test_a_member_that_claims_another_trust_domain_is_rejected(
    knowledge: Knowledge, pki: Authorities
) -> None:
    claiming = replace(genuine(pki, CLOUD), trust_domain="onprem.fed.example")
    with pytest.raises(ChangesRejected, match=r"cloud claims the trust domain onprem\.fed\.example"):
        await knowledge.accept(records.MEMBER, told(claiming))
    assert knowledge.view.members == {}


async def test_another_federation_is_rejected(knowledge: Knowledge) -> None:
    other = replace(builders.federation(), domain="other.example")
    with pytest.raises(ChangesRejected, match=r"fed\.example"):
        await knowledge.accept(records.FEDERATION, {"other.example": records.encode(other).body})


async def test_new_vip_ranges_of_the_federation_touch_every_service(
    knowledge: Knowledge, pki: Authorities
) -> None:
    await knowledge.accept(records.IMPORT, told(builders.imported("cart", CLOUD)))
    heard: list[Learned] = []
    knowledge.follow(heard.append)
    moved = replace(builders.federation(roots=(pki.root_pem,)), vip_ranges=(VipRange("241.9.0.0/16"),))
    await knowledge.accept(records.FEDERATION, {"fed.example": records.encode(moved).body})
    assert heard[0].services == frozenset({CART})
    assert knowledge.view.vips(knowledge.view.imports[CART]) == ("241.9.0.1",)


async def test_a_clusters_own_vip_ranges_stay(pki: Authorities) -> None:
    own = (VipRange("127.81.0.0/16"),)
    knowledge = Knowledge(ONPREM, Received(builders.federation()), pki.roots, own, lambda: NOW)
    moved = replace(builders.federation(roots=(pki.root_pem,)), vip_ranges=(VipRange("241.9.0.0/16"),))
    await knowledge.accept(records.FEDERATION, {"fed.example": records.encode(moved).body})
    assert knowledge.view.vip_ranges == own


async def test_what_is_held_has_the_versions_that_the_hub_publishes(
    knowledge: Knowledge, pki: Authorities
) -> None:
    cart, cloud = builders.imported("cart", CLOUD), genuine(pki, CLOUD)
    await knowledge.accept(records.IMPORT, told(cart))
    await knowledge.accept(records.MEMBER, told(cloud))
    held = knowledge.held()
    assert held[records.IMPORT] == {"shop/cart": records.encode(cart).version}
    assert held[records.MEMBER] == {"cloud": records.encode(cloud).version}


async def test_a_member_that_is_not_believed_is_held_as_the_hub_told_it(knowledge: Knowledge) -> None:
    foreign = genuine(Authorities(), CLOUD)
    await knowledge.accept(records.MEMBER, told(foreign))
    assert knowledge.held()[records.MEMBER] == {"cloud": records.encode(foreign).version}


def test_a_new_offer_touches_the_services_that_differ(knowledge: Knowledge) -> None:
    cart, pay = builders.local_service("cart", "10.0.0.1"), builders.local_service("pay", "10.0.0.2")
    knowledge.offer(Offer({cart.service: cart, pay.service: pay}))
    heard: list[Learned] = []
    knowledge.follow(heard.append)
    moved = builders.local_service("cart", "10.0.0.3")
    knowledge.offer(Offer({moved.service: moved, pay.service: pay}))
    assert heard[0].services == frozenset({CART})


def test_an_address_that_passes_to_another_workload_is_noted_however_long_it_was_nobodys(
    pki: Authorities,
) -> None:
    ticks = (NOW + timedelta(seconds=n) for n in count())
    knowledge = Knowledge(ONPREM, Received(builders.federation()), pki.roots, (), lambda: next(ticks))

    def noted(*workloads: Workload) -> datetime | None:
        knowledge.offer(Offer(workloads=workloads))
        return knowledge.view.handed_on

    one, two = builders.workload("one", "10.0.0.1"), builders.workload("two", "10.0.0.2")
    assert noted(one) is None
    assert noted(one, two) is None
    assert noted(two) is None
    assert noted(one, two) is None  # it is the first one's again
    assert noted() is None
    first = noted(builders.workload("two", "10.0.0.1"))
    assert first is not None
    assert noted(builders.workload("two", "10.0.0.1"), one) == first  # contested: nobody's
    again = noted(one)
    assert again is not None
    assert again > first


def test_whose_an_address_was_is_known_to_the_agent_that_comes_after(pki: Authorities) -> None:
    def knowing(owners: Owners | None) -> Knowledge:
        received = Received(builders.federation())
        return Knowledge(ONPREM, received, pki.roots, (), lambda: NOW, owners)

    first = knowing(None)
    first.offer(Offer(workloads=(builders.workload("one", "10.0.0.1"),)))
    first.offer(Offer())
    same, other = knowing(first.owners), knowing(first.owners)
    same.offer(Offer(workloads=(builders.workload("one", "10.0.0.1"),)))
    assert same.view.handed_on is None
    other.offer(Offer(workloads=(builders.workload("two", "10.0.0.1"),)))
    assert other.view.handed_on == NOW
    assert knowing(other.owners).view.handed_on == NOW


def test_what_was_before_an_address_passed_on_is_forgotten(knowledge: Knowledge) -> None:
    knowledge.offer(Offer(workloads=(builders.workload("one", "10.0.0.1", "10.0.0.2"),)))
    knowledge.offer(Offer(workloads=(builders.workload("two", "10.0.0.1"),)))
    assert knowledge.owners == Owners({"10.0.0.1": ("shop", "two")}, NOW)


def test_more_former_owners_than_can_be_remembered_are_as_one_that_passed_on(knowledge: Knowledge) -> None:
    for part in range(11):
        assert knowledge.view.handed_on is None
        addresses = (f"10.{part}.{n >> 8}.{n & 255}" for n in range(1_000))
        knowledge.offer(Offer(workloads=(builders.workload("web", *addresses),)))
    knowledge.offer(Offer())
    assert knowledge.view.handed_on == NOW
    assert len(knowledge.owners.last) == 0


def test_after_a_leave_nobody_is_known_but_the_offer_stays(knowledge: Knowledge) -> None:
    cart = builders.local_service("cart", "10.0.0.1")
    knowledge.offer(Offer({cart.service: cart}))
    knowledge.forget()
    assert (knowledge.view.members, knowledge.view.imports) == ({}, {})
    assert CART in knowledge.view.offer.services


def test_an_export_says_how_much_is_ready_and_not_where() -> None:
    cart = builders.local_service("cart", "10.0.0.1", "10.0.0.2")
    export = export_of(cart)
    assert (export.ready_endpoints, export.ports) == (2, (builders.HTTP,))
    assert b"10.0.0" not in records.encode(export).body


# --- roots


async def test_a_new_root_is_trusted_and_the_issuing_cas_below_it_are_believed(
    knowledge: Knowledge, pki: Authorities
) -> None:
    new = Authorities()
    await knowledge.accept(records.MEMBER, told(genuine(new, CLOUD)))
    assert knowledge.view.members[CLOUD].anchors == ()
    await knowledge.accept(records.FEDERATION, told(during_rollover(pki, new)))
    assert knowledge.view.members == {CLOUD: genuine(new, CLOUD)}


async def test_roots_that_nobody_vouches_for_change_nothing(knowledge: Knowledge, pki: Authorities) -> None:
    before, stranger = knowledge.view, replace(during_rollover(pki, Authorities()), crosses=())
    with pytest.raises(ChangesRejected, match="nobody whom we trust vouches for it"):
        await knowledge.accept(records.FEDERATION, told(stranger))
    assert knowledge.view == before


async def test_new_roots_touch_no_service(knowledge: Knowledge, pki: Authorities) -> None:
    await knowledge.accept(records.IMPORT, told(builders.imported("cart", CLOUD)))
    heard: list[Learned] = []
    knowledge.follow(heard.append)
    await knowledge.accept(records.FEDERATION, told(during_rollover(pki, Authorities())))
    assert [learned.services for learned in heard] == [frozenset()]


async def test_a_federation_with_other_roots_than_ours_is_to_be_told_again(pki: Authorities) -> None:
    received = Received(during_rollover(pki, Authorities()))
    knowledge = Knowledge(ONPREM, received, pki.roots, (), lambda: NOW)
    assert knowledge.held()[records.FEDERATION] == {}


def during_rollover(old: Authorities, new: Authorities) -> Federation:
    """Both roots, and the cross-certificate by which the new one counts."""
    cross = cross_certificate(new.root.certificate, old.root, NOW)
    federation = builders.federation(roots=(old.root_pem, new.root_pem))
    return replace(federation, crosses=(to_pem([cross]),))


async def test_trust_domains_outside_are_known_and_forgotten(knowledge: Knowledge) -> None:
    other = builders.foreign("other.example", Authorities(domain="other.example").root_pem)
    await knowledge.accept(records.FOREIGN, told(other))
    assert knowledge.view.trusts == {"other.example": other}
    assert knowledge.held()[records.FOREIGN] == {"other.example": records.encode(other).version}
    assert knowledge.received.trusts == {"other.example": other}
    await knowledge.accept(records.FOREIGN, {"other.example": None})
    assert knowledge.view.trusts == {}


@pytest.mark.parametrize("name", ["fed.example", "cloud.fed.example", "new.fed.example"])
async def test_nobody_outside_speaks_for_a_trust_domain_of_the_federation(
    knowledge: Knowledge, pki: Authorities, name: str
) -> None:
    with pytest.raises(InvalidValue, match="belongs to this federation"):
        await knowledge.accept(records.FOREIGN, told(builders.foreign(name, pki.root_pem)))
    assert knowledge.view.trusts == {}


async def test_a_bundle_that_cannot_be_read_is_rejected(knowledge: Knowledge) -> None:
    with pytest.raises(ChangesRejected, match=r"bundle of other\.example"):
        await knowledge.accept(records.FOREIGN, told(builders.foreign("other.example", "no PEM")))


async def test_a_verdict_says_who_may_call_and_is_kept_over_a_restart(
    knowledge: Knowledge, pki: Authorities
) -> None:
    heard: list[Learned] = []
    knowledge.follow(heard.append)
    cart = Verdict(Published.SERVICE, "shop/cart", "no grant", ())
    gateway = Verdict(Published.GATEWAY, "gw-1", "127.0.0.1 is loopback")
    await knowledge.accept(records.VERDICT, told(cart, gateway))
    assert heard[-1].view.callers == {ServiceName("shop", "cart"): ()}
    held = knowledge.held()[records.VERDICT]
    assert held == {record.name: record.version for record in map(records.encode, (cart, gateway))}
    again = Knowledge(ONPREM, knowledge.received, pki.roots, (), lambda: NOW)
    assert again.view.callers == knowledge.view.callers
    await knowledge.accept(records.VERDICT, told(Verdict(Published.SERVICE, UNSAID, callers=())))
    again = Knowledge(ONPREM, knowledge.received, pki.roots, (), lambda: NOW)
    assert [each.view.callers_unsaid for each in (knowledge, again)] == [(), ()]
    await knowledge.accept(records.VERDICT, {f"service/{UNSAID}": None})
    await knowledge.accept(records.VERDICT, dict.fromkeys(held))
    assert (knowledge.view.callers, knowledge.received.verdicts) == ({}, {})


async def test_at_a_first_start_no_other_cluster_may_call_before_the_hub_has_said_who_may(
    knowledge: Knowledge, pki: Authorities
) -> None:
    again = Knowledge(ONPREM, knowledge.received, pki.roots, (), lambda: NOW)
    assert [each.view.callers_unsaid for each in (knowledge, again)] == [(ONPREM,), (ONPREM,)]
    await knowledge.accept(records.VERDICT, {})
    again = Knowledge(ONPREM, knowledge.received, pki.roots, (), lambda: NOW)
    assert [each.view.callers_unsaid for each in (knowledge, again)] == [None, None]


async def test_what_was_said_of_callers_before_a_restart_holds_when_only_members_are_told(
    knowledge: Knowledge, pki: Authorities
) -> None:
    await knowledge.accept(records.VERDICT, told(Verdict(Published.SERVICE, UNSAID, callers=())))
    again = Knowledge(ONPREM, knowledge.received, pki.roots, (), lambda: NOW)
    assert again.received.judged
    await again.accept(records.MEMBER, told(genuine(pki, CLOUD)))  # a hub tells only what differs
    assert again.view.callers_unsaid == ()


def test_verdicts_are_told_before_those_who_could_call() -> None:
    assert records.FROM_HUB.index(records.VERDICT) < records.FROM_HUB.index(records.MEMBER)


async def test_a_hub_that_tells_of_members_and_never_of_verdicts_restricts_nobody(
    knowledge: Knowledge, pki: Authorities
) -> None:
    await knowledge.accept(records.MEMBER, told(genuine(pki, CLOUD)))
    assert (knowledge.view.callers_unsaid, knowledge.received.judged) == (None, True)


async def test_who_could_not_read_the_verdicts_lets_nobody_in(knowledge: Knowledge, pki: Authorities) -> None:
    with pytest.raises(ClusterError):
        await knowledge.accept(records.VERDICT, told(Verdict(Published.SERVICE, "nowhere", "", ())))
    await knowledge.accept(records.MEMBER, told(genuine(pki, CLOUD)))
    assert knowledge.view.callers_unsaid == (ONPREM,)


async def test_a_verdict_that_makes_no_sense_changes_nothing(knowledge: Knowledge) -> None:
    nonsense = Verdict(Published.SERVICE, "nowhere", "", ())
    with pytest.raises(ClusterError):
        await knowledge.accept(records.VERDICT, told(nonsense))
    assert knowledge.received.verdicts == {}
