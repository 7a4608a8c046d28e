"""Where agents prove that they trust the root that is to come: a part of the hub's HTTPS face.

Whoever gets a word in by a connection of `PROVING_NAME` has verified our chain of that root; by the
certificate that it shows we know who it is.
"""

from dataclasses import dataclass

from aiohttp import web

from clusters.names import ClusterName
from clusters.trust import PROOF_PATH, Proof, Proven
from federation.api.http import ApiError, body_as, client_certificate, json_response, tls_of
from federation.errors import UnknownCluster
from federation.log import Log
from federation.rollover.steward import Steward
from pki.authority import from_pem
from pki.bundle import check_svid, spiffe_id_of
from pki.errors import PkiError
from pki.spiffe import agent_id, cluster_of

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Witness:
    """The hub as the one who sees proofs, and has them written down."""

    steward: Steward

    def add_to(self, app: web.Application) -> None:
        """Answer in *app*."""

        async def prove(request: web.Request) -> web.StreamResponse:
            asked = await body_as(request, Proof)
            if not self.steward.certificate.proves(tls_of(request)):
                raise ApiError(409, "no-proof", "no root is to come, or this connection is not by it")
            cluster = await self._cluster(client_certificate(request))
            await self.steward.prove(cluster, asked.root)
            log.info("new root proved", cluster=cluster)
            return json_response(Proven(asked.root))

        app.router.add_post(PROOF_PATH, prove)

    async def _cluster(self, shown: str) -> ClusterName:
        """The cluster whose agent's certificate this is."""
        try:
            trust_domain = spiffe_id_of(from_pem(shown)[0]).trust_domain
            name = ClusterName(cluster_of(trust_domain, self.steward.authority.domain))
            record = await self.steward.registry.members.get(name)
            anchors = [from_pem(chain)[0] for chain in record.anchors]
            if check_svid(shown, anchors, trust_domain, self.steward.now()) != agent_id(trust_domain):
                raise ApiError(403, "not-an-agent", "only an agent proves what its cluster trusts")
        except (PkiError, UnknownCluster) as error:
            raise ApiError(403, "not-a-member", f"the certificate is no member's: {error}") from error
        return name
