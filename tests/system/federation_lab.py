"""The whole of fedgate, as real processes on hosts of their own: what the tests of the full system call in.

It is the demo's world (see `federation.demo.world`): a hub, and the clusters `onprem` and `cloud` with the
same addresses inside, joined by their gateways alone.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from federation.demo.fleet import Fleet
from federation.demo.process import Process
from federation.demo.topology import Host, Lab
from federation.demo.world import in_namespaces
from tests.system.cluster import Cluster, host_of, plug_crowd, until


class Federation:
    """A hub and two clusters that know each other."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        world = in_namespaces(lab)
        self.lab = lab
        self.fleet = Fleet(world, folder)
        self.onprem, self.cloud = (Cluster(lab, self.fleet, site) for site in world.sites)
        self._hub: Process | None = None
        for cluster in self.clusters:
            plug_crowd(cluster)

    @property
    def clusters(self) -> tuple[Cluster, Cluster]:
        """Both clusters."""
        return self.onprem, self.cloud

    @property
    def hosts(self) -> list[Host]:
        """The machines of the hub and of both clusters."""
        parts = [(c.site.gateway, c.site.caller, c.site.server) for c in self.clusters]
        return [host_of(machine) for machine in (self.fleet.world.hub, *parts[0], *parts[1])]

    def __getitem__(self, name: str) -> Cluster:
        return {cluster.name: cluster for cluster in self.clusters}[name]

    def other(self, cluster: Cluster) -> Cluster:
        """The cluster that *cluster* is not."""
        return self.cloud if cluster is self.onprem else self.onprem

    @property
    def hub(self) -> Process:
        """The hub that runs, or ran last."""
        assert self._hub is not None
        return self._hub

    def start_hub(self) -> None:
        """Run the hub."""
        self._hub = self.fleet.start_hub()

    def start(self) -> None:
        """Run everything, until both clusters can call each other."""
        samples = [process for cluster in self.clusters for process in cluster.start_servers()]
        self.start_hub()
        with ThreadPoolExecutor(2) as both:
            list(both.map(_bring_up, self.clusters))
        self.fleet.wait_listening(samples)
        self.wait_until_connected()

    def wait_until_connected(self) -> None:
        """Wait until the workload of each cluster is answered by both services."""
        for cluster in self.clusters:
            for to in self.clusters:
                until(f"{to.name} answers {cluster.name}", cluster.reaches, to)

    def close(self) -> None:
        """Let the callers end; the lab ends everything else."""
        for cluster in self.clusters:
            cluster.caller.close()


@contextmanager
def federation(folder: Path, prepare: Callable[[Fleet], None] = lambda _: None) -> Iterator[Federation]:
    """Everything up, after *prepare* has said how; nothing of it is left when the block is."""
    with Lab(folder) as lab, ExitStack() as stack:
        built = Federation(lab, folder / "fleet")
        prepare(built.fleet)
        stack.callback(built.close)
        built.start()
        yield built


def _bring_up(cluster: Cluster) -> None:
    cluster.join()
    cluster.start_gateway()
