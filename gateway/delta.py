"""The words of the delta discovery protocol, without the wire, and the catalogue of what is served by it.

A client subscribes to names of a kind (`Request`), is sent what is new to it (`Response`), and accepts or
rejects each response as a whole. `gateway.stream` is the half that serves a `Catalogue`,
`gateway.subscription` the half that asks. Envoy speaks it with its own resources, hub and agents with theirs.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Protocol

WILDCARD = "*"

Listener = Callable[[str, Set[str]], None]

_NO_RESOURCES: Mapping[str, "Resource"] = MappingProxyType({})
_NO_VERSIONS: Mapping[str, str | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Resource:
    """One named thing as it goes over the wire; equal versions mean equal content."""

    name: str
    version: str
    body: bytes

    @classmethod
    def of(cls, name: str, body: bytes) -> "Resource":
        """A resource whose version is the hash of its body."""
        return cls(name, blake2b(body, digest_size=8).hexdigest(), body)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client says of one kind: names it wants or no longer wants, and an answer if there is a nonce.

    `error` makes the answer a rejection, `refused` one of those names alone, each with why.
    `initial_versions`, what the client still has from an earlier stream, counts in a stream's first request
    of a kind only. So does `digest`, which stands for all that it has in a word (`gateway.history`).
    """

    kind: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """Resources of one kind that are new to the client, and names that do not exist (any more)."""

    kind: str
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def versions(self) -> dict[str, str | None]:
        """The version of each name it speaks of; None for those that do not exist."""
        return {r.name: r.version for r in self.resources} | dict.fromkeys(self.removed)

    @property
    def changes(self) -> dict[str, bytes | None]:
        """The body of each name it speaks of; None for those that do not exist."""
        return {r.name: r.body for r in self.resources} | dict.fromkeys(self.removed)


class Standing(StrEnum):
    """How a client stands: it has all there is, has yet to answer for some, or has rejected some."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    NACK = "NACK"


@dataclass(frozen=True, slots=True)
class KindStatus:
    """How far a client is with one kind.

    `subscribed` counts names it asked for, `sent` resources that went out on this connection, `held` those it
    has accepted, `pending` names it has yet to answer for or be told of, `refused` absent names that were not
    remembered. `rejected` says why, by name.
    """

    wildcard: bool
    subscribed: int
    sent: int
    held: int
    pending: int
    refused: int
    rejected: Mapping[str, str]


class Served(Protocol):
    """What a stream tells of: the newest resources, as they are for the one who reads it."""

    def get(self, kind: str, name: str) -> Resource | None:
        """The resource, if there is one."""
        ...

    def names(self, kind: str) -> Set[str]:
        """The names of all there is of *kind*."""
        ...

    def versions(self, kind: str) -> Mapping[str, str]:
        """The version of each resource of a *kind* that is steady, or was until its newest change."""
        ...

    def version(self, kind: str, name: str) -> str | None:
        """The version of the resource, if there is one."""
        ...

    def steady(self, kind: str) -> bool:
        """Whether `former` can be asked after the next change of *kind*."""
        ...

    def former(self, kind: str, name: str) -> str | None:
        """The version that *name* had before the newest change of *kind*; None if there was none."""
        ...

    def since(self, kind: str, digest: str) -> Mapping[str, str | None] | None:
        """What changed since everything of *kind* had this *digest*, by name the version of then.

        None if that is not known.
        """
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with (kind, names) of what may have changed, until what is returned is called."""
        ...


class Catalogue:
    """The newest resources of every kind. Listeners hear at once which names changed.

    Setting a resource to the version that it has changes nothing.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Resource]] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._listeners: dict[object, Listener] = {}
        self._former: dict[str, Mapping[str, str | None]] = {}

    def get(self, kind: str, name: str) -> Resource | None:
        """The resource, if there is one."""
        return self._kinds.get(kind, _NO_RESOURCES).get(name)

    def names(self, kind: str) -> Set[str]:
        """The names of all there is of *kind*: a live view."""
        return self._kinds.get(kind, _NO_RESOURCES).keys()

    def versions(self, kind: str) -> Mapping[str, str]:
        """The version of each resource of *kind*: a live view."""
        return self._versions.setdefault(kind, {})

    def version(self, kind: str, name: str) -> str | None:
        """The version of the resource, if there is one."""
        return self._versions.get(kind, _NO_VERSIONS).get(name)

    def steady(self, kind: str) -> bool:
        """Whether `former` can be asked after the next change of *kind*: always."""
        return True

    def former(self, kind: str, name: str) -> str | None:
        """The version that *name* had before the newest change of *kind*; None if there was none."""
        changed = self._former.get(kind, _NO_VERSIONS)
        return changed[name] if name in changed else self.version(kind, name)

    def since(self, kind: str, digest: str) -> Mapping[str, str | None] | None:
        """A catalogue by itself does not know what it was like: see `gateway.history`."""
        return None

    def kinds(self) -> tuple[str, ...]:
        """Every kind of which there has been a resource."""
        return tuple(self._kinds)

    def replace(self, kind: str, resources: Mapping[str, Resource]) -> Set[str]:
        """Make *resources* all there is of *kind*; returns the names that changed."""
        gone: dict[str, Resource | None] = dict.fromkeys(self.names(kind) - resources.keys())
        return self.update(kind, {**gone, **resources})

    def update(self, kind: str, changes: Mapping[str, Resource | None]) -> Set[str]:
        """Set the resources named, remove those that are None; returns the names that changed."""
        held, versions = self._kinds.setdefault(kind, {}), self._versions.setdefault(kind, {})
        changed: dict[str, str | None] = {}
        for name, resource in changes.items():
            before = held.get(name)
            if (before and before.version) == (resource and resource.version):
                continue
            changed[name] = before.version if before else None
            if resource is None:
                del held[name], versions[name]
            else:
                held[name], versions[name] = resource, resource.version
        self._former[kind] = changed
        if changed:
            for listener in tuple(self._listeners.values()):
                listener(kind, changed.keys())
        return changed.keys()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with (kind, names) at each change, until what is returned is called."""
        key = object()
        self._listeners[key] = listener

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop
