"""The test's end of an application: a process on a host of the lab that makes calls when it is told to."""

import json
import select
import subprocess
import sys
from datetime import UTC, datetime
from typing import ClassVar, TypeVar

import msgspec

from federation.demo.fleet import environment
from federation.demo.topology import Host
from tests.system import callers, servers

T = TypeVar("T")

_TIMEOUT = 180.0


class CallFailed(Exception):
    """What a caller was told to do and could not."""


class Caller:
    """An application on a host: `callers`, told what to call.

    `asked` is when any of them was last told to.
    """

    asked: ClassVar = datetime.min.replace(tzinfo=UTC)

    def __init__(self, host: Host) -> None:
        self._host = host
        self._popen = subprocess.Popen(
            host.command([sys.executable, "-P", callers.__file__]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )

    def ask(self, kind: type[T], call: str, /, **how: object) -> T:
        """Have *call* made; gives what came of it, as a *kind*. Raises CallFailed."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        Caller.asked = datetime.now(UTC)
        self._popen.stdin.write(msgspec.json.encode({"call": call, "with": how}) + b"\n")
        self._popen.stdin.flush()
        ready, _, _ = select.select([self._popen.stdout], [], [], _TIMEOUT)
        if not ready:
            raise CallFailed(f"no end of {call} within {_TIMEOUT:.0f} s")
        answer = json.loads(self._popen.stdout.readline())
        if "error" in answer:
            raise CallFailed(answer["error"])
        return msgspec.convert(answer["value"], kind)

    def resolves(self, name: str) -> list[str]:
        """The addresses of *name*, IPv4 first."""
        found = self.ask(dict[str, list[str]], "resolve", name=name)
        return found["A"] + found["AAAA"]

    def who(self, to: str, source: str) -> str:
        """The peer that *to* saw in a call from *source*; empty if the call was refused."""
        return self.ask(str, "who", name=to, port=servers.WHO, source=source)

    def close(self) -> None:
        """Let it end."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._popen.wait()
