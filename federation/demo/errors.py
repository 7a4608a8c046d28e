"""What can go wrong in ``federation.demo``, below `FederationError`.

DemoError
├── LabError                a network of the lab that could not be made
│   └── NamespacesUnavailable  the kernel, or who runs it, does not let us make namespaces
├── ProgramMissing         something that the demo runs is not installed
└── StepFailed             a step of the demo did not work out; carries the tail of the log that tells
"""


class DemoError(Exception):
    """Base of the demo's errors."""

    hint = ""
    exit_code = 1


class LabError(DemoError):
    """A network of the lab that could not be made."""


class NamespacesUnavailable(LabError):
    """The kernel, or who runs it, does not let us make namespaces."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no network namespaces here: {reason}")
        self.reason = reason
