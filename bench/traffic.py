"""Calls through every way there is: requests, new connections, bodies; and what each costs its proxies."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import load, measure
from bench.hops import Hop, answering, envoy, haproxy
from bench.report import Key, Ratio, Report
from bench.stage import BACKEND, BULK, Service, Stage, carries_http, vip
from federation.demo.topology import Lab

DIRECT: Final = "direct"
ONE: Final = "one Envoy L7 hop"
TWO: Final = "two Envoy L7 hops, mTLS h2"
HAPROXY: Final = "two HAProxy hops, mTLS h2"
EACH: Final = "two Envoy L4 hops, mTLS each"
BARE: Final = "two Envoy L4 hops, no TLS"
L4: Final = "fedgate L4"
L7: Final = "fedgate L7"

_REQUESTS: Final = "requests, {} kept connections"
_CONNECTIONS: Final = "new connections, 8 at once"
_BODIES: Final = "bodies"
_CPU: Final = ("cpu", "µs each")
_KERNEL: Final = ("of it the kernel's", "µs each")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the backend: where requests and bodies are sent, and which programs carry them."""

    name: str
    to: tuple[str, int]
    bulk: tuple[str, int]
    pids: tuple[int, ...] = ()


async def measure_traffic(report: Report, rounds: int, quick: bool) -> None:
    """Visit every way in turn, *rounds* times."""
    if shutil.which("wrk") is None:
        report.skip("requests and connections", "wrk is not installed (apt-get install wrk)")
    with tempfile.TemporaryDirectory(prefix="fb") as name, Lab(Path(name)) as lab:
        async with _ways(Stage(lab, Path(name)), report) as (stage, ways):
            seconds, size = (1, 64 << 20) if quick else (2, 512 << 20)
            for way in ways:  # whatever comes on demand comes before anything is counted
                await _visit(Report(), stage, way, 1, 1 << 20)
            for _ in range(rounds):
                report.loads.append(measure.load())
                for way in ways:
                    await _visit(report, stage, way, seconds, size)
    _compare(report)


async def _visit(report: Report, stage: Stage, way: Way, seconds: int, size: int) -> None:
    if shutil.which("wrk"):
        for connections in (1, 32):
            topic = _REQUESTS.format(connections)
            await _calls(report, stage, way, topic, seconds, connections, keep=True)
        await _calls(report, stage, way, _CONNECTIONS, seconds, 8, keep=False)
    if way.name in (EACH, BARE):
        return  # there for its handshakes, and to show what two hops cost that do nothing
    for how, what in (("get", "down"), ("put", "up")):
        before = measure.cpu(way.pids)
        took = await load.body(stage.run, how, way.bulk, size)
        report.add(Key(_BODIES, way.name, what, "MB/s"), size / took / 1e6)
        if way.pids:
            used = await measure.settled(way.pids) - before
            report.add(Key(_BODIES, way.name, f"cpu {what}", "s/GB"), used.all / size * 1e9)


async def _calls(
    report: Report, stage: Stage, way: Way, topic: str, seconds: int, connections: int, *, keep: bool
) -> None:
    before = measure.cpu(way.pids)
    seen = await load.requests(stage.run, way.to, str(stage.script), seconds, connections, keep=keep)
    used = await measure.settled(way.pids) - before
    if way.pids:
        report.add(Key(topic, way.name, *_CPU), used.all / seen.requests * 1e6)
        report.add(Key(topic, way.name, *_KERNEL), used.kernel / seen.requests * 1e6)
    report.add(Key(topic, way.name, "rate", "1/s"), seen.requests / seen.seconds)
    report.add(Key(topic, way.name, "p50", "ms"), seen.p50_ms)
    report.add(Key(topic, way.name, "p99", "ms"), seen.p99_ms)
    if seen.errors:
        report.add(Key(topic, way.name, "errors", "calls"), seen.errors)


