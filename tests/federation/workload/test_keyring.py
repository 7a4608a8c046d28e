"""The agent's JWT keys as something that is renewed: what is due, what is done, and what is in its way."""

from dataclasses import dataclass, field
from pathlib import Path

from clusters import keyring
from federation.workload.keyring import WHAT, Keyring
from pki.jwt_keys import KEY_LIFETIME
from pki.sealing import Seal
from tests.federation.renewing import Clock

HOME = "onprem.fed.example"


@dataclass
class Desk:
    """An agent's keys, by a clock that a test sets."""

    state: Path
    clock: Clock = field(default_factory=Clock)
    frozen: bool = False
    changes: int = 0

    def __post_init__(self) -> None:
        self.ring = Keyring(
            self.state, HOME, now=self.clock, changed=self.changed, frozen=lambda: self.frozen
        )

    def changed(self) -> None:
        self.changes += 1

    async def made(self, *, force: bool = False) -> int:
        """How many keys a rotation makes."""
        done = (await self.ring.rotate(force=force)).done
        assert {(item.what, item.name) for item in done} <= {(WHAT, HOME)}
        return len(done)


async def test_a_key_is_made_when_it_is_due_and_everybody_is_told_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert len(desk.ring.due(everything=False)) == await desk.made() == 1
    assert desk.ring.due(everything=False) == ()
    assert await desk.made() == 0
    desk.clock.goes_on(KEY_LIFETIME * 0.6)
    assert len(desk.ring.due(everything=False)) == await desk.made() == 1
    assert desk.changes == 2
    assert [key.key_id for key in keyring.load(tmp_path)] == [key.key_id for key in desk.ring.keys]


async def test_forced_there_is_a_next_key_and_not_one_more_while_that_waits(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.made(force=True) == 1
    assert len(desk.ring.due(everything=True)) == await desk.made(force=True) == 1
    assert len(desk.ring.due(everything=True)) == await desk.made(force=True) == 0


async def test_nothing_is_begun_on_another_agents_disk(tmp_path: Path) -> None:
    desk = Desk(tmp_path, frozen=True)
    assert await desk.made() == 0
    assert not (tmp_path / keyring.FILE).exists()


async def test_keys_that_cannot_be_kept_are_not_used_and_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "gone")
    outcome = await desk.ring.rotate()
    assert ([item.what for item in outcome.failed], desk.ring.keys, desk.changes) == ([WHAT], (), 0)


async def test_another_agents_keys_are_read_by_the_same_passphrase(tmp_path: Path) -> None:
    seal = Seal(b"open sesame")
    ours, theirs = (Keyring(tmp_path, HOME, seal) for _ in range(2))
    await theirs.rotate()
    await ours.reload()
    assert [key.key_id for key in ours.keys] == [key.key_id for key in theirs.keys]
