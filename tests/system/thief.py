"""Somebody who dials another cluster's gateway with the keys of one, past that one's own gateway."""

import shutil
from pathlib import Path

from federation.demo.fleet import PYTHON
from federation.demo.tally import Made
from federation.demo.world import at
from tests.system.cluster import Cluster, until


class Thief:
    """Calls the gateway of *victim* with a copy of the keys of *of*."""

    def __init__(self, of: Cluster, victim: Cluster, folder: Path) -> None:
        shutil.copytree(of.state, folder / "stolen", ignore=shutil.ignore_patterns("*.sock"))
        self._log = folder / "thief.jsonl"
        where = at(victim.site.underlay[0], victim.site.ports.ingress)
        words = [str(folder / "stolen"), where, f"{victim.service}:{victim.site.ports.tcp}"]
        argv = [*PYTHON, "federation.demo.intruder", *words, "--log", str(self._log)]
        self.process = of.fleet.start("thief", of.site.gateway, argv)

    def tries(self, since: int = 0) -> list[Made]:
        whole, _, _ = (self._log.read_bytes() if self._log.exists() else b"").rpartition(b"\n")
        return [Made.parse(line) for line in whole.splitlines()[since:]]

    def got_in(self) -> bool:
        return {made.protocol for made in self.tries() if not made.failure} == {
            "connection",
            "line",
            "tunnel",
        }

    def is_refused(self) -> bool:
        """Whether all of the next attempts fail."""
        before = len(self.tries())
        until("the thief tries", lambda: len(self.tries(before)) >= 10)
        return all(made.failure for made in self.tries(before))
