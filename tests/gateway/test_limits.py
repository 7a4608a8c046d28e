"""How much a gateway takes on: by its bootstrap, and by what its machine has to give."""

from pathlib import Path

import pytest

from gateway.bootstrap import UnixAgent, bootstrap, to_json
from gateway.limits import LEAST_MEMORY, REACHED
from gateway.machine import max_connections, memory_limit
from gateway.spec import GatewaySpec, Role
from gateway.watch import hits, limit_of

MIB = 1 << 20


def group(root: Path, line: str, file: str, limit: str) -> Path:
    """A machine with one control group, which has a limit."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line)
    place = root / "sys/fs/cgroup" / file
    place.parent.mkdir(parents=True)
    place.write_text(limit)
    return root


def test_both_limits_are_in_the_bootstrap() -> None:
    spec = GatewaySpec("gw", frozenset(Role), max_connections=123)
    manager = bootstrap(spec, UnixAgent(Path("ads.sock")), Path("gw"), 456 * MIB).overload_manager
    said = to_json(manager)
    assert f'"max_heap_size_bytes": "{456 * MIB}"' in said
    assert '"max_active_downstream_connections": "123"' in said
    known = {monitor.name for monitor in manager.resource_monitors}
    triggers = [trigger.name for action in manager.actions for trigger in action.triggers]
    triggers += [trigger.name for point in manager.loadshed_points for trigger in point.triggers]
    assert known.issuperset(triggers)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/kubepods/pod1\n", "kubepods/pod1/memory.max"),
        ("0::/kubepods/pod1\n", "kubepods/memory.max"),
        ("0::/\n", "memory.max"),
        ("4:cpu,memory:/docker/a\n0::/\n", "memory/docker/a/memory.limit_in_bytes"),
        ("4:memory:/docker/a\n", "memory/memory.limit_in_bytes"),
    ],
)
def test_a_container_has_three_quarters_of_what_its_group_or_one_above_it_may(
    line: str, file: str, tmp_path: Path
) -> None:
    assert memory_limit(group(tmp_path, line, file, f"{400 * MIB}\n")) == 300 * MIB


def test_without_a_limit_the_machines_own_memory_counts(tmp_path: Path) -> None:
    unlimited = memory_limit(group(tmp_path, "0::/a\n", "a/memory.max", "max\n"))
    assert unlimited == memory_limit(tmp_path / "nowhere") > LEAST_MEMORY


def test_a_tiny_group_gives_a_gateway_the_least_that_it_can_run_with(tmp_path: Path) -> None:
    assert memory_limit(group(tmp_path, "0::/\n", "memory.max", str(MIB))) == LEAST_MEMORY


def test_there_is_room_for_some_connections_here() -> None:
    assert 1 <= max_connections() <= 50_000


def test_a_counter_that_has_grown_is_a_limit_that_was_hit() -> None:
    assert hits({"a": 1, "b": 2}, {"a": 1, "b": 5, "c": 1}) == {"b": 3, "c": 1}
    assert hits({"a": 7}, {"a": 2}) == {}  # another Envoy has begun to count anew


@pytest.mark.parametrize("end", REACHED)
def test_every_counter_that_is_looked_at_says_which_limit_it_is(end: str) -> None:
    assert limit_of(f"listener.egress.{end}") == REACHED[end]
