"""Two federations on one machine at the same time, and what is left of one that has ended: nothing."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.cluster import CROWD
from tests.system.federation_lab import Federation, federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("federation")]


def test_two_do_not_disturb_each_other_and_one_that_ends_leaves_nothing(
    fed: Federation, tmp_path: Path
) -> None:
    """They have the same names and addresses throughout, and one set of programs."""
    with federation(tmp_path) as second:
        for one in (fed, second):
            peer = one.onprem.caller.who(one.cloud.service, CROWD[0])
            assert one.cloud.call_of(peer).peer == one.onprem.identity("member-101")
        networks = {network_of(host.pid) for host in second.hosts}
        assert len(processes_in(networks)) > 10
        assert not networks & {network_of(host.pid) for host in fed.hosts}
    assert processes_in(networks) == set()
    assert processes_about(tmp_path) == []
    assert fed.onprem.caller.who(fed.cloud.service, CROWD[0])


def network_of(pid: int) -> str:
    """The network namespace that the process *pid* is in; empty if it has ended."""
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def running() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def processes_in(networks: set[str]) -> set[int]:
    return {pid for pid in running() if network_of(pid) in networks}


def processes_about(folder: Path) -> list[bytes]:
    """The command lines of running processes that name *folder*."""
    lines = []
    for pid in running():
        with suppress(OSError):
            lines.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return [line for line in lines if bytes(folder) in line]
