"""Where state lives on this machine, and where an admin socket is found."""

import os
from collections.abc import Mapping
from pathlib import Path

ADMIN_SOCKET = "admin.sock"
ADS_SOCKET = "ads.sock"
HANDOVER_SOCKET = "handover.sock"
WORKLOAD_SOCKET = "workload.sock"
ISSUANCE_SOCKET = "issuance.sock"


def home(environ: Mapping[str, str], uid: int) -> Path:
    """The folder above `hub/` and `agent/`: `FEDGATE_HOME`, else root's, else the user's own."""
    if chosen := environ.get("FEDGATE_HOME"):
        return Path(chosen)
    if uid == 0:
        return Path("/var/lib/fedgate")
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state) / "fedgate"
    return Path(environ.get("HOME", "/")) / ".local/state/fedgate"


def hub_state() -> Path:
    """Where this machine's hub keeps its state unless told otherwise."""
    return home(os.environ, os.geteuid()) / "hub"


def agent_state() -> Path:
    """Where this machine's agent keeps its state unless told otherwise."""
    return home(os.environ, os.geteuid()) / "agent"


def gateway_state(name: str) -> Path:
    """Where the gateway *name* keeps its state on this machine unless told otherwise."""
    return home(os.environ, os.geteuid()) / "gateways" / name


def admin_socket(state: Path) -> Path:
    """The admin socket of the hub or agent whose state is *state*."""
    return state / ADMIN_SOCKET


def ads_socket(state: Path) -> Path:
    """Where the agent whose state is *state* serves the gateways of its own machine."""
    return state / ADS_SOCKET


def issuance_socket(state: Path) -> Path:
    """Where the agent whose state is *state* signs SVIDs for who may use the socket."""
    return state / ISSUANCE_SOCKET


def handover_socket(state: Path) -> Path:
    """Where the agent whose state is *state* waits for the one that takes over from it."""
    return state / HANDOVER_SOCKET


def workload_socket(state: Path) -> Path:
    """Where the agent whose state is *state* serves the Workload API unless told otherwise."""
    return state / WORKLOAD_SOCKET
