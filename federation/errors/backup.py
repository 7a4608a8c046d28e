"""Taking a backup, and restoring one."""

from federation.errors.base import Exit, FederationError


class BackupNotTaken(FederationError):
    """A hub of which no backup can be taken now."""

    code = "backup-not-taken"

    def __init__(self, where: str, reason: str, hint: str = "") -> None:
        super().__init__(f"no backup of the hub in {where}: {reason}")
        self.where = where
        self.reason = reason
        self.hint = hint


class BackupUnusable(FederationError):
    """A file that is no backup, or not all of one."""

    code = "backup-unusable"

    def __init__(self, where: str, reason: str, hint: str = "take another one; nothing was changed") -> None:
        super().__init__(f"{where} cannot be restored: {reason}")
        self.where = where
        self.reason = reason
        self.hint = hint


class HubThere(FederationError):
    """A backup was to be restored to where a hub is already."""

    code = "hub-there"
    exit_code = Exit.CONFLICT

    def __init__(
        self,
        reason: str,
        hint: str = "name an empty --state and --store, or say --replace: what is there is lost then",
    ) -> None:
        super().__init__(f"nothing was restored: {reason}")
        self.reason = reason
        self.hint = hint
