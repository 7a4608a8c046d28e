"""How an agent is doing, in three forms: its status, checks with a hint each, and metrics."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal

from prometheus_client.metrics_core import Metric

from federation import inventory
from federation.api.agent_face import Agent, Facts
from federation.api.answers import Check
from federation.api.metrics import counters, gauge, gauges
from federation.api.rotate import issuing_ca_check
from federation.api.verdicts import refusals, verdict_checks
from federation.api.withdrawals import withdrawal_check
from gateway.delta import Standing
from gateway.errors import CannotSever
from gateway.kinds import SHORT
from gateway.view import contested

_SHOWN: Final = 3


def status_document(agent: Agent, facts: Facts) -> dict[str, object]:
    view, link, reading = agent.view, agent.link, agent.reading
    return {
        "cluster": view.home,
        "trust_domain": facts.trust_domain,
        "ready": agent.ready,
        "hub": link,
        "source": {
            "path": facts.source,
            "state": reading.state,
            "problems": reading.problems,
            "services": len(view.offer.services),
            "workloads": len(view.offer.workloads),
            "gateways": len(view.offer.gateways),
        },
        "endpoints": agent.standings.count(),
        "workload_api": {
            "endpoint": f"unix://{facts.workload_socket}",
            "connections": agent.workloads.door.connections,
            "turned_away": agent.workloads.door.turned_away,
        },
        "imports": len(view.imports),
        "members": sorted(view.members),
        "vip_ranges": [r.cidr for r in view.vip_ranges],
        "issuing_ca_expires": agent.upkeep.renewal.active.not_after,
    }


def checks(agent: Agent, facts: Facts) -> Iterable[Check]:
    """What an operator would look at first, in that order."""
    view, link, reading = agent.view, agent.link, agent.reading
    if link.connected:
        yield Check("hub", "ok", f"connected to {link.address}")
    else:
        yield Check("hub", "warn", f"not connected to {link.address}: {link.reason}", link.hint)
    if reading.state == "good":
        yield Check("source", "ok", f"{facts.source}: {len(view.offer.services)} services")
    else:
        yield Check("source", "fail", f"{facts.source}: {'; '.join(reading.problems)}", "correct the file")
    if withheld := agent.withholding.told:
        yield withdrawal_check("this cluster", withheld)
    if doubted := agent.doubting.names:
        hint = "its hub may have been restored: they stay known here until it tells of them again"
        yield Check("imports", "warn", f"{len(doubted)} services are gone from the hub, and not here", hint)
    clash = contested(view.offer)
    if clash:
        claims = "; ".join(
            f"{a} by {' and '.join(f'{w.namespace}/{w.name}' for w in who)}" for a, who in clash.items()
        )
        hint = "an address of two workloads is nobody's: give it to one of them"
        yield Check("workloads", "fail", f"claimed twice: {claims}", hint)
    else:
        yield Check("workloads", "ok", f"{len(view.offer.workloads)} workloads, each address claimed once")
    if down := [f"{name} at {address}: {why.reason}" for name, address, why in agent.standings.down()]:
        more = f"; and {len(down) - _SHOWN} more" if len(down) > _SHOWN else ""
        hint = "calls are not sent there; `fedgate services show NAME` tells since when"
        yield Check("endpoints", "warn", f"down: {'; '.join(down[:_SHOWN])}{more}", hint)
    for status in agent.gateways():
        verdict: Literal["ok", "fail"] = "ok" if status.standing is not Standing.NACK else "fail"
        detail = f"{status.spec.name} {status.standing} {status.detail}".rstrip()
        yield Check(
            "gateway", verdict, detail, "" if verdict == "ok" else "the last good version stays in use"
        )
    for front in agent.fronts():
        if why := front.report.cannot_sever:
            detail = f"{front.report.name} cannot end open connections of clusters that are evicted: {why}"
            yield Check("gateway", "warn", detail, CannotSever.hint)
    if not agent.gateways():
        yield Check("gateways", "warn", "none is connected", "run one with `fedgate gateways run`")
    for member in view.members.values():
        if not member.anchors:
            yield Check("member", "fail", f"{member.name} has no issuing CA that leads to our root")
        elif not member.gateways:
            hint = "add `gateways:` to its source file" if member.name == view.home else ""
            yield Check("member", "warn", f"{member.name} has no gateways to dial", hint)
    yield from verdict_checks(view, refusals(agent.verdicts, agent.rejected))
    yield issuing_ca_check(agent.upkeep.renewal, datetime.now(UTC))


def metrics(agent: Agent, facts: Facts) -> Iterable[Metric]:
    view, gateways, svids = agent.view, agent.gateways(), agent.svids()
    yield gauge("fedgate_agent_hub_connected", "Whether the hub is connected.", agent.link.connected)
    yield gauge("fedgate_agent_source_good", "Whether the source is in use.", agent.reading.state == "good")
    yield gauge("fedgate_agent_imports", "Services of the clusterset that are known.", len(view.imports))
    yield gauge("fedgate_agent_members", "Clusters that are known, this one too.", len(view.members))
    yield gauge("fedgate_agent_svids", "SVIDs that may be in use.", len(svids))
    expiry = min((svid.validity.not_after.timestamp() for svid in svids), default=0.0)
    yield gauge("fedgate_agent_svid_expiry_seconds", "When the first SVID ends, Unix time.", expiry)
    ends = agent.upkeep.renewal.active.not_after.timestamp()
    yield gauge("fedgate_agent_issuing_ca_expiry_seconds", "When the issuing CA ends, Unix time.", ends)
    text = "SVIDs that were asked for by the issuance socket."
    yield counters("fedgate_agent_issuance_svids", text, "outcome", facts.asked_for)
    yield from inventory.metrics(agent.certificates())
    synced = [((g.spec.name,), float(g.standing is Standing.SYNCED)) for g in gateways]
    text = "Whether a gateway has all that it is to have."
    yield gauges("fedgate_gateway_synced", text, ("gateway",), synced)
    rejected = [
        ((g.spec.name, SHORT.get(kind, kind)), float(len(held.rejected)))
        for g in gateways
        for kind, held in g.kinds.items()
    ]
    text = "Resources that a gateway rejects."
    yield gauges("fedgate_gateway_rejected", text, ("gateway", "kind"), rejected)
    connections = agent.workloads.door.connections
    yield gauge("fedgate_agent_workload_connections", "Connections to the Workload API.", connections)
    states = [((state,), float(count)) for state, count in agent.standings.count().items()]
    yield gauges("fedgate_endpoints", "Endpoints of this cluster that are checked.", ("state",), states)
    yield counters("fedgate_endpoint_checks", "Checks of endpoints.", "outcome", agent.checks_made)
    yield counters("fedgate_dns_questions", "Questions to the name server.", "outcome", facts.dns.tally)
