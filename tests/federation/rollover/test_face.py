"""The hub as the witness of proofs: what counts as one, and whose it is."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509

from clusters.errors import JoinRefused
from clusters.pinned import Server, open_known
from clusters.trust import PROOF_PATH, PROVING_NAME, Proof, Proven
from federation.api.http import off_the_loop
from federation.rollover.prover import as_files
from gateway.rpc import TlsMaterial
from pki.bundle import fingerprint
from pki.profile import HUB_DNS_NAME
from pki.spiffe import hub_id, workload_id
from tests.authorities import Authorities
from tests.builders import DOMAIN
from tests.federation.rollover.worlds import Agent, Hub, running, utc_now


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    async with running(tmp_path_factory.mktemp("hub")) as hub:
        await hub.steward.start()
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def west(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return await hub.join("west", tmp_path_factory.mktemp("west"))


async def prove(
    hub: Hub,
    shown: TlsMaterial,
    *,
    name: str = PROVING_NAME,
    roots: tuple[x509.Certificate, ...] = (),
    root: str = "",
) -> str:
    """Give a proof; empty if it counts, else the code of the refusal."""
    new = hub.steward.authority.certificates[-1]
    server = Server("hub", hub_id(DOMAIN), (hub.address,), name)

    def attempt() -> None:
        with (
            as_files(shown) as files,
            contextlib.closing(open_known(server, roots or (new,), files, 5)) as connection,
        ):
            connection.post(PROOF_PATH, Proof(root or fingerprint(new)), Proven)

    try:
        await off_the_loop(attempt)
    except JoinRefused as refused:
        return refused.code
    return ""


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_agent_that_believes_the_new_chain_has_proved_it(hub: Hub, west: Agent) -> None:
    assert await prove(hub, west.material()) == ""
    assert (await hub.party("west")).proved


async def test_a_connection_by_the_old_chain_proves_nothing(hub: Hub, west: Agent) -> None:
    roots = hub.steward.authority.certificates
    assert await prove(hub, west.material(), name=HUB_DNS_NAME, roots=roots) == "no-proof"


async def test_who_trusts_the_old_root_alone_cannot_give_a_proof(hub: Hub, west: Agent) -> None:
    old = hub.steward.authority.certificates[:1]
    assert await prove(hub, west.material(), roots=old) == "wrong-server"


async def test_a_proof_is_of_the_root_that_is_to_come(hub: Hub, west: Agent) -> None:
    old = fingerprint(hub.steward.authority.root)
    assert await prove(hub, west.material(), root=old) == "no-rollover"


async def test_only_the_agent_of_a_member_proves_something(hub: Hub, west: Agent) -> None:
    workload = west.material(workload_id("west.fed.example", "shop", "cart"))
    assert await prove(hub, workload) == "not-an-agent"
    stranger = Authorities(now=utc_now()).agent("west")
    material = TlsMaterial(stranger.chain_pem, stranger.key_pem, "")
    assert await prove(hub, material) in ("unreachable", "answer-lost")  # TLS has ended it


async def test_an_agent_that_is_a_member_no_more_proves_nothing(hub: Hub, tmp_path: Path) -> None:
    east = await hub.join("east", tmp_path)
    await hub.registry.members.leave(east.cluster, utc_now())
    assert await prove(hub, east.material()) == "not-a-member"
