"""How many SVIDs a second the agent's issuance service signs, from request to answer through gRPC.

Each has a request of its own, whose signature is checked. The caller is a child process that made its
requests before, and keeps four calls under way; it shares the cores with those who sign. Beside it is what
`openssl speed` says of the signatures alone, and what the same code does without gRPC, in threads and not.
"""

import asyncio
import multiprocessing
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Final

import grpc
import grpc.aio
import msgspec

from bench import measure
from bench.report import Aim, Key, Ratio, Report
from clusters.clock import utc_now
from federation.audit import Audit
from federation.minting.messages import (
    ISSUE,
    ISSUE_BATCH,
    SERVICE,
    BatchAnswer,
    BatchRequest,
    IssueAnswer,
    IssueRequest,
)
from federation.minting.service import Minting
from federation.minting.signing import Asked, Mint, charge_of
from federation.minting.workers import Workers
from gateway.rpc import MESSAGE_SIZES, UnixListener
from pki import profile
from pki.authority import Authority, new_root
from pki.csr import make_csr
from pki.signer import KeySigner
from pki.spiffe import workload_id

TOPIC: Final = "SVIDs"
TRUST_DOMAIN: Final = "onprem.fed.example"
BATCH: Final = 250
_UNDER_WAY: Final = 4
_REQUESTS: Final = 2_000
_LIFETIME: Final = timedelta(hours=1)


def issuing_ca() -> Authority:
    """An issuing CA as a cluster has it."""
    now = utc_now()
    root = new_root("fed.example", KeySigner.generate(), now)
    hub_ca = root.subordinate(profile.hub_ca("fed.example"), KeySigner.generate(), now)
    return hub_ca.subordinate(profile.issuing_ca(TRUST_DOMAIN), KeySigner.generate(), now)


def requests(count: int) -> list[IssueRequest]:
    """Requests, each for another workload and key."""
    return [
        IssueRequest(str(workload_id(TRUST_DOMAIN, "shop", f"w-{n}")), make_csr(KeySigner.generate().key))
        for n in range(count)
    ]


async def measure_issuance(report: Report, rounds: int, quick: bool) -> None:
    """Sign while somebody asks, in batches and one by one, and beside gRPC."""
    seconds = 1.0 if quick else 4.0
    authority = issuing_ca()
    wanted = requests(_REQUESTS)
    per_svid = Key(TOPIC, f"gRPC, batches of {BATCH}", "time for one", "µs")
    batched = Key(TOPIC, per_svid.way, "SVIDs", "1/s")
    signatures = Key(TOPIC, "openssl speed, two processes", "SVIDs", "1/s")
    report.aims.append(Aim("one SVID of a batch", per_svid, 200))
    # What it comes to on a machine that is busy with other things, where neither is what it could be.
    report.ratios.append(Ratio("SVIDs / signatures alone", batched, signatures, aim=0.25, at_least=True))
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        socket = Path(folder) / "issuance.sock"
        workers = Workers(lambda: authority, TRUST_DOMAIN, _LIFETIME)
        minting = Minting(workers, lambda _: "", Audit(Path(folder)), utc_now)
        async with workers.ended(), minting.serving(UnixListener(socket)):
            await _asked(socket, 0.1, batched=True)  # the workers are started when they are needed
            for _ in range(rounds):
                report.loads.append(measure.load())
                before = measure.cpu([os.getpid(), *workers.pids])
                signed, _, asking = await _asked(socket, seconds, batched=True)
                used = measure.cpu([os.getpid(), *workers.pids]) - before
                report.add(batched, signed / seconds)
                report.add(per_svid, seconds / signed * 1e6)
                report.add(
                    Key(TOPIC, per_svid.way, "cpu of the agent for one", "µs"), used.all / signed * 1e6
                )
                report.add(Key(TOPIC, per_svid.way, "cpu of the caller", "µs"), asking / signed * 1e6)
                _, waits, _ = await _asked(socket, seconds, batched=False)
                marks = quantiles(waits, n=100)
                report.add(Key(TOPIC, "gRPC, one by one", "p50", "ms"), marks[49] * 1e3)
                report.add(Key(TOPIC, "gRPC, one by one", "p99", "ms"), marks[98] * 1e3)
                for threads in (1, 2):
                    rate = await asyncio.to_thread(_in_threads, authority, wanted, threads)
                    report.add(Key(TOPIC, f"threads: {threads}, no gRPC", "SVIDs", "1/s"), rate)
                await asyncio.to_thread(_openssl, report, signatures)


