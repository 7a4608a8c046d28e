"""What may be done when: by examples, and by all that a federation can do meanwhile."""

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from federation.rollover.phases import Outlook, Party, Phase, Step, outlook

READY = Party("ready", knows=True, proved=True, reissued=True)


def test_the_new_root_signs_when_everybody_has_it_and_has_proved_it() -> None:
    assert outlook(Phase.SPREADING, [replace(READY, reissued=False)]) == Outlook(Step.SWITCH)


def test_who_has_proved_it_once_and_is_not_heard_of_any_more_holds_it_up() -> None:
    away = replace(READY, knows=False)
    assert outlook(Phase.SPREADING, [READY, away]) == Outlook(Step.WAIT, (away,))


def test_the_old_root_ends_when_nobody_has_anything_of_it() -> None:
    late = replace(READY, reissued=False)
    assert outlook(Phase.REISSUING, [READY, late]) == Outlook(Step.WAIT, (late,))
    assert outlook(Phase.REISSUING, [READY]) == Outlook(Step.FINISH)


PARTIES = st.lists(st.builds(Party, st.sampled_from("abc"), st.booleans(), st.booleans(), st.booleans()))


@given(st.sampled_from(Phase), PARTIES)
def test_it_waits_for_exactly_those_who_are_not_ready(phase: Phase, parties: list[Party]) -> None:
    found = outlook(phase, parties)
    assert list(found.lagging) == [party for party in parties if not party.ready(phase)]
    assert (found.step is Step.WAIT) == bool(found.lagging)


@dataclass
class Agent:
    """A member: whom it trusts, which root its issuing CA is of, and what it has proved."""

    trusts: frozenset[int]
    issued: int
    proved: int = -1


@dataclass
class World:
    """A federation in small: roots are numbers, and `told` is what the hub tells all of."""

    signing: int = 0
    incoming: int | None = None
    former: int | None = None
    newest: int = 0
    agents: dict[str, Agent] = field(default_factory=dict)

    @property
    def phase(self) -> Phase | None:
        if self.incoming is not None:
            return Phase.SPREADING
        return Phase.REISSUING if self.former is not None else None

    @property
    def told(self) -> frozenset[int]:
        return frozenset(root for root in (self.former, self.signing, self.incoming) if root is not None)

    def step(self) -> Step:
        phase, new = self.phase, self.signing if self.incoming is None else self.incoming
        if phase is None:
            return Step.WAIT
        parties = [
            Party(name, a.trusts == self.told, a.proved == new, a.issued == new)
            for name, a in self.agents.items()
        ]
        return outlook(phase, parties).step

    def act(self, what: str, who: str) -> None:
        """One thing that happens; what makes no sense now does nothing."""
        agent = self.agents.get(who)
        match what:
            case "join":
                self.agents[who] = Agent(self.told, self.signing)
            case "leave":
                self.agents.pop(who, None)
            case "hear" if agent:
                agent.trusts = self.told
            case "prove" if agent and self.incoming is not None and self.incoming in agent.trusts:
                agent.proved = self.incoming
            case "renew" if agent:
                agent.issued = self.signing
            case "start" if self.phase is None:
                self.newest += 1
                self.incoming = self.newest
            case "abort" if self.incoming is not None:
                self.incoming = None
            case "go on":
                self.go_on()

    def go_on(self) -> None:
        """The hub takes the next step, if it may."""
        match self.step():
            case Step.SWITCH if self.incoming is not None:
                self.former, self.signing, self.incoming = self.signing, self.incoming, None
            case Step.FINISH:
                self.former = None


HAPPENS = st.sampled_from(["join", "leave", "hear", "prove", "renew", "start", "abort", "go on"])


@given(st.lists(st.tuples(HAPPENS, st.sampled_from("abc")), max_size=60))
def test_whatever_happens_everybody_trusts_the_root_that_signs_and_those_of_all_others(
    happenings: list[tuple[str, str]],
) -> None:
    world = World()
    for what, who in happenings:
        world.act(what, who)
        for agent in world.agents.values():
            assert world.signing in agent.trusts
            assert agent.issued in world.told
            # A root that was taken back may be trusted still, by who has not heard; it signs nothing.
            assert all(other.issued in agent.trusts for other in world.agents.values())


@given(st.lists(st.tuples(HAPPENS, st.sampled_from("abc")), max_size=40))
def test_from_wherever_it_is_it_comes_to_its_end_when_everybody_is_there(
    happenings: list[tuple[str, str]],
) -> None:
    world = World()
    for what, who in happenings:
        world.act(what, who)
    world.act("start", "")
    for _ in range(2):
        for what in ("hear", "prove", "renew"):
            for who in "abc":
                world.act(what, who)
        world.act("go on", "")
    assert world.phase is None or world.phase is Phase.REISSUING
    for who in "abc":
        world.act("renew", who)
    world.act("go on", "")
    assert (world.phase, world.signing) == (None, world.newest)
