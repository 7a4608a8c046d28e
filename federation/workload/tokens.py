"""JWT-SVIDs for the workloads of one cluster, and the JWT keys of all members to hold others against."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from clusters.attestation import Process
from clusters.foreign import TrustBundle
from clusters.jwt_key import JwtKey
from clusters.keyring import published
from clusters.model import ClusterView
from federation.errors import JwtKeyMissing, NoIdentity, RequestRefused
from federation.workload import wire
from federation.workload.identities import Identities
from federation.workload.wire import JwtEntry
from gateway.view import revoked
from pki.errors import BundleRefused, JwtRefused
from pki.jwt_keys import SigningKey, signing
from pki.jwt_svid import PublicKey, public_key, sign, validate
from pki.spiffe import SpiffeId
from pki.spiffe_bundle import Jwk, jwk_set, jwt_jwk, public_of

MAX_AUDIENCES: Final = 16
_MAX_AUDIENCE: Final = 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """A JWT key of some trust domain, until when it is good if that was said."""

    jwk: Jwk
    public: PublicKey
    expires: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        return self.expires is None or now < self.expires


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
        self._seen: tuple[object, object, object] = (None, None, None)
        self._known: Mapping[str, Sequence[_Known]] = {}

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
                str(SpiffeId(trust_domain)): jwk_set(key.jwk for key in keys if key.is_good(now))
                for trust_domain, keys in self._all().items()
            }
        )

    def validated(self, body: bytes, process: Process) -> bytes:
        """What a JWT-SVID proves that *process* was shown; raises NoIdentity, RequestRefused, JwtRefused."""
        request, now = wire.validate_request(body), self._now()
        if not request.audience or not request.svid:
            raise RequestRefused("validation", "want an audience and a JWT-SVID")
        self._identities.entitled(process)

        def keys_of(trust_domain: str) -> Mapping[str, PublicKey]:
            known = self._all().get(trust_domain, ())
            return {key.jwk.kid: key.public for key in known if key.is_good(now)}

        proven = validate(request.svid, request.audience, keys_of, now)
        if str(proven.spiffe_id) in revoked(self._view()):
            raise JwtRefused(f"{proven.spiffe_id} was revoked")
        return wire.validated(str(proven.spiffe_id), proven.claims)

    def _all(self) -> Mapping[str, Sequence[_Known]]:
        """The JWT keys of each trust domain; our own among them, though the hub may not know them yet."""
        view, own = self._view(), self._keys()
        sources = (view.members, view.trusts, own)
        if any(seen is not source for seen, source in zip(self._seen, sources, strict=True)):
            known = {m.trust_domain: _members(m.jwt_keys) for m in view.members.values()}
            known[self._trust_domain] = _members([published(key) for key in own])
            for name, bundle in view.trusts.items():
                known.setdefault(name, _foreign(bundle))
            self._seen, self._known = sources, known
        return self._known


def _members(keys: Sequence[JwtKey]) -> Sequence[_Known]:
    """Those of *keys* that are keys: one that is none would spoil the whole bundle for who reads it."""
    found = []
    for key in keys:
        with suppress(JwtRefused):
            found.append(_Known(jwt_jwk(key.id, key.x, key.y), public_key(key.x, key.y), key.expires))
    return found


def _foreign(bundle: TrustBundle) -> Sequence[_Known]:
    found = []
    for told in bundle.jwt_keys:
        with suppress(BundleRefused, msgspec.DecodeError):
            jwk = msgspec.json.decode(told, type=Jwk)
            found.append(_Known(jwk, public_of(jwk)))
    return found