def _in_threads(authority: Authority, wanted: Sequence[IssueRequest], threads: int) -> float:
    """SVIDs a second that so many threads of one process sign."""
    mint = Mint(charge_of(authority, TRUST_DOMAIN, _LIFETIME))
    asked = [Asked(request.spiffe_id, request.csr) for request in wanted]
    now = utc_now()
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda part: mint.sign(part, now), [asked[n::threads] for n in range(threads)]))
        return len(asked) / (time.perf_counter() - began)


def _openssl(report: Report, signatures: Key) -> None:
    """What the signatures alone would cost: one is made and one is checked for each SVID."""
    if shutil.which("openssl") is None:
        return
    argv = ["openssl", "speed", "-seconds", "1", "-multi", "2", "ecdsap256"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = re.search(r"nistp256\)\s+\S+\s+\S+\s+([\d.]+)\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"openssl said: {said[-500:]}")
    signs, verifies = map(float, found.groups())
    report.add(Key(TOPIC, signatures.way, "sign", "1/s"), signs)
    report.add(Key(TOPIC, signatures.way, "verify", "1/s"), verifies)
    report.add(signatures, 1 / (1 / signs + 1 / verifies))


async def _asked(socket: Path, seconds: float, *, batched: bool) -> tuple[int, list[float], float]:
    """How many were signed for a caller of its own process, how long each call took, and its own cpu in s."""
    ours, theirs = multiprocessing.Pipe()
    arguments = (str(socket), seconds, batched, theirs)
    child = multiprocessing.get_context("spawn").Process(target=ask, args=arguments)
    child.start()
    signed, waits, used = await asyncio.to_thread(ours.recv)
    child.join()
    return signed, waits, used


def ask(socket: str, seconds: float, batched: bool, told: Connection) -> None:
    """The caller: asks until the time is over, with a few calls under way, or one if they are single."""
    told.send(asyncio.run(_ask(socket, seconds, batched)))


async def _ask(socket: str, seconds: float, batched: bool) -> tuple[int, list[float], float]:
    wanted = requests(_REQUESTS)
    size = BATCH if batched else 1
    bodies = [
        msgspec.json.encode(BatchRequest(tuple(wanted[n : n + size])) if batched else wanted[n])
        for n in range(0, len(wanted), size)
    ]
    signed, waits, turn = 0, list[float](), 0
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=MESSAGE_SIZES) as channel:
        method = ISSUE_BATCH if batched else ISSUE
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/{method}")
        await call(bodies[0])
        before = time.process_time()
        end = time.monotonic() + seconds

        async def go_on() -> None:
            nonlocal signed, turn
            while time.monotonic() < end:
                turn += 1
                began = time.monotonic()
                answer = await call(bodies[turn % len(bodies)])
                waits.append(time.monotonic() - began)
                signed += _good(answer, batched)

        await asyncio.gather(*(go_on() for _ in range(_UNDER_WAY if batched else 1)))
    return signed, waits, time.process_time() - before


def _good(answer: bytes, batched: bool) -> int:
    """How many SVIDs are in *answer*; all that were asked for have to be."""
    if not batched:
        assert msgspec.json.decode(answer, type=IssueAnswer).chain
        return 1
    items = msgspec.json.decode(answer, type=BatchAnswer).items
    assert all(item.certificate for item in items)
    return len(items)
