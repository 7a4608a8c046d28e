"""Which gateways have acknowledged an issuing CA: what agents say, and whom the hub names."""

import pytest

from clusters.model import ClusterView
from clusters.reports import Anchors, Phase, Report
from federation.agent_anchors import Acknowledged
from federation.anchoring import Anchoring
from federation.fronts import Front
from gateway import names, sds
from gateway.ads import GatewayStatus
from gateway.delta import Standing
from gateway.rpc import Peer
from gateway.spec import GatewaySpec, Role
from pki.authority import to_pem
from pki.bundle import fingerprint_of
from pki.profile import issuing_ca
from pki.signer import KeySigner
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, ONPREM, member, view

OLD, NEW = "0" * 64, "1" * 64


def said(gateway: str, *fingerprints: str) -> Anchors:
    return Anchors(gateway, {ONPREM: fingerprints})


@pytest.fixture
def anchoring() -> Anchoring:
    """The hub's side; both clusters have a gateway, and have what there was."""
    made = Anchoring()
    for cluster in (ONPREM, CLOUD):
        made.connected(cluster)
        made.hear(cluster, {"/agent": said("", OLD), "gw": said("gw", OLD)})
    return made


def lagging(anchoring: Anchoring, anchor: str = NEW) -> list[str]:
    found = anchoring.lagging(ONPREM, anchor, [ONPREM, CLOUD])
    return [f"{each.cluster}/{each.gateway}" for each in found]


def test_everybody_lags_who_has_not_acknowledged_and_nobody_else(anchoring: Anchoring) -> None:
    assert lagging(anchoring, OLD) == []
    assert lagging(anchoring) == ["cloud/", "cloud/gw", "onprem/", "onprem/gw"]
    anchoring.hear(CLOUD, {"/agent": said("", OLD, NEW), "gw": said("gw", NEW)})
    assert lagging(anchoring) == ["onprem/", "onprem/gw"]


def test_a_gateway_without_use_for_the_anchors_needs_none(anchoring: Anchoring) -> None:
    for cluster in (ONPREM, CLOUD):
        anchoring.hear(cluster, {"/agent": said("", NEW), "gw": Anchors("gw", {})})
    assert lagging(anchoring) == []


def test_a_cluster_that_is_away_or_has_just_come_is_waited_for(anchoring: Anchoring) -> None:
    for cluster in (ONPREM, CLOUD):
        anchoring.hear(cluster, {"/agent": said("", NEW), "gw": said("gw", NEW)})
    anchoring.lost(CLOUD, NOW)
    assert lagging(anchoring) == ["cloud/"]
    anchoring.connected(CLOUD)
    anchoring.hear(CLOUD, {"/agent": None})
    assert lagging(anchoring) == ["cloud/"]
    anchoring.forget(CLOUD)
    assert lagging(anchoring) == ["cloud/"]
    assert list(anchoring.lagging(ONPREM, NEW, [ONPREM])) == []


def test_an_agent_that_does_not_know_the_cluster_yet_is_waited_for(anchoring: Anchoring) -> None:
    for cluster in (ONPREM, CLOUD):
        anchoring.hear(cluster, {"/agent": said("", NEW), "gw": said("gw", NEW)})
    anchoring.hear(CLOUD, {"/agent": Anchors("", {}), "gw": Anchors("gw", {})})
    assert lagging(anchoring) == ["cloud/"]


# --- the agent's side ------------------------------------------------------------------------------


PKI = Authorities()
FIRST = to_pem(PKI.issuing_ca("onprem").chain)
SECOND = to_pem(PKI.hub_ca.subordinate(issuing_ca("onprem.fed.example"), KeySigner.generate(), NOW).chain)


def knowing(*anchors: str) -> ClusterView:
    """What the agent of cloud knows of onprem."""
    return view(home=CLOUD, members=(member(ONPREM, "192.0.2.9", anchors=anchors),))


def version(*anchors: str) -> str:
    """What a gateway says that has the secret with these."""
    return sds.anchors(member(ONPREM, "192.0.2.9", anchors=anchors)).version


def gateway(name: str, *roles: Role, held: str = "", standing: Standing = Standing.SYNCED) -> GatewayStatus:
    anchors = {names.anchors(ONPREM): held} if held else {}
    spec = GatewaySpec(name, frozenset(roles or Role))
    return GatewayStatus(spec, Peer("unix:"), NOW, standing, NOW, {}, anchors)


def fingerprints(*chains: str) -> tuple[str, ...]:
    return tuple(fingerprint_of(chain) for chain in sorted(chains))


def test_a_gateway_has_acknowledged_what_was_in_the_version_that_it_holds() -> None:
    acknowledged = Acknowledged()
    acknowledged.follow(knowing(FIRST))
    old = gateway("old", held=version(FIRST))
    acknowledged.told([old], [], own=True)
    acknowledged.follow(knowing(FIRST, SECOND))
    new = gateway("new", held=version(FIRST, SECOND))
    assert acknowledged.told([old, new, gateway("idle")], [], own=True) == (
        Anchors("", {ONPREM: fingerprints(FIRST, SECOND)}),
        Anchors("idle", {}),
        Anchors("new", {ONPREM: fingerprints(FIRST, SECOND)}),
        Anchors("old", {ONPREM: fingerprints(FIRST)}),
    )


def test_a_version_that_is_unknown_here_proves_nothing() -> None:
    acknowledged = Acknowledged()
    acknowledged.follow(knowing(FIRST))
    (told,) = acknowledged.told([gateway("gw", held="of another life")], [], own=False)
    assert told == Anchors("gw", {ONPREM: ()})


def test_one_that_lives_and_is_not_connected_has_acknowledged_nothing() -> None:
    acknowledged = Acknowledged()
    acknowledged.follow(knowing(FIRST))
    fronts = [
        Front(Report(name, phase), 0.0, 0.0, silent)
        for name, phase, silent in (
            ("up", Phase.UP, False),
            ("ended", Phase.ENDED, False),
            ("silent", Phase.UP, True),
            ("here", Phase.UP, False),
        )
    ]
    told = acknowledged.told([gateway("here", held=version(FIRST))], fronts, own=False)
    assert told == (Anchors("here", {ONPREM: fingerprints(FIRST)}), Anchors("up", {ONPREM: ()}))


def test_who_is_no_member_any_more_is_told_of_until_the_gateway_has_taken_that() -> None:
    acknowledged = Acknowledged()
    acknowledged.follow(knowing(FIRST))
    here, gone = gateway("gw", held=version(FIRST)), Front(Report("gw", Phase.UP), 0.0, 0.0)
    believes = (Anchors("gw", {ONPREM: fingerprints(FIRST)}),)
    assert acknowledged.told([here], [], own=False) == believes
    assert not acknowledged.parting()
    acknowledged.follow(view(home=CLOUD))
    assert acknowledged.told([gateway("gw", standing=Standing.STALE)], [gone], own=False) == believes
    assert acknowledged.told([], [gone], own=False) == believes
    assert acknowledged.parting()
    assert acknowledged.told([gateway("gw")], [gone], own=False) == (Anchors("gw", {}),)
    assert not acknowledged.parting()


def test_namesakes_in_one_role_each_are_told_apart() -> None:
    acknowledged = Acknowledged()
    acknowledged.follow(knowing(FIRST))
    told = acknowledged.told([gateway("gw", Role.INGRESS), gateway("gw", Role.EGRESS)], [], own=False)
    assert [each.gateway for each in told] == ["gw/egress", "gw/ingress"]
