"""Everything that can go wrong in ``clusters``.

ClusterError
├── InvalidName          a cluster, namespace, service, workload or gateway name that may not exist
├── InvalidValue         a port, address, range or pattern that makes no sense
├── SourceError          a source file that cannot be used; says where and why
├── JoinRefused          the hub, or our check of the hub, said no to a join
└── IdentityUnusable     what a join left on the disk is missing, or cannot be used
"""

from pathlib import Path


class ClusterError(Exception):
    """Base of this package's errors; `hint` says what to do, when we know."""

    hint = ""


class InvalidName(ClusterError):
    """A name that is not what Kubernetes and DNS allow."""

    def __init__(self, kind: str, name: str, reason: str) -> None:
        super().__init__(f"{kind} {name!r}: {reason}")
        self.kind = kind
        self.name = name
        self.reason = reason


class InvalidValue(ClusterError):
    """A port, address, range or pattern that makes no sense."""

    def __init__(self, kind: str, value: object, reason: str) -> None:
        super().__init__(f"{kind} {value!r}: {reason}")
        self.kind = kind
        self.value = value
        self.reason = reason


class SourceError(ClusterError):
    """A source file that cannot be used: *problems* are lines of `where: what`."""

    hint = "nothing was changed; the last good version stays in use"

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        super().__init__(f"{path}: " + "; ".join(problems))
        self.path = path
        self.problems = problems


class JoinRefused(ClusterError):
    """A join that was not made: nothing was written on this side."""

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


class IdentityUnusable(ClusterError):
    """What a join or an enrolment left in *state* is missing, damaged, or of a newer version."""

    def __init__(self, state: Path, reason: str, hint: str) -> None:
        super().__init__(f"{state}: {reason}")
        self.state = state
        self.reason = reason
        self.hint = hint
