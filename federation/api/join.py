"""The hub's HTTPS face for newcomers: the root for whoever asks, and a cluster's issuing CA for a token."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from clusters.admission import (
    JOIN_PATH,
    PROTOCOL,
    ROOT_PATH,
    SKEW_REFUSED,
    JoinAnswer,
    Refusal,
)
from clusters.admission import JoinRequest as Asked
from clusters.errors import InvalidName
from clusters.names import ClusterName, cluster_name
from federation.api.http import ApiError, actor_of, application, body_as, json_response, off_the_loop
from federation.audit import Audit, described
from federation.errors import FederationError
from federation.hub_authority import HubAuthority
from federation.log import Log
from federation.registry.members import JoinRequest
from federation.registry.registry import Registry
from pki.authority import from_pem
from pki.csr import VerifiedCsr, verify_csr
from pki.errors import CsrRefused, PkiError
from pki.spiffe import trust_domain_of
from pki.tokens import secret_hash

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """What it takes to let a cluster in; *sync* and *vip_ranges* are told to whoever comes in."""

    authority: HubAuthority
    registry: Registry
    sync: Callable[[], tuple[str, ...]]
    vip_ranges: tuple[str, ...]
    now: Callable[[], datetime]
    audit: Audit

    async def join(self, asked: Asked, actor: str = "") -> JoinAnswer:
        """Let a cluster in, or say why not. The issuing CA counts only if the token could be spent on it."""
        told = {"actor": actor, "what": "join", "token": asked.token_id}
        try:
            answer = await self._join(asked)
        except (FederationError, PkiError) as error:
            code = error.code if isinstance(error, FederationError) else "invalid"
            self.audit.record("denied", asked.cluster, code=code, reason=str(error), **told)
            raise
        (issuing_ca,) = from_pem(answer.chain[0])
        again = "yes" if asked.rejoin else "no"
        self.audit.record("issued", asked.cluster, rejoin=again, **told, **described(issuing_ca))
        return answer

    async def _join(self, asked: Asked) -> JoinAnswer:
        now = self.now()
        _check_protocol(asked)
        _check_clock(asked, now)
        cluster = _cluster(asked)
        request = JoinRequest(asked.token_id, secret_hash(asked.secret), cluster, asked.rejoin)
        await self.registry.members.may_join(request, now)
        key = _key(asked)
        chain = await off_the_loop(lambda: self.authority.sign_issuing_ca(key, cluster, now))
        trust_domain = trust_domain_of(cluster, self.authority.domain)
        await self.registry.members.join(request, trust_domain, "".join(chain), now)
        log.info("cluster joined", cluster=cluster, version=asked.version, rejoin=asked.rejoin)
        return JoinAnswer(
            cluster,
            self.authority.domain,
            trust_domain,
            chain,
            self.authority.roots,
            self.sync(),
            self.vip_ranges,
            now,
        )


def join_application(door: Door) -> web.Application:
    """The face itself."""

    async def root(_: web.Request) -> web.StreamResponse:
        return web.Response(text="".join(door.authority.roots), content_type="application/x-pem-file")

    async def join(request: web.Request) -> web.StreamResponse:
        return json_response(await door.join(await body_as(request, Asked), actor_of(request)))

    app = application()
    app.router.add_get(ROOT_PATH, root)
    app.router.add_post(JOIN_PATH, join)
    return app


def _check_protocol(asked: Asked) -> None:
    if asked.protocol != PROTOCOL:
        older = "the cluster's" if asked.protocol < PROTOCOL else "the hub's"
        raise ApiError(
            409,
            Refusal.PROTOCOL_UNSUPPORTED,
            f"fedgate {asked.version} joins by protocol {asked.protocol}, and this hub by {PROTOCOL}",
            f"upgrade {older} fedgate",
        )


def _check_clock(asked: Asked, now: datetime) -> None:
    apart = (asked.clock - now).total_seconds()
    if abs(apart) > SKEW_REFUSED:
        raise ApiError(
            409,
            Refusal.CLOCK_SKEW,
            f"the cluster's clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the hub's",
            "set the clock of whichever is wrong, best by NTP",
        )


def _cluster(asked: Asked) -> ClusterName:
    try:
        return cluster_name(asked.cluster)
    except InvalidName as error:
        raise ApiError(400, Refusal.TOKEN_WRONG_CLUSTER, str(error)) from error


def _key(asked: Asked) -> VerifiedCsr:
    try:
        return verify_csr(asked.csr)
    except CsrRefused as error:
        raise ApiError(400, Refusal.CSR_INVALID, str(error)) from error
