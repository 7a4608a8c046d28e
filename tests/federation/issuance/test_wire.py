"""The issuance service over real connections, by mutual TLS on loopback, and the door for those who slept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clusters.errors import JoinRefused
from clusters.identity import ClusterIdentity
from clusters.reattest import reattest
from federation.api.http import served_on_tls, tls_context
from federation.api.join import Door, join_application
from federation.api.reattest import add_reattest
from federation.errors import HubAway, IssuanceDenied
from federation.issuance.client import HubIssuance
from federation.issuance.server import issuance_handler
from federation.whereabouts import Whereabouts
from gateway.rpc import Context, TlsListener, TlsMaterial, serving
from pki import keystore
from pki.bundle import check_issuing_ca
from pki.csr import make_csr
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, agent_id, workload_id
from tests import builders
from tests.builders import ONPREM, audit
from tests.federation.renewing import Clock, Member, World, federation

TRUST_DOMAIN = "onprem.fed.example"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with federation(tmp_path, clock=Clock(datetime.now(UTC))) as made:
        yield made


@pytest.fixture
async def onprem(world: World) -> Member:
    return await world.join(ONPREM)


@asynccontextmanager
async def dialled(
    world: World, member: Member, spiffe_id: SpiffeId | None = None
) -> AsyncIterator[HubIssuance]:
    """The hub as *member* finds it, which shows the certificate of its agent or of *spiffe_id*."""
    shown = world.pki.hub()
    ours = TlsMaterial(shown.chain_pem, shown.key_pem, world.pki.root_pem)
    svid = member.svids.get(spiffe_id or agent_id(TRUST_DOMAIN), world.clock())
    theirs = TlsMaterial(svid.chain_pem, svid.key_pem, world.pki.root_pem)

    async def nobody(_messages: AsyncIterator[bytes], _context: Context) -> None:
        raise AssertionError("only issuance is asked for")

    listener = TlsListener("127.0.0.1:0", lambda: ours)
    async with serving("none", "None", nobody, [listener], [issuance_handler(world.issuance, audit())]) as (
        port,
    ):
        found_at(member, f"127.0.0.1:{port}")
        hubs = Whereabouts(builders.federation, lambda: member.identity.membership)
        yield HubIssuance(member.identity, world.pki.roots, lambda: theirs, world.clock, hubs)


def found_at(member: Member, address: str) -> None:
    kept = member.identity.kept
    membership = replace(kept.membership, sync=(address,), join=(address,))
    member.identity.kept = replace(kept, membership=membership)


async def test_an_agent_is_given_an_issuing_ca_and_the_same_one_again(world: World, onprem: Member) -> None:
    csr = make_csr(KeySigner.generate().key)
    async with dialled(world, onprem) as hub:
        chain = await hub.renew(csr)
        assert await hub.renew(csr) == chain
        check_issuing_ca("".join(chain), [world.authority.root], TRUST_DOMAIN, world.clock())
        assert [each.cluster for each in await hub.standing(onprem.anchor)] == ["onprem"]
        await hub.retire("00" * 32)
    assert len(await world.anchors(ONPREM)) == 2


async def test_what_is_denied_comes_with_a_code_and_a_reason(world: World, onprem: Member) -> None:
    async with dialled(world, onprem) as hub:
        with pytest.raises(IssuanceDenied, match="not a PEM certificate signing request") as denied:
            await hub.renew("nonsense")
    assert denied.value.code == "csr-invalid"


async def test_a_workload_of_the_cluster_gets_nothing(world: World, onprem: Member) -> None:
    async with dialled(world, onprem, workload_id(TRUST_DOMAIN, "shop", "web")) as hub:
        with pytest.raises(IssuanceDenied, match="is not the agent of onprem") as denied:
            await hub.renew(make_csr(KeySigner.generate().key))
    assert denied.value.code == "not-an-agent"
    assert len(await world.anchors(ONPREM)) == 1


async def test_a_hub_that_does_not_answer_is_away(world: World, onprem: Member) -> None:
    async with dialled(world, onprem) as hub:
        pass
    with pytest.raises(HubAway):
        await hub.renew(make_csr(KeySigner.generate().key))


# --- the door -----------------------------------------------------------------------------------


@asynccontextmanager
async def door(world: World, member: Member) -> AsyncIterator[None]:
    shown = world.pki.hub("127.0.0.1")
    chain, key = world.folder / "hub.pem", world.folder / "hub.key"
    keystore.write(chain, shown.chain_pem.encode())
    keystore.write(key, shown.key_pem.encode())
    app = join_application(Door(world.authority, world.registry, tuple, (), world.clock, audit()))
    add_reattest(app, world.back_door)
    async with served_on_tls(app, "127.0.0.1", 0, tls_context(chain, key)) as port:
        found_at(member, f"127.0.0.1:{port}")
        yield


async def test_the_key_of_a_recorded_issuing_ca_opens_the_door(world: World, onprem: Member) -> None:
    csr = make_csr(KeySigner.generate().key)
    async with door(world, onprem):
        chain = await asyncio.to_thread(reattest, onprem.identity.kept, csr, world.clock)
    check_issuing_ca("".join(chain), [world.authority.root], TRUST_DOMAIN, world.clock())
    assert len(await world.anchors(ONPREM)) == 2


async def test_another_key_does_not(world: World, onprem: Member) -> None:
    kept = onprem.identity.kept
    async with door(world, onprem):
        stranger = ClusterIdentity(
            onprem.identity.membership, kept.authority, KeySigner.generate(), kept.roots
        )
        with pytest.raises(JoinRefused, match="proves nothing of cluster onprem"):
            await asyncio.to_thread(reattest, stranger, make_csr(KeySigner.generate().key), world.clock)
