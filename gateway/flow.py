"""One kind on one stream of the delta discovery protocol, from the serving side."""

from collections.abc import Callable, Mapping

from gateway.delta import KindStatus, Response


class Flow:
    """One kind on one stream: what the client wants, what it has, and what it is owed."""

    __slots__ = (
        "awaited",
        "batch",
        "begun",
        "demanded",
        "dirty",
        "explicit",
        "greeting_due",
        "held",
        "outstanding",
        "refused",
        "rejected",
        "sent_count",
        "whole",
        "wildcard",
    )

    def __init__(self) -> None:
        self.begun = False
        self.wildcard = False
        # A client that asks for everything waits for an answer, also when there is nothing.
        self.greeting_due = False
        self.explicit: set[str] = set()
        # The version that the client confirmed; None when it knows that there is no such resource.
        self.held: dict[str, str | None] = {}
        # It has all as the catalogue has it, but for what `held` says: hundreds of clients that have ten
        # thousand resources cost no memory each.
        self.whole = False
        self.dirty: set[str] = set()
        # The part of `dirty` that is answered even if the client should know.
        self.demanded: set[str] = set()
        # What waits for a companion of this kind since before the client first asked for the kind.
        self.awaited: set[str] = set()
        self.outstanding: Response | None = None
        self.rejected: dict[str, tuple[str | None, str]] = {}
        # How many resources a response may have while a bad one is being searched for.
        self.batch: int | None = None
        self.refused = 0
        self.sent_count = 0

    def begin_whole(self, has: Mapping[str, str], newest: Mapping[str, str]) -> None:
        """Take in that the client *has* these versions of everything."""
        self.whole = True
        if has != newest:
            self.held = dict.fromkeys(newest.keys() - has.keys())
            self.held |= {name: version for name, version in has.items() if newest.get(name) != version}
        self.dirty = set(self.held)

    def begin_since(self, former: Mapping[str, str | None]) -> None:
        """Take in that the client has everything, but for what has changed: of that the *former* versions."""
        self.begun = self.wildcard = self.whole = True
        self.held = dict(former)
        self.dirty = set(former)

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.explicit

    def demand(self, name: str) -> None:
        self.dirty.add(name)
        self.demanded.add(name)

    def forget(self, name: str) -> None:
        self.held.pop(name, None)
        self.rejected.pop(name, None)
        self.dirty.discard(name)
        self.demanded.discard(name)

    def settle(self, newest: Callable[[str], str | None], steady: bool) -> None:
        """Owe the client no more what it has, what it has rejected, and what was never there for it.

        *steady* is whether it will be known what the client had of everything when that changes.
        """
        for name in tuple(self.dirty):
            if name not in self.demanded:
                self._settle(name, newest(name))
        nothing_owed = not (self.dirty or self.rejected or self.explicit or self.greeting_due)
        if nothing_owed and self.wildcard and steady:
            self.whole = True
            if self.held:
                self.held = {}

    def _settle(self, name: str, version: str | None) -> None:
        if name in self.rejected and self.rejected[name][0] == version:
            self.dirty.discard(name)
        elif name in self.held:
            if self.held[name] == version:
                self.dirty.discard(name)
                self.rejected.pop(name, None)
        elif version is None and name not in self.explicit:
            # Who asks for everything need not be told of what he has never had.
            self.dirty.discard(name)
            self.rejected.pop(name, None)

    def sent(self, response: Response) -> None:
        self.outstanding = response
        self.greeting_due = False
        self.sent_count += len(response.resources)

    def answered(self, nonce: str, error: str, refused: Mapping[str, str]) -> None:
        """Take an ACK, also one of all but what is *refused*, or a NACK; only for the newest response."""
        response = self.outstanding
        if response is None or nonce != response.nonce:
            return
        self.outstanding = None
        versions = {name: version for name, version in response.versions.items() if self.wants(name)}
        if not error:
            self._accepted({name: version for name, version in versions.items() if name not in refused})
            for name in versions.keys() & refused.keys():
                self.rejected[name] = versions[name], refused[name]
        elif len(versions) > 1:
            self.batch = len(versions) // 2
            for name in versions:
                self.demand(name)
        else:
            self.rejected |= {name: (version, error) for name, version in versions.items()}

    def _accepted(self, versions: Mapping[str, str | None]) -> None:
        for name, version in versions.items():
            self.rejected.pop(name, None)
            if version is None and name not in self.explicit and not self.whole:
                self.held.pop(name, None)
            else:
                self.held[name] = version
        if self.batch is not None:
            self.batch = self.batch * 2 if self.dirty else None

    def status(self, held: int) -> KindStatus:
        outstanding = self.outstanding
        unanswered = len(outstanding.resources) + len(outstanding.removed) if outstanding else 0
        return KindStatus(
            wildcard=self.wildcard,
            subscribed=len(self.explicit),
            sent=self.sent_count,
            held=held,
            pending=len(self.dirty) + max(unanswered, outstanding is not None),
            refused=self.refused,
            rejected={name: text for name, (_, text) in self.rejected.items()},
        )
