"""The lab and the demo."""

from federation.errors.base import FederationError


class LabError(FederationError):
    """A network of the lab that could not be made."""

    code = "lab-failed"


class NamespacesUnavailable(LabError):
    """The kernel, or who runs it, does not let us make namespaces."""

    code = "no-namespaces"

    def __init__(self, reason: str) -> None:
        super().__init__(f"no network namespaces here: {reason}")
        self.reason = reason


class CannotDemonstrate(FederationError):
    """Something that the demo needs is missing, or in its way."""

    code = "demo-impossible"

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class StepFailed(FederationError):
    """A step of the demo that did not work out; *log* is the tail of what the culprit said."""

    code = "demo-failed"

    def __init__(self, reason: str, log: str = "", hint: str = "") -> None:
        super().__init__(reason)
        self.log = log
        self.hint = hint
