"""What the SPIFFE project's own client is given as X.509-SVIDs and trust bundles."""

import asyncio
import math
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography.x509 import Certificate
from spiffe import SpiffeId, TrustDomain, X509Source
from spiffe.workloadapi.errors import FetchX509BundleError, FetchX509SvidError
from spiffe.workloadapi.x509_context import X509Context

from clusters.attestation import UnixSelector
from pki.authority import to_pem
from pki.bundle import check_svid
from tests.authorities import Authorities
from tests.builders import CLOUD, ONPREM, foreign
from tests.federation.workload.desk import HOME, SOMEBODY_ELSE, US, Desk, desk, known_by, until

HOUR = timedelta(hours=1)
WEB = SpiffeId(f"spiffe://{HOME}/ns/shop/sa/web")
HEADER = ("workload.spiffe.io", "true")


def bundle(context: X509Context, trust_domain: str) -> list[Certificate]:
    found = context.x509_bundle_set.get_bundle_for_trust_domain(TrustDomain(trust_domain))
    return sorted(found.x509_authorities, key=lambda c: c.serial_number) if found else []


async def test_a_workload_is_given_its_svid_and_the_bundle_that_proves_it(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        context = await served.ask(lambda client: client.fetch_x509_context())
    svid = context.default_svid
    assert svid.spiffe_id == WEB
    assert svid.leaf.public_key() == svid.private_key.public_key()
    anchors = bundle(context, HOME)
    assert str(check_svid(to_pem(svid.cert_chain), anchors, HOME, served.now)) == str(WEB)


async def test_each_member_has_a_bundle_of_its_issuing_cas_and_nothing_above_them(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        context = await served.ask(lambda client: client.fetch_x509_context())
        alone = await served.ask(lambda client: client.fetch_x509_bundles())
    assert bundle(context, "cloud.fed.example") == [served.pki.issuing_ca(CLOUD).certificate]
    assert bundle(context, HOME) == [served.pki.issuing_ca(ONPREM).certificate]
    assert bundle(context, "fed.example") == []
    names = {found.trust_domain.name for found in alone.bundles}
    assert names == {HOME, "cloud.fed.example"}


async def test_the_own_bundle_is_there_before_the_hub_has_told_anything(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        served.knows()
        context = await served.ask(lambda client: client.fetch_x509_context())
    assert bundle(context, HOME) == [served.pki.issuing_ca(ONPREM).certificate]


async def test_a_trust_domain_outside_has_a_bundle_of_its_own(short_path: Path) -> None:
    other = Authorities(domain="other.example").root
    async with desk(short_path, known_by("web")) as served:
        served.trusts(foreign("other.example", to_pem([other.certificate])))
        context = await served.ask(lambda client: client.fetch_x509_context())
    assert bundle(context, "other.example") == [other.certificate]
    assert bundle(context, HOME) == [served.pki.issuing_ca(ONPREM).certificate]


async def test_a_watcher_is_told_of_a_renewed_svid_and_of_members_that_come_and_go(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        client = await asyncio.to_thread(served.client)
        source = await asyncio.to_thread(X509Source, client, timeout_in_seconds=10)
        first = serial(source)
        served.later(HOUR * 0.6)
        await until(lambda: serial(source) != first)
        served.knows(served.member(ONPREM))
        await until(lambda: not has_bundle(source, "cloud.fed.example"))
        served.knows(served.member(ONPREM), served.member(CLOUD))
        await until(lambda: has_bundle(source, "cloud.fed.example"))
        await asyncio.to_thread(source.close)
        await asyncio.to_thread(client.close)


def serial(source: X509Source) -> int:
    return source.get_x509_context().default_svid.leaf.serial_number


def has_bundle(source: X509Source, trust_domain: str) -> bool:
    return source.get_bundle_for_trust_domain(TrustDomain(trust_domain)) is not None


async def test_it_is_known_when_the_next_svid_is_due(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        assert served.identities.due_in() == math.inf
        await served.ask(lambda client: client.fetch_x509_svid())
        (svid,) = served.svids.all()
        assert served.identities.due_in() == (svid.renew_at - served.now).total_seconds()


async def test_what_has_not_changed_is_not_told_again(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served, stream(served) as call:
        first = await anext(aiter(call))
        served.api.follow()
        served.later(HOUR * 0.6)
        assert await anext(aiter(call)) != first


async def test_a_process_that_is_several_workloads_has_the_svid_of_each_in_the_files_order(
    short_path: Path,
) -> None:
    workloads = known_by("web"), known_by("other", SOMEBODY_ELSE), known_by("api")
    async with desk(short_path, *workloads) as served:
        svids = await served.ask(lambda client: client.fetch_x509_svids())
        async with stream(served) as call:
            told = await anext(aiter(call))
    assert [svid.spiffe_id.path for svid in svids] == ["/ns/shop/sa/web", "/ns/shop/sa/api"]
    assert b"shop/web" in told and b"shop/api" in told  # the hints  # noqa: PT018


async def test_who_is_no_workload_is_refused(short_path: Path) -> None:
    async with desk(short_path, known_by("web", SOMEBODY_ELSE), known_by("old", None)) as served:
        with pytest.raises(FetchX509SvidError, match="no workload is known by it"):
            await served.ask(lambda client: client.fetch_x509_svid())
        with pytest.raises(FetchX509BundleError, match="no workload is known by it"):
            await served.ask(lambda client: client.fetch_x509_bundles())


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        (UnixSelector(US.uid, path=str(Path(sys.executable).resolve())), True),
        (UnixSelector(US.uid, path="/usr/bin/other"), False),
        (UnixSelector(US.uid, gid=(1 << 31) - 1), False),
    ],
)
async def test_group_and_program_count_where_they_are_named(
    short_path: Path, selector: UnixSelector, fits: bool
) -> None:
    async with desk(short_path, known_by("web", selector)) as served, stream(served) as call:
        if fits:
            assert await anext(aiter(call))
        else:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await anext(aiter(call))
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_stream_ends_when_its_workload_is_taken_away(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served, stream(served) as call:
        assert await anext(aiter(call))
        served.has()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(call))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "True"),), (HEADER, HEADER)])
async def test_a_request_without_the_one_header_is_refused(
    short_path: Path, metadata: tuple[tuple[str, str], ...]
) -> None:
    async with desk(short_path, known_by("web")) as served, stream(served, metadata) as call:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(call))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_another_user_is_told_from_us_by_the_kernel(short_path: Path) -> None:
    if US.uid:
        pytest.skip("only root can be two users")
    short_path.chmod(0o755)
    async with desk(short_path, known_by("web"), known_by("nobody", UnixSelector(65534))) as served:
        script = (
            "import os, sys; from spiffe import WorkloadApiClient\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "with WorkloadApiClient(sys.argv[1], default_timeout=20) as client:\n"
            "    print(client.fetch_x509_svid().spiffe_id)"
        )
        command = [sys.executable, "-c", script, f"unix://{served.socket}"]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True)
    assert ended.stdout.decode().strip() == f"spiffe://{HOME}/ns/shop/sa/nobody", ended.stderr.decode()


@asynccontextmanager
async def stream(
    served: Desk, metadata: tuple[tuple[str, str], ...] = (HEADER,)
) -> "AsyncIterator[grpc.aio.UnaryStreamCall[bytes, bytes]]":
    """`FetchX509SVID`, message by message."""
    async with grpc.aio.insecure_channel(f"unix:{served.socket}") as channel:
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            "/SpiffeWorkloadAPI/FetchX509SVID"
        )
        call = method(b"", metadata=metadata)
        yield call
        call.cancel()
