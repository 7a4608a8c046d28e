"""The kernel's packet filter, by the `nft` program: rules put in place while a gateway runs."""

import logging
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from clusters.model import VipRange
from gateway.errors import CaptureRefused
from gateway.rules import removal, ruleset, table

log = logging.getLogger(__name__)

_ALSO_IN: Final = "/usr/local/sbin:/usr/sbin:/sbin"  # where a user's PATH often does not lead
_TIMEOUT: Final = 10.0


@contextmanager
def redirected(gateway: str, ranges: Iterable[VipRange], port: int) -> Iterator[None]:
    """Lead calls to *ranges* to *port* for as long as the block lasts; raises CaptureRefused.

    After a kill the rules are still there: they lead to a port where nobody listens, until the gateway
    starts again and replaces them, or `nft delete table` takes them away.
    """
    load(ruleset(gateway, ranges, port))
    try:
        yield
    finally:
        try:
            load(removal(gateway))
        except CaptureRefused as error:
            log.warning("rules left", extra={"fields": {"table": table(gateway), "reason": str(error)}})


def load(rules: str) -> None:
    """Have the kernel take *rules*, all or none."""
    nft = shutil.which("nft") or shutil.which("nft", path=_ALSO_IN)
    if nft is None:
        raise CaptureRefused("the program `nft` is not installed", "install the package nftables")
    try:
        done = subprocess.run(
            [nft, "-f", "-"], input=rules, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CaptureRefused(str(error)) from error
    if done.returncode:
        said = done.stderr.strip() or f"nft ended with status {done.returncode}"
        raise CaptureRefused(said.splitlines()[0].rpartition("Error: ")[2])