def _compare(report: Report) -> None:
    busy, one = _REQUESTS.format(32), _REQUESTS.format(1)
    report.ratios += [
        Ratio("cpu a request at 32: fedgate L4 / two Envoy L7 hops", *_both(busy, L4, TWO), 0.3),
        Ratio("cpu a request at 32: fedgate L4 / two HAProxy hops", *_both(busy, L4, HAPROXY), 1.1),
        Ratio("cpu a request at 32: fedgate L7 / two Envoy L7 hops", *_both(busy, L7, TWO), 0.75),
        Ratio("cpu a request at 32: fedgate L4 / one Envoy L7 hop", *_both(busy, L4, ONE)),
        Ratio("cpu a request at 32: two Envoy L4 hops, no TLS / two Envoy L7 hops", *_both(busy, BARE, TWO)),
        Ratio("cpu a request at 1: fedgate L4 / two Envoy L7 hops", *_both(one, L4, TWO)),
        Ratio("cpu a new connection: fedgate L4 / mTLS each", *_both(_CONNECTIONS, L4, EACH), 0.35),
        Ratio("cpu a new connection: fedgate L7 / mTLS each", *_both(_CONNECTIONS, L7, EACH), 0.35),
    ]
    for way in (L4, L7):
        for what in ("down", "up"):
            of, to = (Key(_BODIES, name, what, "MB/s") for name in (way, TWO))
            report.ratios.append(
                Ratio(f"bodies {what}: {way} / two Envoy L7 hops", of, to, 1.0, at_least=True)
            )


def _both(topic: str, of: str, to: str) -> tuple[Key, Key]:
    return Key(topic, of, *_CPU), Key(topic, to, *_CPU)


@asynccontextmanager
async def _ways(stage: Stage, report: Report) -> AsyncIterator[tuple[Stage, list[Way]]]:
    """Everything up at once: who is not visited is idle."""
    stage.start_envoy("backend", answering(BACKEND, "hello\n"))
    stage.start_bulk()
    services = [Service("web", 8080), Service("bulk", 8081, BULK)]
    http = carries_http(stage)
    if http:
        services += [
            Service("web-http", 8082, app_protocol="http"),
            Service("bulk-http", 8083, BULK, app_protocol="http"),
        ]
    else:
        report.skip(L7, "this fedgate carries HTTP as it carries any TCP")
    ways = [Way(DIRECT, BACKEND, BULK), *_plain_ways(stage, report)]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.gateways(services))
        pids = (stage.pids["fedgate-onprem"], stage.pids["fedgate-cloud"])
        ways.append(Way(L4, (vip(1), 8080), (vip(2), 8081), pids))
        if http:
            ways.append(Way(L7, (vip(3), 8082), (vip(4), 8083), pids))
        await stage.answers(*(way.to for way in ways))
        yield stage, ways


def _plain_ways(stage: Stage, report: Report) -> list[Way]:
    """What fedgate is measured against; every proxy is there twice, as bodies have a server of their own."""
    out, into = stage.credentials("onprem", "egress"), stage.credentials("cloud", "ingress")
    ways, port = [], 9100

    def chains(name: str, hops: list[Hop], *, with_haproxy: bool = False) -> Way:
        """A chain of *hops* to each of the two servers; the ports of the hops given are not looked at."""
        nonlocal port
        firsts, pids = [], []
        for server in (BACKEND, BULK):
            to = server
            for hop in reversed(hops):
                port += 1
                listen = ("127.0.4.1", port)
                made = Hop(listen, to, hop.http, hop.tls_in, hop.tls_out)
                label = f"hop-{port}"
                if with_haproxy:
                    pids.append(stage.start_haproxy(label, haproxy(made)))
                else:
                    pids.append(stage.start_envoy(label, envoy(made)))
                to = listen
            firsts.append(to)
        return Way(name, firsts[0], firsts[1], tuple(pids))

    def two(*, http: bool) -> list[Hop]:
        return [Hop(BACKEND, BACKEND, http, tls_out=out), Hop(BACKEND, BACKEND, http, tls_in=into)]

    ways += [chains(ONE, [Hop(BACKEND, BACKEND)]), chains(TWO, two(http=True))]
    ways.append(chains(EACH, two(http=False)))
    ways.append(chains(BARE, [Hop(BACKEND, BACKEND, http=False)] * 2))
    if shutil.which("haproxy"):
        ways.append(chains(HAPROXY, two(http=True), with_haproxy=True))
    else:
        report.skip(HAPROXY, "haproxy is not installed (apt-get install haproxy)")
    return ways
