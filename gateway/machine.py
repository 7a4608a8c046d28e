"""What this machine, or the container that we are in, has to give: memory and file descriptors."""

import os
import resource
from pathlib import Path
from typing import Final

from gateway.limits import LEAST_MEMORY

_SHARE: Final = 0.75
_MOST_CONNECTIONS: Final = 50_000


def memory_limit(root: Path = Path("/")) -> int:
    """How much memory a gateway may take here, in bytes: three quarters of what there is."""
    return max(LEAST_MEMORY, int(_SHARE * min([_physical(), *_cgroup_limits(root)])))


def max_connections() -> int:
    """How many connections a gateway may take here: one needs two descriptors, and something is left over."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else max(1, min(_MOST_CONNECTIONS, hard // 3))


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_limits(root: Path) -> list[int]:
    """The limits of our control group, of version 2 or 1, and of those above it.

    Inside of a container its own group is the topmost that is seen, whatever it is called outside.
    """
    limits = []
    for folder, name in _groups(root):
        base = root / "sys/fs/cgroup" / folder
        group = base / name.lstrip("/")
        for place in (group, *(p for p in group.parents if p == base or base in p.parents)):
            for file in ("memory.max", "memory.limit_in_bytes"):
                try:
                    limits.append(int((place / file).read_text()))
                except (OSError, ValueError):  # no such file, or "max"
                    continue
    return limits


def _groups(root: Path) -> list[tuple[str, str]]:
    """Where control groups of memory are mounted, and ours there."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            found.append(("", name))
        elif "memory" in controllers.split(","):
            found.append(("memory", name))
    return found
