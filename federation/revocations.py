"""Workloads of this cluster that are nobody any more, as its agent keeps them: `revoked.json`.

A revoked workload gets no certificate, and its addresses are nobody's. Nor are they another workload's that
claims one of them as well: whoever calls from there may still be the one that was revoked.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.identity import refuse_newer
from clusters.model import Workload
from clusters.revoked import MAX_REVOKED, name_of
from federation.errors import NotFound, NotOurWorkload, TooManyRevoked, UnreadableRecord
from pki import keystore
from pki.errors import InvalidSpiffeId
from pki.spiffe import SpiffeId, workload_id

FILE: Final = "revoked.json"
_SCHEMA: Final = 1


class _File(msgspec.Struct, frozen=True):
    schema: int
    revoked: tuple[str, ...]


class Revocations:
    """The revoked workloads of *trust_domain*, on disk in *state*."""

    def __init__(self, state: Path, trust_domain: str) -> None:
        self._path = state / FILE
        self._trust_domain = trust_domain
        self.ids = _load(self._path)

    def revoke(self, spiffe_id: SpiffeId) -> None:
        """Make a workload nobody; it may be one that has yet to come. NotOurWorkload, TooManyRevoked."""
        self._check(spiffe_id)
        if len(self.ids | {spiffe_id}) > MAX_REVOKED:
            raise TooManyRevoked(MAX_REVOKED)
        self._keep(self.ids | {spiffe_id})

    def undo(self, spiffe_id: SpiffeId) -> None:
        """Let the workload be who it is again; NotFound for one that was not revoked."""
        if spiffe_id not in self.ids:
            raise NotFound("revoked workload", str(spiffe_id), map(str, self.ids))
        self._keep(self.ids - {spiffe_id})

    def objection(self, spiffe_id: str) -> str:
        """Say why *spiffe_id* is given no certificate, or nothing."""
        revoked = any(str(each) == spiffe_id for each in self.ids)
        return f"{spiffe_id} was revoked" if revoked else ""

    def admitted(self, workloads: Iterable[Workload]) -> tuple[Workload, ...]:
        """Those of *workloads* that are somebody, with the addresses that nobody revoked has claimed."""
        known = tuple(workloads)
        barred = frozenset(self.barred(known))
        if not barred:
            return known
        return tuple(
            replace(workload, addresses=tuple(a for a in workload.addresses if a not in barred))
            for workload in known
            if self._id(workload) not in self.ids
        )

    @property
    def told(self) -> tuple[str, ...]:
        """What the other members are told of them."""
        return tuple(sorted(map(name_of, self.ids)))[:MAX_REVOKED]

    def barred(self, workloads: Iterable[Workload]) -> tuple[str, ...]:
        """The addresses that revoked ones of *workloads* claim."""
        if not self.ids:
            return ()
        revoked = (workload for workload in workloads if self._id(workload) in self.ids)
        return tuple(sorted({address for workload in revoked for address in workload.addresses}))

    def _id(self, workload: Workload) -> SpiffeId:
        return workload_id(self._trust_domain, workload.namespace, workload.name)

    def _check(self, spiffe_id: SpiffeId) -> None:
        _, *parts = spiffe_id.path.split("/")
        ours = spiffe_id.trust_domain == self._trust_domain
        if not ours or len(parts) != 4 or parts[0::2] != ["ns", "sa"]:
            raise NotOurWorkload(str(spiffe_id), self._trust_domain)

    def _keep(self, ids: frozenset[SpiffeId]) -> None:
        content = _File(_SCHEMA, tuple(sorted(map(str, ids))))
        keystore.write(self._path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
        self.ids = ids


def _load(path: Path) -> frozenset[SpiffeId]:
    """Who was revoked; a file that cannot be read is an error, as it would let somebody in again."""
    try:
        content = keystore.read(path)
        refuse_newer(path.parent, content, known=_SCHEMA)
        return frozenset(map(SpiffeId.parse, msgspec.json.decode(content, type=_File).revoked))
    except FileNotFoundError:
        return frozenset()
    except (*UNDECODABLE, InvalidSpiffeId) as error:
        hint = "put it back from a backup, or take it away and revoke again whom it named"
        raise UnreadableRecord(str(path), str(error), hint) from error
