"""The agent's process: its parts put together, started in order, and ended together.

Gateways are served first, and what must be one agent's alone comes last: one that takes over from another
waits with that until the other has ended.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvloop

from clusters import keyring
from clusters.clock import utc_now
from clusters.identity import KEY_FILE, NEXT_KEY_FILE, ClusterIdentity, forget_identity, load_identity
from clusters.model import Offer
from clusters.sources.file import Reading, watch
from federation import handover, last_view, paths, secret_files
from federation.agent import Agent
from federation.api.agent import agent_application
from federation.api.agent_face import Facts
from federation.api.enrol import EnrolmentTls, enrol_application
from federation.api.http import served_on_socket, served_on_tls
from federation.audit import Audit
from federation.dns.forward import Forwarder, Upstream
from federation.dns.server import DnsServer
from federation.handover import Heir, Legacy
from federation.lifecycle import Stop, keep_what_stays, use_all_descriptors
from federation.log import Log
from federation.minting.service import Minting
from federation.minting.workers import Workers
from federation.remembering import remember
from federation.settings import AgentSettings, host_port
from gateway.rpc import TlsListener, UnixListener
from pki import keystore
from pki.errors import PkiError
from pki.sealing import Seal
from pki.spiffe import agent_id

log = Log(__name__)

_REFRESH: Final = 1.0
_GRACE: Final = 2.0  # for DNS conversations, when another agent takes over


def run(settings: AgentSettings, *, take_over: bool = False) -> None:
    """Run the agent until it is told to stop.

    With *take_over* it takes over from the one that runs on the same state, if there is one.
    """
    use_all_descriptors()
    keep_what_stays()
    if take_over:
        with handover.asked(settings.state) as heir:
            if heir is not None:
                identity = _identity(settings)
                uvloop.run(_serve(settings, identity, heir.estate.lock, heir))
                return
    with keystore.exclusive(settings.state) as lock:
        identity = _identity(settings)
        _seal_keys(settings.state, identity.seal)
        uvloop.run(_serve(settings, identity, lock))


def _identity(settings: AgentSettings) -> ClusterIdentity:
    """Who this cluster is, if nobody else could have its keys."""
    secret_files.check(settings.state)
    return load_identity(settings.state, Seal(settings.passphrase))


def _seal_keys(state: Path, seal: Seal) -> None:
    """Seal the keys that lie open, if there is a passphrase now."""
    for path in (state / KEY_FILE, state / NEXT_KEY_FILE, state / keyring.FILE):
        if path.exists() and seal.is_due(path):
            keystore.write(path, seal.closed(keystore.read(path)))
            log.info("key sealed", path=path)


async def _serve(
    settings: AgentSettings, identity: ClusterIdentity, lock: int, heir: Heir | None = None
) -> None:
    """Start everything, gateways first, and run until told to stop, or until another takes over."""
    stop = Stop()
    estate = heir.estate if heir else None
    audit = Audit(settings.state)
    audit.record("started", str(agent_id(identity.membership.trust_domain)), **_signs_with(identity))
    agent = Agent(settings, identity, estate.last if estate else last_view.load(settings.state), audit)
    readings = watch(settings.source) if settings.source else _no_source()
    agent.read(await anext(readings))
    agent.expect(estate)
    dns = DnsServer.bind(settings.dns_listen, agent.zone, _forwarder(settings), estate.dns if estate else ())

    async def retire() -> None:
        await dns.retire(_GRACE)
        stop.tell()

    legacy = Legacy(settings.state, lambda: agent.estate(lock, dns), retire)
    async with AsyncExitStack() as stack:
        stack.callback(legacy.close)
        beside = UnixListener(paths.ads_socket(settings.state), replace=heir is not None)
        await stack.enter_async_context(agent.ads.serving([beside]))
        workload_socket = settings.workload_socket or paths.workload_socket(settings.state)
        api = agent.workloads.serving(workload_socket, settings.state, replace=heir is not None)
        await stack.enter_async_context(api)
        if heir is None:
            stack.enter_context(audit.kept())
        workers = Workers(
            lambda: agent.identity.authority, identity.membership.trust_domain, settings.svid_lifetime
        )
        minting = Minting(workers, agent.revocations.objection, audit, utc_now)
        signing = UnixListener(paths.issuance_socket(settings.state), replace=heir is not None)
        await stack.enter_async_context(workers.ended())
        await stack.enter_async_context(minting.serving(signing))
        admin = agent_application(agent, _facts(settings, identity, dns, minting), audit, stop.tell)
        await stack.enter_async_context(served_on_socket(admin, paths.admin_socket(settings.state)))
        waiting = await stack.enter_async_context(legacy.listening())
        if heir is None:
            await stack.enter_async_context(_served_elsewhere(settings, identity, agent))
        await stop.run(
            agent.follow_source(readings),
            agent.frontage.watch(),
            agent.check_endpoints(),
            agent.judge_absence(),
            agent.mind_withdrawals(),
            agent.workloads.run(),
            agent.anchors.run(lambda: agent.view),
            dns.run(),
            legacy.serve(waiting),
            _alone(settings, identity, agent, audit, legacy, heir),
        )
    if agent.left:
        forget_identity(settings.state)
        last_view.forget(settings.state)
        keyring.forget(settings.state)
    elif not legacy.frozen:
        last_view.save(settings.state, agent.last_view())


async def _alone(
    settings: AgentSettings,
    identity: ClusterIdentity,
    agent: Agent,
    audit: Audit,
    legacy: Legacy,
    heir: Heir | None,
) -> None:
    """What one agent of a cluster may do at a time; one that takes over first sees the other end."""
    async with AsyncExitStack() as stack:
        if heir is not None:
            await heir.take()
            kept = await asyncio.to_thread(load_identity, settings.state, identity.seal)
            agent.roots.certificates = kept.roots
            stack.enter_context(audit.kept())
            await stack.enter_async_context(_served_elsewhere(settings, identity, agent))
        agent.owns_disk = lambda: not legacy.frozen
        log.info("agent started", cluster=identity.membership.cluster, state=settings.state)
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.follow_hub())
            group.create_task(agent.tend_jwt_keys())
            group.create_task(agent.upkeep.run())
            group.create_task(agent.prover.run())
            group.create_task(
                remember(settings.state, lambda: agent.view, agent.last_view, lambda: legacy.frozen)
            )


@asynccontextmanager
async def _served_elsewhere(
    settings: AgentSettings, identity: ClusterIdentity, agent: Agent
) -> AsyncIterator[None]:
    """What gateways on other machines need: the addresses for it are had by one process at a time."""
    async with AsyncExitStack() as stack:
        if settings.ads_listen:
            listener = TlsListener(settings.ads_listen, agent.material_abroad)
            await stack.enter_async_context(agent.ads.serving([listener]))
        if settings.enrol_listen:
            face = enrol_application(
                agent.enrolment,
                identity.membership,
                lambda: settings.ads_listen or "",
                agent.hear,
                agent.notices,
            )
            tls = EnrolmentTls(settings.state, agent.material_abroad)
            await stack.enter_async_context(
                served_on_tls(face, *host_port(settings.enrol_listen), tls.context)
            )
            fresh = asyncio.create_task(_keep_fresh(tls))
            stack.callback(fresh.cancel)
        yield


async def _no_source() -> AsyncIterator[Reading]:
    """What an agent without a source reads: that its cluster offers nothing."""
    yield Reading(Offer())
    await asyncio.Event().wait()


def _forwarder(settings: AgentSettings) -> Forwarder | None:
    upstreams = [Upstream.parse(address) for address in settings.dns_forward]
    return Forwarder(upstreams) if upstreams else None


async def _keep_fresh(tls: EnrolmentTls) -> None:
    """Have those who enrol be shown a certificate that is good, for ever."""
    while True:
        await asyncio.sleep(_REFRESH)
        try:
            tls.refresh()
        except PkiError as error:
            log.error("enrolment's certificate not renewed", reason=str(error))


def _signs_with(identity: ClusterIdentity) -> dict[str, str]:
    """What the audit record says of an agent that starts."""
    certificate = identity.authority.certificate
    return {"version": version("fedgate"), "issuing_ca": f"{certificate.serial_number:x}"}


def _facts(settings: AgentSettings, identity: ClusterIdentity, dns: DnsServer, minting: Minting) -> Facts:
    return Facts(
        identity.membership.trust_domain,
        (settings.workload_socket or paths.workload_socket(settings.state)).absolute(),
        str(settings.source) if settings.source else "none",
        settings.dns_forward,
        dns,
        minting.tally,
    )
