"""The registry's store, and the records in it."""

from federation.errors.base import Exit, FederationError


class StoreError(FederationError):
    """The registry's store cannot do what was asked."""

    code = "store-failed"


class StoreUnusable(StoreError):
    """A store that cannot be opened: locked, broken, not ours, or of a newer fedgate."""

    code = "store-unusable"

    def __init__(self, where: str, reason: str, hint: str = "") -> None:
        super().__init__(f"registry {where}: {reason}")
        self.where = where
        self.reason = reason
        self.hint = hint


class StoreNotEmpty(StoreError):
    """A registry was to be moved to where one is already."""

    code = "store-not-empty"
    hint = "name an empty one: another file, or another prefix"
    exit_code = Exit.CONFLICT

    def __init__(self) -> None:
        super().__init__("the store to move to is not empty")


class StoreClosed(StoreError):
    """The store was closed before or while it was asked."""

    code = "store-closed"

    def __init__(self) -> None:
        super().__init__("the registry's store is closed")


class StoreUnreachable(StoreError):
    """No member of the etcd that holds the registry has answered in time."""

    code = "store-unreachable"
    exit_code = Exit.UNREACHABLE
    hint = "see that its members run and can be reached from here; what was asked for may have been done"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} does not answer: {reason}")


class Compacted(StoreError):
    """A watch asked for history that is gone; whoever watches lists again."""

    code = "compacted"

    def __init__(self, after_revision: int, compacted: int) -> None:
        super().__init__(f"events after revision {after_revision} are gone: compacted up to {compacted}")
        self.after_revision = after_revision
        self.compacted = compacted


class LeaseNotFound(StoreError):
    """A lease that has run out, was revoked, or never was."""

    code = "lease-not-found"

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease} is not there: it ran out, was revoked, or never was")
        self.lease = lease


class InvalidRequest(StoreError):
    """A transaction or revision that no store may accept: a fault of the caller."""

    code = "invalid-request"


class UnreadableRecord(FederationError):
    """A record of a newer schema, or one that is damaged."""

    code = "unreadable-record"

    def __init__(self, what: str, reason: str, hint: str = "") -> None:
        # Both may come from outside, and be as long as somebody wants.
        self.what = what[:300]
        self.reason = reason[:1000]
        super().__init__(f"{self.what} cannot be read: {self.reason}")
        self.hint = hint


class Contention(FederationError):
    """Others changed the same records again and again while we tried."""

    code = "contention"
    hint = "try again"
    exit_code = Exit.CONFLICT

    def __init__(self, operation: str) -> None:
        super().__init__(f"{operation}: others kept changing the same records")
        self.operation = operation
