"""Who takes part in a rollover, and how each of them stands, by what registry and agents say: pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography import x509

from clusters.trust import Trust
from federation.issuance.messages import OUTSIDE
from federation.registry.records import ClusterRecord, RolloverRecord, TokenRecord, TokenState
from federation.rollover.phases import Party, Phase
from pki.authority import from_pem
from pki.bundle import root_of
from pki.succession import bundle_hash

_HUB: Final = "@"


def hub_party(name: str) -> str:
    """A hub among the parties: no cluster can be called so."""
    return f"{_HUB}{name}"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a cluster beside its record: whether its agent is there, and what that said last."""

    record: ClusterRecord
    connected: bool
    said: Trust | None = None


def parties(
    rollover: RolloverRecord,
    clusters: Iterable[Known],
    proofs: Mapping[str, datetime],
    *,
    hubs: Mapping[str, bool],
    tokens: Iterable[TokenRecord] = (),
    heard_outside: datetime | None = None,
    now: datetime,
) -> Iterator[Party]:
    """Everybody whom the rollover waits for, the hubs first. *proofs* says who has proved, and when.

    *hubs* are those that run, with whether the certificate of each is of the new root. One that does not run
    has nothing of the old root: what it needs is in the registry. At *heard_outside* those who follow our
    bundles have heard of the new root.
    """
    (old,), (new,) = from_pem(rollover.old), from_pem(rollover.new)
    for hub, reissued in sorted(hubs.items()):
        yield _of_hub(hub, rollover.phase, proved=hub_party(hub) in proofs, reissued=reissued)
    bundle = bundle_hash((old, new))
    for known in clusters:
        name = known.record.name
        # A proof from before it joined again is somebody else's.
        proved = proofs.get(name, datetime.min.replace(tzinfo=now.tzinfo)) >= known.record.joined_at
        knows = known.connected and known.said is not None and known.said.bundle == bundle
        reissued = _reissued(known.record, new)
        party = Party(name, knows, proved, reissued)
        yield Party(name, knows, proved, reissued, _why(rollover.phase, party, known, new))
        for unused in known.said.tokens if known.said else ():
            if unused.expires > now:
                whose = f"{name}'s gateway {unused.gateway}"
                yield _of_the_old_root(unused.id, whose, unused.expires, "when it is used")
    if heard_outside is not None and now < heard_outside and rollover.phase is Phase.SPREADING:
        why = f"they look for new roots now and then, and have until {heard_outside:%Y-%m-%d %H:%M:%S} UTC"
        yield Party(OUTSIDE, why=why)
    for token in tokens:
        if token.state(now) is TokenState.UNUSED and token.created < rollover.started:
            yield _of_the_old_root(token.id, token.cluster, token.expires, "by `fedgate token revoke`")


def _of_hub(name: str, phase: Phase, *, proved: bool, reissued: bool) -> Party:
    party = Party(hub_party(name), knows=True, proved=proved, reissued=reissued)
    spreading = phase is Phase.SPREADING
    why = "it has not seen its own new chain yet" if spreading else "it has a certificate of the old root"
    return party if party.ready(phase) else replace(party, why=why)


def _why(phase: Phase, party: Party, known: Known, new: x509.Certificate) -> str:
    """What stands against a cluster's being ready, as well as we can tell."""
    if party.ready(phase):
        return ""
    if not known.connected:
        return "its agent is not connected"
    told = known.said.reason if known.said else ""
    if phase is Phase.REISSUING:
        if any(_leads_to(new, chain) for chain in known.record.anchors):
            return "what its issuing CA of the old root signed has yet to end: that takes an SVID's lifetime"
        return "it has an issuing CA of the old root"
    if known.said is None:
        return "it has not said which roots it trusts; an older fedgate does not"
    if not party.knows:
        return told or "it has not taken the new root"
    return told or "it has not proved that it trusts the new root"


def _reissued(record: ClusterRecord, root: x509.Certificate) -> bool:
    return all(_leads_to(root, chain) for chain in record.anchors)


def _leads_to(root: x509.Certificate, chain: str) -> bool:
    return root_of(from_pem(chain), [root]) is not None


def _of_the_old_root(token: str, whose: str, expires: datetime, sooner: str) -> Party:
    """A token that was made before the rollover leads nobody to the new root: it has to be over."""
    why = f"made for {whose} before the new root, of which it knows nothing"
    ends = f"it ends at {expires:%Y-%m-%d %H:%M:%S} UTC, or {sooner}"
    return Party(f"token {token}", True, True, False, f"{why}: {ends}")
