"""A hub that comes back, or whose etcd does, takes nobody for away who only had nobody to tell."""

import asyncio
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from federation.registry import keyspace
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from tests import requirements
from tests.builders import ONPREM
from tests.federation.backup.test_going_on import agent, connected, until
from tests.federation.registry.etcd_server import etcd, free_ports
from tests.federation.test_hub_on_etcd import FEDGATE, environment, fedgate

OUTAGE = 12.0  # more than a lease lives


def states(home: Path) -> set[str]:
    """What the hub says of who exports what; nothing while it does not answer."""
    listed = fedgate(home, "services", "list", "-o", "json")
    services = msgspec.json.decode(listed.stdout)["services"] if not listed.returncode else []
    return {cluster["state"] for service in services for cluster in service["clusters"]}


def nobody_is_away(home: Path, seconds: float) -> None:
    """For so long the hub says of nobody that it is away."""
    ends, seen = time.monotonic() + seconds, set[str]()
    while time.monotonic() < ends:
        seen |= states(home)
    assert seen == {"connected"}


async def forgotten(location: Location) -> bool:
    """Whether etcd has let the lease of onprem go."""
    store = await EtcdStore.open(location)
    try:
        return await store.get(keyspace.alive(ONPREM)) is None
    finally:
        await store.close()


@pytest.mark.slow
def test_a_hub_and_an_etcd_that_come_back_take_nobody_for_away(short_path: Path) -> None:
    requirements.program("etcd")
    join, sync = free_ports(2)
    with etcd(short_path) as (member,), ExitStack() as stack:
        words = [*FEDGATE, "hub", "--store", f"etcd://{member.endpoint}/fed"]
        words += ["--listen", f"127.0.0.1:{join}", "--sync-listen", f"127.0.0.1:{sync}"]
        words += ["--advertise", f"127.0.0.1:{join}"]
        hub = subprocess.Popen(words, env=environment(short_path))
        try:
            until("the hub is up", lambda: fedgate(short_path, "clusters", "list").returncode == 0)
            stack.enter_context(agent(short_path))
            until("the agent connects", lambda: connected(short_path))
            hub.kill()
            hub.wait()
            location = Location((member.endpoint,), "fed")
            until("the lease ends", lambda: asyncio.run(forgotten(location)))
            hub = subprocess.Popen(words, env=environment(short_path))
            until("the agent is back", lambda: connected(short_path))
            nobody_is_away(short_path, 5)
            member.signal(signal.SIGSTOP)
            ends = time.monotonic() + OUTAGE
            until("etcd was away for long", lambda: time.monotonic() > ends)
            member.signal(signal.SIGCONT)
            until("the registry answers", lambda: fedgate(short_path, "token", "list").returncode == 0)
            nobody_is_away(short_path, 5)
        finally:
            hub.terminate()
            hub.wait(30)
