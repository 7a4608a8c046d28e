"""The issuance service as a caller sees it: over its socket, signed by real workers."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import msgspec
import pytest

from federation.audit import Audit
from federation.minting.messages import (
    ISSUE,
    ISSUE_BATCH,
    MOST_IN_BATCH,
    SERVICE,
    BatchAnswer,
    BatchRequest,
    Denied,
    IssueAnswer,
    IssueRequest,
)
from federation.minting.service import Minting
from federation.minting.workers import Workers
from gateway.rpc import UnixListener
from pki import profile
from pki.authority import Authority
from pki.bundle import check_svid
from pki.csr import make_csr
from pki.signer import KeySigner
from pki.spiffe import workload_id
from tests import builders
from tests.authorities import NOW, Authorities

ONPREM = "onprem.fed.example"
CSR = make_csr(KeySigner.generate().key)
BARRED = str(workload_id(ONPREM, "shop", "stolen"))


@dataclass
class Desk:
    """The service, and a caller of it."""

    socket: Path
    authority: Authority
    audit: Audit = field(default_factory=builders.audit)

    async def call(self, method: str, request: msgspec.Struct | bytes) -> bytes:
        body = request if isinstance(request, bytes) else msgspec.json.encode(request)
        async with grpc.aio.insecure_channel(f"unix:{self.socket}") as channel:
            multi: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/{SERVICE}/{method}"
            )
            return await multi(body, timeout=60)

    async def issue(self, name: str) -> IssueAnswer:
        return msgspec.json.decode(await self.call(ISSUE, wanted(name)), type=IssueAnswer)

    async def batch(self, items: Iterable[IssueRequest]) -> BatchAnswer:
        answer = await self.call(ISSUE_BATCH, BatchRequest(tuple(items)))
        return msgspec.json.decode(answer, type=BatchAnswer)

    async def denied(self, method: str, request: msgspec.Struct | bytes) -> tuple[grpc.StatusCode, Denied]:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(method, request)
        detail = msgspec.json.decode(refused.value.details() or "", type=Denied)
        return refused.value.code(), detail


def wanted(name: str, csr: str = CSR) -> IssueRequest:
    return IssueRequest(str(workload_id(ONPREM, "shop", name)), csr)


def new_issuing_ca() -> Authority:
    return Authorities().hub_ca.subordinate(profile.issuing_ca(ONPREM), KeySigner.generate(), NOW)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "issuance.sock", new_issuing_ca())
    workers = Workers(lambda: desk.authority, ONPREM, timedelta(hours=1), count=2)
    barred = {BARRED: "it was revoked"}
    minting = Minting(workers, lambda name: barred.get(name, ""), desk.audit, lambda: NOW)
    async with workers.ended(), minting.serving(UnixListener(desk.socket)):
        yield desk
    assert workers_of_ours() == set()


def workers_of_ours() -> set[int]:
    """The signing processes that this process has started."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return {pid for pid in found if b"federation.minting.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}


async def test_an_svid_is_issued_with_what_leads_up_to_the_root(desk: Desk) -> None:
    answer = await desk.issue("cart")
    assert len(answer.chain) == 3
    anchor = [desk.authority.certificate]
    assert check_svid("".join(answer.chain), anchor, ONPREM, NOW) == workload_id(ONPREM, "shop", "cart")
    (entry,) = desk.audit.waiting
    assert (entry.action, entry.subject) == ("issued", str(workload_id(ONPREM, "shop", "cart")))


async def test_a_batch_is_answered_in_order_each_item_for_itself(desk: Desk) -> None:
    names = [f"w-{n}" for n in range(100)]
    asked = [wanted(name) for name in names]
    asked[7] = wanted("w-7", csr="nonsense")
    asked[50] = IssueRequest(BARRED, CSR)
    asked[99] = IssueRequest("spiffe://cloud.fed.example/ns/shop/sa/x", CSR)
    answer = await desk.batch(asked)
    assert {n: item.denied.code for n, item in enumerate(answer.items) if item.denied} == {
        7: "bad-csr",
        50: "revoked",
        99: "not-yours",
    }
    for n in (0, 6, 8, 49, 51, 98):
        chain = answer.items[n].certificate + "".join(answer.above)
        proven = check_svid(chain, [desk.authority.certificate], ONPREM, NOW)
        assert proven == workload_id(ONPREM, "shop", names[n])
    issued, denied = desk.audit.waiting
    assert (issued.action, issued.details["count"]) == ("issued", "97")
    assert (denied.action, denied.details["count"], denied.details["code"]) == ("denied", "3", "bad-csr")


async def test_what_makes_no_sense_is_refused_with_a_reason(desk: Desk) -> None:
    invalid, denied = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED
    status, why = await desk.denied(ISSUE, b"{")
    assert (status, why.code) == (invalid, "bad-request")
    many = BatchRequest((wanted("w"),) * (MOST_IN_BATCH + 1))
    status, why = await desk.denied(ISSUE_BATCH, many)
    assert (status, str(MOST_IN_BATCH) in why.reason) == (invalid, True)
    status, why = await desk.denied(ISSUE, IssueRequest(BARRED, CSR))
    assert (status, why.code, why.reason) == (denied, "revoked", "it was revoked")
    assert (await desk.batch([])).items == ()


async def test_only_the_agents_own_user_may_ask(desk: Desk) -> None:
    assert stat.S_IMODE(desk.socket.stat().st_mode) == 0o600


async def test_when_the_issuing_ca_changes_its_key_is_in_no_process_any_more(desk: Desk) -> None:
    first = await desk.issue("cart")
    before = workers_of_ours()
    assert len(before) == 2
    desk.authority = new_issuing_ca()
    second = await desk.issue("cart")
    check_svid("".join(second.chain), [desk.authority.certificate], ONPREM, NOW)
    assert first.chain[1:] != second.chain[1:]
    async with asyncio.timeout(20):
        while workers_of_ours() & before:  # noqa: ASYNC110 (a process's end has no event here)
            await asyncio.sleep(0.02)


async def test_the_key_is_in_no_argument_and_no_environment(desk: Desk) -> None:
    await desk.issue("cart")
    for pid in workers_of_ours():
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PRIVATE KEY" not in seen


async def test_a_worker_that_dies_is_replaced(desk: Desk) -> None:
    await desk.issue("cart")
    before = workers_of_ours()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    refusals = set[grpc.StatusCode]()
    async with asyncio.timeout(20):
        while True:
            try:
                await desk.issue("cart")
                break
            except grpc.aio.AioRpcError as error:  # asked before its end was noticed
                refusals.add(error.code())
    assert refusals <= {grpc.StatusCode.UNAVAILABLE}
    assert not workers_of_ours() & before


async def test_calls_at_once_are_all_answered(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.batch(wanted(f"w-{n}-{m}") for m in range(40)) for n in range(10)))
    assert all(item.certificate for answer in answers for item in answer.items)
