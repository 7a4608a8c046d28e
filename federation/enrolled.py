"""A gateway away from its agent: where to find it, and a certificate that is renewed in time.

The renewal runs beside Envoy, in a thread of its own; Envoy watches the files and takes the new ones. An
agent that does not answer is asked again until it does: half of the validity is left for that.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Final

from clusters.enrol import Enrolled, renew
from clusters.errors import ClusterError
from federation.log import Log
from federation.own_address import is_wildcard
from gateway.bootstrap import RemoteAgent
from pki.errors import PkiError
from pki.rotation import Validity, renew_at
from pki.spiffe import agent_id
from pki.tokens import host_and_port

log = Log(__name__)

_SHORTEST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0

Renew = Callable[[Path], Enrolled]


def remote_agent(enrolled: Enrolled) -> RemoteAgent:
    """The agent that an enrolled gateway takes its configuration from."""
    host, port = host_and_port(enrolled.enrolment.ads)
    if is_wildcard(host):  # an agent that listens everywhere is where we enrolled
        host, _ = host_and_port(enrolled.enrolment.agent[0])
    return RemoteAgent(
        host,
        port,
        enrolled.chain_file,
        enrolled.key_file,
        enrolled.roots_file,
        str(agent_id(enrolled.enrolment.trust_domain)),
    )


@contextmanager
def kept_fresh(enrolled: Enrolled) -> Iterator[Callable[[], None]]:
    """Renew the certificate of *enrolled* whenever that is due, as long as the block runs.

    Gives what has it renewed at once: with the certificate come the newest roots.
    """
    stop, hurry = Event(), Event()

    def stopped(seconds: float) -> bool:
        hurry.wait(seconds)
        hurry.clear()
        return stop.is_set()

    thread = Thread(target=renew_for_ever, args=(enrolled, renew, _utc_now, stopped), daemon=True)
    thread.start()
    try:
        yield hurry.set
    finally:
        # Not joined: a renewal that is under way may take its timeout, and nothing depends on its end.
        stop.set()
        hurry.set()


def renew_for_ever(
    enrolled: Enrolled, ask: Renew, now: Callable[[], datetime], stopped: Callable[[float], bool]
) -> None:
    """Renew at about half of each validity; *stopped* waits so many seconds, and says whether to end."""
    retry = 0.0
    while not stopped(retry or pause(enrolled.validity, now(), random.random())):  # noqa: S311 (only spreads load)
        try:
            enrolled = ask(enrolled.state)
        except (ClusterError, PkiError, OSError) as error:
            retry = min(2 * retry or _SHORTEST_PAUSE, _LONGEST_PAUSE)
            left = (enrolled.validity.not_after - now()).total_seconds()
            log.warning(
                "gateway's certificate not renewed", reason=str(error), retry=retry, seconds_left=int(left)
            )
        else:
            retry = 0.0
            log.info("gateway's certificate renewed", gateway=enrolled.enrolment.name)


def pause(validity: Validity, now: datetime, jitter: float) -> float:
    """Seconds until the next renewal, and never none: one that is born old must not make us spin."""
    return max(_SHORTEST_PAUSE, (renew_at(validity, jitter) - now).total_seconds())


def _utc_now() -> datetime:
    return datetime.now(UTC)
