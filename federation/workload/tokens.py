"""JWT-SVIDs for the workloads of one cluster, and the JWT keys of all members to hold others against."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from clusters.attestation import Process
from clusters.jwt_key import JwtKey
from clusters.keyring import published
from clusters.model import ClusterName, ClusterView, Member
from federation.errors import JwtKeyMissing, NoIdentity, RequestRefused
from federation.workload import wire
from federation.workload.identities import Identities
from federation.workload.wire import JwtEntry
from pki.errors import JwtRefused
from pki.jwk import jwk_set
from pki.jwt_keys import SigningKey, signing
from pki.jwt_svid import public_key, sign, validate
from pki.spiffe import SpiffeId

MAX_AUDIENCES: Final = 16
_MAX_AUDIENCE: Final = 1024
_Known: TypeAlias = Mapping[str, Mapping[str, tuple[JwtKey, ec.EllipticCurvePublicKey]]]


class Tokens:
    """Answers for one cluster, by its view and its own keys at this moment."""

    def __init__(
        self,
        view: Callable[[], ClusterView],
        trust_domain: str,
        identities: Identities,
        keys: Callable[[], Sequence[SigningKey]],
        now: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._trust_domain = trust_domain
        self._identities = identities
        self._keys = keys
        self._now = now
        self._seen: tuple[Mapping[ClusterName, Member], Sequence[SigningKey]] = ({}, ())
        self._known: _Known = {}

    def jwt_svids(self, body: bytes, process: Process) -> bytes:
        """The JWT-SVIDs that *process* asks for; raises NoIdentity, RequestRefused or JwtKeyMissing."""
        request, now = wire.jwt_request(body), self._now()
        audience = [each for each in request.audience if each]
        if not audience or len(audience) > MAX_AUDIENCES or max(map(len, audience)) > _MAX_AUDIENCE:
            reason = f"want 1 to {MAX_AUDIENCES} audiences of up to {_MAX_AUDIENCE} characters"
            raise RequestRefused("JWT-SVID", reason)
        entitled = self._identities.entitled(process)
        wanted = [one for one in entitled if request.spiffe_id in ("", str(one.svid.spiffe_id))]
        if not wanted:
            raise NoIdentity(process)
        key = signing(self._keys(), now)
        if key is None:
            raise JwtKeyMissing
        return wire.jwt_svids(
            JwtEntry(str(spiffe_id), sign(spiffe_id, audience, key.signer, now), one.hint)
            for one in wanted
            for spiffe_id in (one.svid.spiffe_id,)
        )

    def jwt_bundles(self, process: Process) -> bytes:
        """The JWT keys of all trust domains, as they travel; raises NoIdentity."""
        self._identities.entitled(process)
        now = self._now()
        return wire.jwt_bundles(
            {
                str(SpiffeId(trust_domain)): jwk_set(
                    (k.id, k.x, k.y) for k, _ in keys.values() if now < k.expires
                )
                for trust_domain, keys in self._all().items()
            }
        )

    def validated(self, body: bytes, process: Process) -> bytes:
        """What a JWT-SVID proves that *process* was shown; raises NoIdentity, RequestRefused, JwtRefused."""
        request, now = wire.validate_request(body), self._now()
        if not request.audience or not request.svid:
            raise RequestRefused("validation", "want an audience and a JWT-SVID")
        self._identities.entitled(process)

        def keys_of(trust_domain: str) -> Mapping[str, ec.EllipticCurvePublicKey]:
            known = self._all().get(trust_domain, {})
            return {key_id: found for key_id, (key, found) in known.items() if now < key.expires}

        proven = validate(request.svid, request.audience, keys_of, now)
        return wire.validated(str(proven.spiffe_id), proven.claims)

    def _all(self) -> _Known:
        """The JWT keys of each trust domain; our own among them, though the hub may not know them yet."""
        members, own = self._view().members, self._keys()
        if self._seen[0] is not members or self._seen[1] is not own:
            told = {m.trust_domain: _usable(m.jwt_keys) for m in members.values()}
            told[self._trust_domain] = _usable([published(key) for key in own])
            self._seen, self._known = (members, own), told
        return self._known


def _usable(keys: Sequence[JwtKey]) -> Mapping[str, tuple[JwtKey, ec.EllipticCurvePublicKey]]:
    """Those of *keys* that are keys: one that is none would spoil the whole bundle for who reads it."""
    found = {}
    for key in keys:
        try:
            found[key.id] = key, public_key(key.x, key.y)
        except JwtRefused:
            continue
    return found
