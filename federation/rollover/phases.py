"""How far a rollover may go: decisions only, from what is known of everybody who takes part.

    (none) ──start──> SPREADING ──switch──> REISSUING ──finish──> (none)
       ^                  │
       └──────abort───────┘

While it is SPREADING both roots are told to everybody, and the old one signs. Once everybody has proved to
trust the new one, that signs (REISSUING); once nothing of the old root is left, that one ends. A step is
one transaction of the registry, and whoever dies before or after it takes up where the registry says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum


class Phase(StrEnum):
    """Which of the two roots signs."""

    SPREADING = "spreading"
    REISSUING = "reissuing"


class Step(Enum):
    """The one thing that may be done next."""

    WAIT = "wait"
    SWITCH = "switch"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Party:
    """What is known of one who takes part: a cluster, a hub, or a join token that is good still.

    *knows*: it says, now, that it holds both roots. *proved*: it was seen to believe a chain of the new root
    alone. *reissued*: nothing that it has leads to the old root. *why* is what stands against the next of
    these, as far as somebody told.
    """

    name: str
    knows: bool = False
    proved: bool = False
    reissued: bool = False
    why: str = ""

    def ready(self, phase: Phase) -> bool:
        """Whether it is done with what *phase* waits for."""
        return self.knows and self.proved if phase is Phase.SPREADING else self.reissued


@dataclass(frozen=True, slots=True)
class Outlook:
    """What may be done next; as long as that is to wait, for whom."""

    step: Step
    lagging: tuple[Party, ...] = ()


def outlook(phase: Phase, parties: Iterable[Party]) -> Outlook:
    """What may be done in *phase*, as *parties* stand. One who has left is no party, and holds nobody up."""
    lagging = tuple(party for party in parties if not party.ready(phase))
    if lagging:
        return Outlook(Step.WAIT, lagging)
    return Outlook(Step.SWITCH if phase is Phase.SPREADING else Step.FINISH)
