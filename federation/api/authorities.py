"""The part of the hub's admin API about its own authorities: what they are, and the rollover of the root."""

from datetime import datetime
from typing import Literal

import msgspec
from aiohttp import web
from cryptography import x509

from clusters.durations import short
from clusters.names import cluster_name
from federation.api.answers import Check
from federation.api.http import ApiError, actor_of, body_as, json_response
from federation.hub_authority import HubAuthority
from federation.rollover.phases import Party, Phase, outlook
from federation.rollover.preparing import Given
from federation.rollover.steward import Steward
from pki.authority import Authority, describe, from_pem
from pki.bundle import fingerprint, spki_sha256
from pki.rotation import Validity, due, jitter_of, late
from pki.signer import KeySigner


class _Asked(msgspec.Struct):
    """A step of the rollover; for a start with a root from outside what was brought along, PEM.

    The clusters to `skip` are evicted by `resume` and `finish`, if those wait for them and for nobody else.
    """

    step: Literal["start", "resume", "finish", "abort"]
    auto: bool = False
    skip: tuple[str, ...] = ()
    root_cert: str = ""
    root_key: str = ""
    hub_ca_chain: str = ""
    cross_cert: str = ""

    def __repr__(self) -> str:
        return f"_Asked(step={self.step!r})"


class _Request(msgspec.Struct):
    """A request for a hub CA: for the present one, or for one below the root that is to come."""

    next: bool = False


class _Chain(msgspec.Struct):
    """The answer to a request: hub CA, what is between, and the root, PEM."""

    chain: str


def add_authorities(steward: Steward, app: web.Application) -> None:
    """Answer in *app*."""

    async def authorities(_: web.Request) -> web.StreamResponse:
        return json_response(_authorities(steward) | {"rollover": await _rollover(steward)})

    async def rollover(_: web.Request) -> web.StreamResponse:
        return json_response(await _rollover(steward))

    async def step(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, _Asked)
        await _take(steward, asked, actor_of(request))
        return json_response(await _rollover(steward))

    async def request(asked: web.Request) -> web.StreamResponse:
        coming = (await body_as(asked, _Request)).next
        return json_response({"csr": await steward.request(coming=coming)})

    async def install(asked: web.Request) -> web.StreamResponse:
        await steward.install((await body_as(asked, _Chain)).chain)
        return json_response(_authorities(steward))

    app.router.add_post("/v1/ca/csr", request)
    app.router.add_post("/v1/ca/hub-ca", install)
    app.router.add_get("/v1/ca", authorities)
    app.router.add_get("/v1/ca/rollover", rollover)
    app.router.add_post("/v1/ca/rollover", step)


def hub_ca_check(authority: HubAuthority, now: datetime) -> Check:
    """How long the hub CA is good. Where people have to have it renewed, they are told half-way."""
    validity = Validity.of(authority.hub_ca.certificate)
    detail = f"valid for {short(validity.not_after - now)} more"
    if not authority.has_root_key and due(now, validity, jitter_of(authority.hub_ca.certificate)):
        hint = "its root's key is not here: `fedgate ca csr`, have it signed, `fedgate ca install`"
        return Check("hub CA", "warn", detail, hint)
    if late(now, validity):
        return Check("hub CA", "warn", detail, "it should have been renewed: the hub's log says why not")
    return Check("hub CA", "ok", detail)


async def _take(steward: Steward, asked: _Asked, actor: str) -> None:
    skip = tuple(cluster_name(name) for name in asked.skip)
    match asked.step:
        case "start":
            await steward.start(_given(asked), auto=asked.auto)
        case "resume":
            if asked.auto:
                await steward.set_auto()
            await steward.resume(skip, actor=actor)
        case "finish":
            await steward.finish(skip, actor=actor)
        case "abort":
            await steward.abort()


def _given(asked: _Asked) -> Given:
    """What was brought along."""
    if bool(asked.root_cert) != bool(asked.root_key):
        raise ApiError(400, "bad-request", "a root from outside needs its certificate and its key")
    if not asked.root_cert:
        return Given(None, asked.hub_ca_chain, asked.cross_cert)
    if asked.hub_ca_chain:
        raise ApiError(400, "bad-request", "the new root's key, or a hub CA that it has certified: not both")
    (certificate, *more) = from_pem(asked.root_cert)
    if more:
        raise ApiError(400, "bad-request", "the root's file has more than one certificate")
    root = Authority(certificate, (), KeySigner.from_pem(asked.root_key.encode()))
    return Given(root, cross=asked.cross_cert)


def _authorities(steward: Steward) -> dict[str, object]:
    authority = steward.authority
    roots = [_certificate(root) | {"signs": root == authority.root} for root in authority.certificates]
    return {"roots": roots, "hub_ca": _certificate(authority.hub_ca.certificate)}


def _certificate(certificate: x509.Certificate) -> dict[str, object]:
    return {
        "subject": describe(certificate),
        "fingerprint": fingerprint(certificate),
        "pin": spki_sha256(certificate),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
    }


async def _rollover(steward: Steward) -> dict[str, object]:
    """How far it is; `phase` is `none` when no rollover is under way."""
    rollover = steward.rollover
    if rollover is None:
        return {"phase": "none", "parties": []}
    parties = await steward.parties()
    (old,), (new,) = from_pem(rollover.old), from_pem(rollover.new)
    return {
        "phase": rollover.phase,
        "next": outlook(rollover.phase, parties).step.value,
        "auto": rollover.auto,
        "started": rollover.started,
        "switched": rollover.switched,
        "old": fingerprint(old),
        "new": fingerprint(new),
        "parties": [_party(party, rollover.phase) for party in parties],
    }


def _party(party: Party, phase: Phase) -> dict[str, object]:
    return {
        "name": f"hub {party.name[1:]}" if party.name.startswith("@") else party.name,
        "state": "ready" if party.ready(phase) else "waited for",
        "knows": party.knows,
        "proved": party.proved,
        "reissued": party.reissued,
        "why": party.why,
    }
