"""The agent's HTTPS face for gateways on other machines: they enrol with a token, then renew by certificate.

Tokens live in memory: an agent that restarts forgets those that were not used.
"""

import hmac
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from cryptography import x509

from clusters.admission import (
    ENROL_PATH,
    RENEW_PATH,
    ROOT_PATH,
    EnrolAnswer,
    EnrolRequest,
    Refusal,
    RenewAnswer,
    RenewRequest,
)
from clusters.identity import Membership
from clusters.latest import Latest
from clusters.reports import NOTICE_PATH, REPORT_PATH, Notice, Report, ReportAnswer
from clusters.trust import MOST_TOKENS, UnusedToken
from federation.api.http import (
    ApiError,
    actor_of,
    application,
    body_as,
    client_certificate,
    json_response,
    switching,
    tls_context,
)
from federation.api.notices import add_notices
from federation.audit import Audit, described
from federation.identity import Identity
from federation.log import Log
from federation.roots import Roots
from gateway.errors import GatewayRefused
from gateway.rpc import Peer, TlsMaterial
from gateway.spec import GatewaySpec, Role
from pki import keystore
from pki.authority import describe, from_pem, to_pem
from pki.bundle import check_svid, spki_sha256
from pki.csr import verify_csr
from pki.errors import PkiError
from pki.lifetimes import SVID_LIFETIME
from pki.profile import svid
from pki.spiffe import gateway_id
from pki.tokens import Token, TokenKind, new_token, secret_hash

log = Log(__name__)

_MAX_TOKENS: Final = 1000
_TLS_FILES: Final = ("agent.pem", "agent.key")
_MAKE_ANOTHER: Final = "make another with `fedgate gateways token NAME`"


@dataclass(frozen=True, slots=True)
class _Issued:
    name: str
    role: str
    secret_hash: str
    expires: datetime
    pins: tuple[str, ...]
    used: bool = False


class Enrolment:
    """Who may enrol as which gateway of this cluster, and the certificates that gateways get.

    *spent* is called when a token was used.
    """

    def __init__(
        self,
        identity: Identity,
        roots: Roots,
        now: Callable[[], datetime],
        audit: Audit,
        svid_lifetime: timedelta = SVID_LIFETIME,
        spent: Callable[[], None] = lambda: None,
    ) -> None:
        self._identity = identity
        self._roots = roots
        self._now = now
        self._audit = audit
        self._svid_lifetime = svid_lifetime
        self._spent = spent
        self._issued: dict[str, _Issued] = {}

    @property
    def roots(self) -> tuple[str, ...]:
        """The federation's roots, each PEM."""
        return self._roots.each

    def create(self, name: str, role: str, ttl: timedelta, addresses: tuple[str, ...]) -> Token:
        """Make a token with which gateway *name* may enrol in *role*, once.

        Those that were used are remembered until they expire, to say so, unless there are very many.
        """
        now = self._now()
        trust_domain = self._identity.membership.trust_domain
        gateway_id(trust_domain, role, name)
        self._issued = {i: issued for i, issued in self._issued.items() if issued.expires > now}
        if len(self._issued) >= _MAX_TOKENS:
            self._issued = {i: issued for i, issued in self._issued.items() if not issued.used}
        if len(self._issued) >= _MAX_TOKENS:
            raise ApiError(
                409, "too-many-tokens", f"{_MAX_TOKENS} tokens are unused", "wait until they expire"
            )
        pins = tuple(spki_sha256(root) for root in self._roots.certificates)
        token = new_token(TokenKind.GATEWAY, name, trust_domain, addresses, pins, now + ttl, role)
        self._issued[token.id] = _Issued(name, role, secret_hash(token.secret), token.expires, pins)
        return token

    def outdated(self) -> tuple[UnusedToken, ...]:
        """The tokens that are good still and do not pin the newest root, those that end last first."""
        newest, now = spki_sha256(self._roots.certificates[-1]), self._now()
        found = [
            UnusedToken(token_id, issued.name, issued.expires)
            for token_id, issued in self._issued.items()
            if not issued.used and issued.expires > now and newest not in issued.pins
        ]
        return tuple(sorted(found, key=lambda token: token.expires, reverse=True)[:MOST_TOKENS])

    def redeem(self, request: EnrolRequest, actor: str = "") -> tuple[str, ...]:
        """Spend a token on the certificate that it is for; gives the chain, each PEM."""
        told = {"actor": actor, "what": "enrolment", "token": request.token_id}
        try:
            issued, chain = self._redeem(request)
        except (ApiError, PkiError) as error:
            code = error.code if isinstance(error, ApiError) else "invalid"
            self._audit.record("denied", request.name, code=code, reason=str(error), **told)
            raise
        self._audit.record("issued", describe(chain[0]), **told, **described(chain[0]))
        self._issued[request.token_id] = replace(issued, used=True)
        self._spent()
        log.info("gateway enrolled", gateway=issued.name, role=issued.role)
        return tuple(to_pem([c]) for c in chain)

    def _redeem(self, request: EnrolRequest) -> tuple[_Issued, tuple[x509.Certificate, ...]]:
        issued = self._issued.get(request.token_id)
        if issued is None:
            raise _refused(Refusal.TOKEN_UNKNOWN, "this agent made no such token, or has restarted since")
        if not hmac.compare_digest(issued.secret_hash, secret_hash(request.secret)):
            raise _refused(Refusal.SECRET_WRONG, "the token's secret is wrong")
        if issued.used:
            raise _refused(Refusal.TOKEN_USED, "the token was used already")
        if self._now() >= issued.expires:
            raise _refused(Refusal.TOKEN_EXPIRED, f"the token expired at {issued.expires:%H:%M:%S} UTC")
        if (issued.name, issued.role) != (request.name, request.role):
            raise _refused(
                Refusal.TOKEN_WRONG_GATEWAY, f"the token is for gateway {issued.name} in role {issued.role}"
            )
        return issued, self._certify(request.csr, issued.role, issued.name)

    def renew(self, shown: str, csr: str, actor: str = "") -> tuple[str, ...]:
        """The next certificate of the gateway that showed the certificate *shown*."""
        role, name = self.gateway(shown)
        chain = self._certify(csr, role, name)
        self._audit.record("issued", describe(chain[0]), actor=actor, what="renewal", **described(chain[0]))
        return tuple(to_pem([c]) for c in chain)

    def gateway(self, shown: str) -> tuple[str, str]:
        """Role and name of the gateway that showed the certificate *shown*."""
        membership, anchors = self._identity.membership, self._identity.anchors
        try:
            held = check_svid(shown, anchors, membership.trust_domain, self._now())
            kind, role, name = held.path.removeprefix("/").split("/")
            if kind != "gateway":
                raise ValueError(kind)
        except (PkiError, ValueError) as error:
            raise ApiError(403, "not-a-gateway", "only a gateway of this cluster may do this") from error
        return role, name

    def check(self, peer: Peer, spec: GatewaySpec) -> None:
        """Raise GatewayRefused unless *peer* has the certificate of the gateway *spec* of this cluster.

        TLS has led it to the root only, and so it would lead one by an issuing CA that a rejoin has replaced.
        """
        trust_domain, anchors = self._identity.membership.trust_domain, self._identity.anchors
        role = "both" if len(spec.roles) == len(Role) else next(iter(spec.roles))
        wanted = gateway_id(trust_domain, role, spec.name)
        try:
            shown = check_svid(peer.chain, anchors, trust_domain, self._now())
        except PkiError as error:
            raise GatewayRefused(spec.name, str(error)) from error
        if shown != wanted:
            raise GatewayRefused(spec.name, f"its certificate is for {shown}, not for {wanted}")

    def _certify(self, csr: str, role: str, name: str) -> tuple[x509.Certificate, ...]:
        authority = self._identity.authority
        spiffe_id = gateway_id(self._identity.membership.trust_domain, role, name)
        profile = svid(spiffe_id, self._svid_lifetime)
        crosses = tuple(cross for pem in self._roots.crosses for cross in from_pem(pem))
        return (authority.issue(profile, verify_csr(csr), self._now()), *authority.chain, *crosses)


