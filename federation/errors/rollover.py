"""One root that is to follow another."""

from collections.abc import Iterable

from federation.errors.base import Exit, FederationError


class RolloverExists(FederationError):
    """A rollover of the root is under way already."""

    code = "rollover-exists"
    exit_code = Exit.CONFLICT
    hint = "`fedgate ca rollover status` says how far it is"

    def __init__(self, phase: str) -> None:
        super().__init__(f"a rollover of the root is under way: {phase}")
        self.phase = phase


class NoRollover(FederationError):
    """No rollover of the root is under way, or not the one that was meant."""

    code = "no-rollover"
    exit_code = Exit.CONFLICT
    hint = "`fedgate ca rollover start` begins one"

    def __init__(self) -> None:
        super().__init__("no such rollover of the root is under way")


class RolloverTooLate(FederationError):
    """A step that the phase of the rollover does not allow."""

    code = "rollover-phase"
    exit_code = Exit.CONFLICT

    def __init__(self, phase: str) -> None:
        reissuing = phase == "reissuing"
        super().__init__(
            "the new root signs already" if reissuing else "the new root does not sign yet: resume first"
        )
        self.phase = phase
        self.hint = "go on with `fedgate ca rollover finish`" if reissuing else "`fedgate ca rollover resume`"


class RolloverLags(FederationError):
    """Somebody is not ready for the rollover's next step."""

    code = "rollover-lags"
    exit_code = Exit.CONFLICT
    hint = "wait for them, or take a cluster out that is lost: `fedgate ca rollover resume --skip CLUSTER`"

    def __init__(self, lagging: Iterable[tuple[str, str]]) -> None:
        self.lagging = tuple(lagging)
        super().__init__("; ".join(f"{name}: {why}" for name, why in self.lagging))


class NotLagging(FederationError):
    """A cluster that was to be skipped does not hold the rollover up, so it stays."""

    code = "rollover-skip"
    exit_code = Exit.CONFLICT
    hint = "leave it out; `fedgate ca rollover status` says who is waited for. Nobody was shut out"

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"not waited for: {', '.join(self.names)}")


class RootDiffers(FederationError):
    """A hub CA, or a root, that is not of the root which everybody trusts."""

    code = "root-differs"
    exit_code = Exit.CONFLICT
    hint = "another root takes over by `fedgate ca rollover start`"

    def __init__(self) -> None:
        super().__init__("it is of another root than the one that everybody trusts")


class KeyElsewhere(FederationError):
    """The root's key is not here, and something is to be signed by it."""

    code = "key-elsewhere"
    exit_code = Exit.CONFLICT
    hint = "have the new root cross-signed where the key is, and bring that along with --cross-cert"

    def __init__(self) -> None:
        super().__init__("the key of the present root is not here: it cannot vouch for the new one")


class RolloverLost(FederationError):
    """The new root's files are not those of the rollover in the registry."""

    code = "rollover-lost"
    exit_code = Exit.CONFLICT
    hint = "put the state folder back from a backup of the same day as the registry's"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
