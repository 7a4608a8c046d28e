"""Our bundle endpoint, and fetching from one: over real TLS, with whoever may be at the other end."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from clusters.clock import utc_now
from clusters.foreign import BundleEndpoint, Profile
from clusters.model import Federation
from federation.api.bundles import bundles_application
from federation.api.http import served_on_tls
from federation.errors import BundleNotFetched, WebCertificateUnusable
from federation.registry import keyspace
from federation.registry.clusterset import Clusterset
from federation.registry.codec import encode
from federation.registry.records import ClusterRecord
from federation.trust.fetching import fetch
from federation.trust.serving import WebCertificate
from pki import keystore
from pki.authority import to_pem
from pki.spiffe import SpiffeId
from pki.spiffe_bundle import LARGEST, parse
from tests.authorities import Authorities, Credential
from tests.builders import ONPREM, VIP_RANGES, jwt_keys

PKI = Authorities(utc_now())
ROOTS = (PKI.root.certificate,)
HUB_ID = "spiffe://fed.example/hub"


def clusterset() -> Clusterset:
    """The federation's, with `onprem` as its member."""
    made = Clusterset()
    made.apply(keyspace.FEDERATION, encode(Federation("fed.example", (PKI.root_pem,), VIP_RANGES)))
    anchor = to_pem(PKI.issuing_ca(ONPREM).chain)
    record = ClusterRecord(ONPREM, "onprem.fed.example", (anchor,), PKI.now)
    made.apply(keyspace.cluster(ONPREM), encode(record))
    made.apply(keyspace.jwt_keys(ONPREM), encode(KEYS))
    return made


KEYS = jwt_keys(ONPREM, PKI.now)


def context(folder: Path, shown: Credential) -> ssl.SSLContext:
    keystore.write(folder / "chain.pem", shown.chain_pem.encode())
    keystore.write(folder / "key.pem", shown.signer.private_pem())
    return WebCertificate(folder / "chain.pem", folder / "key.pem").tls


@asynccontextmanager
async def served(folder: Path, shown: Credential, app: web.Application | None = None) -> AsyncIterator[str]:
    """The bundle endpoint, or *app*, on this machine; gives its address."""
    face = app or bundles_application(clusterset(), lambda _: 7, timedelta(minutes=5))
    async with served_on_tls(face, "127.0.0.1", 0, context(folder, shown)) as port:
        yield f"https://127.0.0.1:{port}"


def at(base: str, trust_domain: str = "fed.example", spiffe_id: str = HUB_ID) -> BundleEndpoint:
    return BundleEndpoint(trust_domain, f"{base}/bundles/{trust_domain}", Profile.SPIFFE, spiffe_id)


async def test_the_federations_bundle_has_its_roots_and_a_members_what_is_its_own(tmp_path: Path) -> None:
    async with served(tmp_path, PKI.hub()) as base:
        federation = parse((await fetch(at(base), ROOTS)).encode())
        member = parse((await fetch(at(base, "onprem.fed.example"), ROOTS)).encode())
    assert federation.authorities == ROOTS
    assert member.authorities == (PKI.issuing_ca(ONPREM).certificate,)
    assert [told.kid for told, _ in member.jwt_keys] == [KEYS.keys[0].id]
    assert (member.sequence, member.refresh_hint) == (7, 300)


@pytest.mark.parametrize("name", ["cloud.fed.example", "other.example", "a.b.fed.example", "x"])
async def test_nobody_elses_bundle_is_there(tmp_path: Path, name: str) -> None:
    async with served(tmp_path, PKI.hub()) as base:
        with pytest.raises(BundleNotFetched, match="status 404"):
            await fetch(at(base, name), ROOTS)


async def test_only_the_server_that_was_named_is_believed(tmp_path: Path) -> None:
    impostor = PKI.svid(SpiffeId("onprem.fed.example", "/ns/shop/sa/web"))
    async with served(tmp_path, impostor) as base:
        with pytest.raises(BundleNotFetched, match=r"its server is spiffe://onprem.*, and not spiffe://fed"):
            await fetch(at(base), ROOTS)


@pytest.mark.parametrize(
    ("authorities", "why"),
    [((), "no bundle of fed.example"), ((Authorities(utc_now()).root.certificate,), "(?i)certificate")],
)
async def test_a_server_is_proven_by_the_bundle_of_its_domain_alone(
    tmp_path: Path, authorities: tuple[()], why: str
) -> None:
    async with served(tmp_path, PKI.hub()) as base:
        with pytest.raises(BundleNotFetched, match=why):
            await fetch(at(base), authorities)


async def test_with_https_web_the_certificate_is_the_webs_and_the_name_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The web's authorities are those of this machine, here our root instead."""
    (tmp_path / "web.pem").write_text(PKI.root_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "web.pem"))
    async with served(tmp_path, PKI.hub("127.0.0.1")) as base:
        place = BundleEndpoint("fed.example", f"{base}/bundles/fed.example")
        assert parse((await fetch(place, ())).encode()).authorities == ROOTS
        other = BundleEndpoint("fed.example", place.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(BundleNotFetched):
            await fetch(other, ())
    monkeypatch.delenv("SSL_CERT_FILE")
    async with served(tmp_path, PKI.hub("127.0.0.1")) as base:
        with pytest.raises(BundleNotFetched, match=r"(?i)certificate"):
            await fetch(BundleEndpoint("fed.example", f"{base}/bundles/fed.example"), ())


async def _large(_: web.Request) -> web.StreamResponse:
    return web.Response(body=bytes(LARGEST + 1))


async def _silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def _moved(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("https://evil.example/")


BAD: Mapping[str, tuple[object, str]] = {
    "large": (_large, "larger than"),
    "silent": (_silent, "took too long"),
    "moved": (_moved, "status 302 to https://evil.example/"),
}


@pytest.mark.parametrize("how", BAD)
async def test_a_server_that_means_no_good_is_left_alone(tmp_path: Path, how: str) -> None:
    handler, why = BAD[how]
    app = web.Application()
    app.router.add_get("/bundles/{name}", handler)  # type: ignore[arg-type]
    async with served(tmp_path, PKI.hub(), app) as base:
        with pytest.raises(BundleNotFetched, match=why):
            await fetch(at(base), ROOTS, timeout=1 if how == "silent" else 10)


def test_a_certificate_that_cannot_be_shown_is_a_clear_error(tmp_path: Path) -> None:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(WebCertificateUnusable, match=r"chain\.pem with .*key\.pem cannot be used"):
        WebCertificate(tmp_path / "chain.pem", tmp_path / "key.pem")