class EnrolmentTls:
    """TLS for gateways that enrol: *context* is as the agent's material was at the last `refresh`."""

    def __init__(self, state: Path, material: Callable[[], TlsMaterial]) -> None:
        self._chain, self._key = (state / name for name in _TLS_FILES)
        self._material = material
        self._shown = material()
        self._current = self._opened()
        self.context = switching(lambda _: self._current)

    def refresh(self) -> None:
        """Show the newest certificate from the next connection on."""
        newest = self._material()
        if newest != self._shown:
            self._shown = newest
            self._current = self._opened()

    def _opened(self) -> ssl.SSLContext:
        """A context for it, which takes certificates from files only."""
        files = {self._chain.name: self._shown.chain.encode(), self._key.name: self._shown.key.encode()}
        keystore.write_all(self._chain.parent, files)
        return tls_context(self._chain, self._key, self._shown.roots)


def enrol_application(
    enrolment: Enrolment,
    membership: Membership,
    ads: Callable[[], str],
    hear: Callable[[Report], ReportAnswer],
    notices: Latest[Notice],
) -> web.Application:
    """The face itself; *ads* says where an enrolled gateway finds its configuration."""

    async def root(_: web.Request) -> web.StreamResponse:
        return web.Response(text="".join(enrolment.roots), content_type="application/x-pem-file")

    async def enrol(request: web.Request) -> web.StreamResponse:
        chain = enrolment.redeem(await body_as(request, EnrolRequest), actor_of(request))
        return json_response(
            EnrolAnswer(chain, enrolment.roots, ads(), membership.domain, membership.trust_domain)
        )

    async def renew(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, RenewRequest)
        chain = enrolment.renew(client_certificate(request), asked.csr, actor_of(request))
        return json_response(RenewAnswer(chain, enrolment.roots))

    async def report(request: web.Request) -> web.StreamResponse:
        role, name = enrolment.gateway(client_certificate(request))
        said = await body_as(request, Report)
        roles = tuple(Role) if role == "both" else (role,)
        return json_response(hear(msgspec.structs.replace(said, name=name, roles=roles)))

    app = application()
    app.router.add_get(ROOT_PATH, root)
    app.router.add_post(ENROL_PATH, enrol)
    app.router.add_post(RENEW_PATH, renew)
    app.router.add_post(REPORT_PATH, report)
    add_notices(app, NOTICE_PATH, notices, lambda asker: enrolment.gateway(client_certificate(asker)))
    return app


def _refused(code: Refusal, reason: str) -> ApiError:
    return ApiError(403, code, reason, _MAKE_ANOTHER)
