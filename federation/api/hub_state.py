"""How a hub is doing: what it holds, checks with a hint each, and metrics."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from clusters.admission import SKEW_WARNED
from clusters.names import ClusterName
from federation import inventory
from federation.api.answers import Check
from federation.api.audit import audit_checks
from federation.api.authorities import hub_ca_check
from federation.api.grants import grant_checks, grant_metrics
from federation.api.hub_clusters import cluster_document
from federation.api.hub_face import Hub
from federation.api.hubs import hub_checks
from federation.api.metrics import gauge, gauges
from federation.api.trust import trust_checks
from federation.api.withdrawals import (
    withdrawal_check,
    withdrawal_metrics,
)
from federation.hub_authority import CERTIFICATE
from federation.inventory import Held
from pki import keystore
from pki.authority import from_pem


def holdings(hub: Hub) -> tuple[Held, ...]:
    """What the hub holds, and what the clusters have from it."""
    (own, *_) = from_pem(keystore.read(hub.audit.folder / CERTIFICATE))
    records = map(hub.clusterset.record, hub.clusterset.clusters)
    anchors = [(record.name, chain) for record in records if record for chain in record.anchors]
    return tuple(inventory.of_hub(hub.authority, own, anchors))


def checks(hub: Hub) -> Iterable[Check]:
    """What an operator would look at first, in that order."""
    yield Check("hub", "ok" if hub.ready() else "fail", "the registry has been read")
    yield from hub_checks(hub.clusterset)
    yield hub_ca_check(hub.authority, hub.now())
    yield from inventory.checks(holdings(hub), hub.now())
    yield from audit_checks(hub.audit)
    for name in hub.clusterset.clusters:
        yield from _cluster_checks(hub, name)
    yield from grant_checks(hub.clusterset)
    yield from trust_checks(hub.follower)
    for imported in hub.clusterset.imports():
        if imported.conflict:
            hint = "make the clusters that export it agree"
            yield Check("service", "warn", f"{imported.service}: {imported.conflict}", hint)


def _cluster_checks(hub: Hub, name: ClusterName) -> Iterable[Check]:
    cluster = cluster_document(hub, name)
    if cluster["connected"]:
        yield Check("cluster", "ok", f"{name} is connected")
    else:
        yield Check("cluster", "warn", f"{name} is not connected", "look at its agent: `fedgate check` there")
    if withheld := hub.clusterset.withheld(name):
        yield withdrawal_check(name, withheld)
    if not cluster["gateways"]:
        yield Check("cluster", "warn", f"{name} has no gateways", "add `gateways:` to its source file")
    for seen in hub.probing.of(name):
        if not seen.probe.up:
            gateway = f"{name}'s gateway at {seen.probe.address}"
            detail = f"{gateway} is dead for {seen.by}'s {seen.gateway}: {seen.probe.reason}"
            yield Check("cluster", "warn", detail, "see that it runs, and can be reached from there")
    skew = float(str(cluster["clock_skew_seconds"]))
    if abs(skew) > SKEW_WARNED:
        yield Check(
            "cluster", "warn", f"{name}'s clock is {skew:+.1f} s off the hub's", "use NTP in both places"
        )


def metrics(hub: Hub) -> Iterable[Metric]:
    """All of it as figures."""
    clusterset = hub.clusterset
    names = clusterset.clusters
    connected = [((name,), float(clusterset.connected(name))) for name in names]
    yield gauges("fedgate_cluster_connected", "Whether a cluster is connected.", ("cluster",), connected)
    text = "Gateways of a cluster that gateways of others find alive, each counted once for each that looks."
    alive = [((name,), float(sum(seen.probe.up for seen in hub.probing.of(name)))) for name in names]
    yield gauges("fedgate_cluster_probes_up", text, ("cluster",), alive)
    dead = [((name,), float(sum(not seen.probe.up for seen in hub.probing.of(name)))) for name in names]
    yield gauges("fedgate_cluster_probes_down", text.replace("alive", "dead"), ("cluster",), dead)
    offered = [((name,), float(len(clusterset.exports(name)))) for name in names]
    yield gauges("fedgate_cluster_services", "Services that a cluster exports.", ("cluster",), offered)
    yield from withdrawal_metrics(clusterset)
    yield gauge("fedgate_hub_services", "Services of the clusterset.", len(clusterset.services))
    yield from grant_metrics(hub.clusterset)
    yield from inventory.metrics(holdings(hub))
    ends = hub.authority.hub_ca.certificate.not_valid_after_utc.timestamp()
    yield gauge("fedgate_hub_ca_expiry_seconds", "When the hub CA ends, Unix time.", ends)
