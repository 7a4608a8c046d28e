"""The hub, put together: authorities, registry, joins, the members' streams, administration.

    hub_core     what it is before it serves anybody, elected or not
    hub_faces    what it serves to members and operators
    hub_office   what only the elected one of several hubs does

What is written down by any hub comes to all of them by the registry's mirror, and is followed here.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final

import uvloop

from clusters.clock import utc_now
from clusters.names import ClusterName
from federation import absence, secret_files
from federation.doorkeeper import evicted
from federation.errors import Superseded, SyncRefused
from federation.hub_core import core_of
from federation.hub_faces import Members, serve_bundles, serve_members, serve_operators
from federation.hub_office import Office
from federation.lifecycle import (
    Stop,
    give_back_large_pieces,
    keep_giving_back,
    keep_what_stays,
    use_all_descriptors,
)
from federation.log import Log
from federation.registry.clusterset import Change
from federation.settings import HubSettings
from federation.sync.turns import Turns
from pki import keystore
from pki.spiffe import agent_id

log = Log(__name__)


def run(settings: HubSettings) -> None:
    """Run the hub until it is told to stop."""
    use_all_descriptors()
    give_back_large_pieces()
    keep_what_stays(after=100)
    with keystore.exclusive(settings.state):
        secret_files.check(settings.state)
        uvloop.run(_serve(settings))


async def _serve(settings: HubSettings) -> None:
    """Start everything, administration last, and run until told to stop."""
    stop = Stop()
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(core_of(settings))
        changes = core.mirror.changes()
        first = await anext(changes)
        core.steward.heed(core.mirror.clusterset.rollover)
        members = await serve_members(core, first, stack)
        await core.election.announce(members.record)
        follower = await serve_operators(core, members, stack)
        web = await serve_bundles(core, stack)
        log.info("hub started", domain=settings.domain, join=", ".join(core.addresses), state=settings.state)

        def follow(change: Change) -> None:
            if change.authorities:
                core.steward.heed(core.mirror.clusterset.rollover)
            if change.hubs:
                core.election.stir()
            members.broadcast.follow(change)
            _hang_up(members, change)

        await stop.run(
            _follow(changes, follow),
            Office(core, follower).run(),
            core.upkeep.run(),
            core.steward.run(),
            core.store.tend(),
            keep_giving_back(),
            absence.watch(core.mirror.clusterset, core.registry.members, utc_now),
            *((web.follow(),) if web else ()),
        )


_OTHER_LIMITS: Final = ("limits-changed", "the limits are others now", "what was refused is sent again")


def _hang_up(members: Members, change: Change) -> None:
    """End the streams of clusters that were shut out, went to another hub, or have other limits now."""
    gone: list[tuple[ClusterName, SyncRefused]] = []
    if change.verdicts:
        gone += [(cluster, SyncRefused(*_OTHER_LIMITS)) for cluster in members.sessions.relieved()]
    gone += [(cluster, Superseded()) for cluster in members.sessions.superseded(change.clusters)]
    for cluster, why in gone:
        if record := members.clusterset.record(cluster):
            members.sync.end(str(agent_id(record.trust_domain)), why)
    for record in members.clusterset.evicted:
        if record.name in change.clusters:
            members.sync.end(str(agent_id(record.trust_domain)), evicted(record.name))


async def _follow(changes: AsyncIterator[Change], follow: Callable[[Change], None]) -> None:
    async for change in Turns().each(changes):
        follow(change)
