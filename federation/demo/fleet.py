"""The demo's programs: real `fedgate` commands and sample services, started, waited for and stopped.

Whatever is waited for, a program that ends meanwhile or takes too long ends the wait with the last lines of
its log.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import yaml

from federation.client import Admin, endpoint
from federation.demo.machines import Machine
from federation.demo.process import Process
from federation.demo.samples import READY
from federation.demo.world import Front, Site, World, at
from federation.errors import AdminRefused, FederationError, StepFailed

T = TypeVar("T")

PYTHON = (sys.executable, "-P", "-m")
FEDGATE = (*PYTHON, "federation")
_SAMPLES = ("-http", "-grpc", "-tcp")
_LOAD = "-load"
_POLL = 0.02
_PATIENCE = 20.0
_GRACE = 3.0


class Fleet:
    """All programs of one demo; *folder* has their state, their files and their logs."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self._logs = folder / "logs"
        self._processes: list[Process] = []
        self.drain_seconds = 1.0
        self.svid_lifetime: timedelta | None = None
        self.hub_options: tuple[str, ...] = ()
        self._logs.mkdir(parents=True)

    # --- where things are ---

    @property
    def hub_state(self) -> Path:
        """The hub's state, and so its admin socket."""
        return self.folder / "hub"

    def agent_state(self, site: Site) -> Path:
        """The state of *site*'s agent, and so its admin socket."""
        return self.folder / site.cluster

    def access_log(self, site: Site, front: Front | None = None) -> Path:
        """Where *site*'s ingress, the first unless *front* is said, writes down whom it let in."""
        which = f"-{front.name}" if front is not None and front is not site.fronts[0] else ""
        return self._logs / f"{site.cluster}-calls{which}.jsonl"

    @property
    def control(self) -> list[Process]:
        """The `fedgate` commands: those to blame when the clusterset does not come together."""
        return [process for process in self._processes if not process.name.endswith((*_SAMPLES, _LOAD))]

    @property
    def processes(self) -> tuple[Process, ...]:
        """All programs that were started and not killed."""
        return tuple(self._processes)

    def running(self, name: str) -> Process:
        """The program that was started last under *name*: `hub`, `onprem-agent`, `cloud-http`…"""
        return next(process for process in reversed(self._processes) if process.name == name)

    def calls_log(self, caller: Site, callee: Site) -> Path:
        """Where the load on *caller*'s workload writes its calls to *callee*."""
        return self._logs / f"{caller.cluster}-{callee.cluster}{_LOAD}.jsonl"

    # --- starting ---

    def start_hub(self, name: str = "hub") -> Process:
        """Start the hub, or another one beside it, and wait until it is ready."""
        place = int(name.partition("-")[2] or 1) - 1
        (machine, address), ports, state = self.world.hubs[place], self.world.ports, self.folder / name
        options = ["--state", str(state), "--name", name, "--advertise", at(address, ports.hub)]
        options += ["--listen", at(address, ports.hub), "--sync-listen", at(address, ports.sync)]
        options += self.hub_options
        hub = self._fedgate(name, machine, ["hub", *options])
        self._wait_ready("hub", state, hub)
        return hub

    def start_samples(self, site: Site) -> list[Process]:
        """Start the services that *site* runs."""
        return [
            self.start(
                f"{site.cluster}-{kind}",
                site.server,
                [*PYTHON, "federation.demo.samples", kind, "--name", site.answers_as]
                + [word for address in site.endpoints for word in ("--listen", at(address, port))],
            )
            for kind, port in (("http", site.ports.http), ("grpc", site.ports.grpc), ("tcp", site.ports.tcp))
        ]

    def wait_listening(self, samples: Sequence[Process]) -> None:
        """Wait until sample services listen."""
        for sample in samples:
            self.wait_for(f"{sample.name} listened", partial(_says_ready, sample), [sample])

    def make_token(self, site: Site) -> Path:
        """Have the hub make a join token for *site*; return the file that it is in."""
        return self._join_token(site.cluster)

    def _join_token(self, cluster: str) -> Path:
        made = self.run_fedgate(
            self.world.hub, ["token", "create", cluster, "--hub", str(self.hub_state), "-o", "json"]
        )
        return self._secret(f"{cluster}.token", made)

    def join_bare(self, cluster: str) -> Process:
        """Join a cluster that is an agent beside the hub and nothing else, and wait until that is ready."""
        state = self.folder / cluster
        words = ["join", "--token-file", str(self._join_token(cluster)), "--state", str(state)]
        words += ["--dns-listen", "127.0.0.1:0", *self._lifetime]
        agent = self._fedgate(f"{cluster}-agent", self.world.hub, words)
        self._wait_ready("agent", state, agent)
        return agent

    def join(self, site: Site, token: Path, *, rejoin: bool = False) -> Process:
        """Join *site*, and wait until its agent is ready; *rejoin* replaces what it was before."""
        self.write_source(site, yaml.safe_dump(site.source(), sort_keys=False, default_flow_style=None))
        words = ["join", "--token-file", str(token), *self._agent_options(site)]
        words += ["--rejoin"] if rejoin else []
        agent = self._fedgate(f"{site.cluster}-agent", site.gateway, words)
        self._wait_ready("agent", self.agent_state(site), agent)
        return agent

    def write_source(self, site: Site, text: str) -> None:
        """Put *text* in the place of *site*'s source file, whole."""
        aside = self._source_file(site).with_suffix(".new")
        aside.write_text(text)
        aside.replace(self._source_file(site))

    def restart_agent(self, site: Site) -> Process:
        """Run *site*'s agent again, which has ended, and wait until it is ready."""
        agent = self._fedgate(f"{site.cluster}-agent", site.gateway, ["agent", *self._agent_options(site)])
        self._wait_ready("agent", self.agent_state(site), agent)
        return agent

    def take_over(self, site: Site) -> Process:
        """Run *site*'s agent anew, and wait until it has taken over and the one before has ended."""
        name = f"{site.cluster}-agent"
        before = self.running(name)
        words = ["agent", "--take-over", *self._agent_options(site)]
        agent = self._fedgate(name, site.gateway, words)
        self.wait_for(f"{name} was taken over from", lambda: before.returncode, [agent])
        self._processes.remove(before)
        self._wait_ready("agent", self.agent_state(site), agent)
        return agent

    def start_load(
        self, caller: Site, callee: Site, *, kept_seconds: float, new: float, kept: float = 10.0
    ) -> Process:
        """Have *caller*'s workload call *callee*'s service without end, in all protocols.

        It opens *new* connections a second, and makes *kept* calls a second on each that is kept.
        """
        ports = callee.ports
        options = ["--server", caller.name_servers[0], "--log", str(self.calls_log(caller, callee))]
        options += ["--http", str(ports.http), "--grpc", str(ports.grpc), "--tcp", str(ports.tcp)]
        options += ["--life", f"{kept_seconds:g}", "--new", f"{new:g}", "--kept", f"{kept:g}"]
        families = sorted({"6" if ":" in address else "4" for address in caller.callers})
        options += [word for family in families for word in ("--family", family)]
        argv = [*PYTHON, "federation.demo.load", callee.service.dns_name, *options]
        return self.start(f"{caller.cluster}-{callee.cluster}{_LOAD}", caller.caller, argv)

    def kill(self, process: Process) -> None:
        """End *process* as a power cut would; from then on it is nobody to blame."""
        process.signal(signal.SIGKILL)
        process.wait(_GRACE)
        self._processes.remove(process)

    def forget(self, process: Process) -> None:
        """Let *process* go, which was told to end and has."""
        self._processes.remove(process)

    @property
    def _lifetime(self) -> list[str]:
        lifetime = self.svid_lifetime
        return [] if lifetime is None else ["--svid-lifetime", f"{lifetime.total_seconds():g}s"]

    def _agent_options(self, site: Site) -> list[str]:
        options = ["--state", str(self.agent_state(site)), "--source", str(self._source_file(site))]
        options += [word for address in site.name_servers for word in ("--dns-listen", address)]
        options += [word for cidr in site.vip_ranges for word in ("--vip-range", cidr)]
        options += self._lifetime
        if len(site.fronts) > 1:
            inside, ports = site.dns[0], site.ports
            options += ["--ads-listen", at(inside, ports.ads), "--enrol-listen", at(inside, ports.enrol)]
        return options

    def _source_file(self, site: Site) -> Path:
        return self.folder / f"{site.cluster}.yaml"

    def start_gateway(self, site: Site, agent: Process, front: Front | None = None) -> Process:
        """Start *site*'s gateway, and wait until it takes calls, and all that its agent has for it.

        Without *front* it is the first; that runs beside the agent, and each other one enrols with it.
        """
        front = front or site.fronts[0]
        state = self.folder / f"{site.cluster}-{front.name}"
        options = ["--state", str(state), "--capture", site.capture, "--port", str(site.ports.ingress)]
        options += [word for address in front.underlay for word in ("--listen", address)]
        options += [word for cidr in front.vip_ranges for word in ("--vip-range", cidr)]
        options += ["--access-log", str(self.access_log(site, front))]
        options += ["--concurrency", "1", "--drain-timeout", f"{self.drain_seconds:g}s"]
        if front is site.fronts[0]:
            options += ["--name", front.name, "--role", "both", "--agent", str(self.agent_state(site))]
        elif not state.exists():
            options += ["--enrol", "--token-file", str(self._gateway_token(site, front))]
        name = self.gateway_name(site, front)
        gateway = self._fedgate(name, front.machine, ["gateways", "run", *options])
        admin = Admin(endpoint("agent", str(self.agent_state(site))), 2)

        def synced() -> bool | None:
            gateways = admin.get("/v1/gateways").get("gateways")
            listed = gateways if isinstance(gateways, list) else []
            states = [g.get("state") for g in listed if isinstance(g, dict) and g.get("name") == front.name]
            return True if states == ["SYNCED"] else None

        self.wait_for(f"{name} is in sync", synced, [gateway, agent])
        return gateway

    def gateway_name(self, site: Site, front: Front) -> str:
        """The name under which the program of *front* is started."""
        return f"{site.cluster}-gateway" + ("" if front is site.fronts[0] else f"-{front.name}")

    def roll_gateway(self, site: Site, front: Front) -> None:
        """Have a gateway drained and ended, and run it again."""
        name = self.gateway_name(site, front)
        before, agent = self.running(name), self.running(f"{site.cluster}-agent")
        before.signal(signal.SIGTERM)
        what, patience = f"{name} has drained", _PATIENCE + self.drain_seconds
        self.wait_for(what, lambda: before.returncode, [agent], patience)
        self._processes.remove(before)
        self.start_gateway(site, agent, front)

    def _gateway_token(self, site: Site, front: Front) -> Path:
        """Have *site*'s agent make a token with which *front* enrols; return the file that it is in."""
        words = ["gateways", "token", front.name, "--agent", str(self.agent_state(site)), "-o", "json"]
        return self._secret(f"{site.cluster}-{front.name}.token", self.run_fedgate(site.gateway, words))

    def _secret(self, name: str, made: str) -> Path:
        """Put the token that a command *made* into a file of its own."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(str(json.loads(made)["token"]))
        return path

    # --- waiting and running ---

    def wait_for(
        self,
        what: str,
        probe: Callable[[], T | None],
        culprits: Sequence[Process],
        patience: float = _PATIENCE,
    ) -> T:
        """Ask *probe* again and again until it answers; *culprits* are the ones to blame if it never does."""
        deadline = time.monotonic() + patience
        while True:
            try:
                if (answer := probe()) is not None:
                    return answer
            except FederationError:
                pass  # nobody answers there yet
            for process in culprits:
                if process.returncode is not None:
                    raise StepFailed(
                        f"{process.name} ended with status {process.returncode} before {what}", process.tail()
                    )
            if time.monotonic() > deadline:
                raise StepFailed(f"waited {patience:.0f} s in vain until {what}", culprits[0].tail())
            time.sleep(_POLL)

    def run_fedgate(self, machine: Machine, words: Sequence[str]) -> str:
        """Run a `fedgate` command to its end and return what it printed."""
        done = machine.run([*FEDGATE, *words], check=False, environment=environment())
        if done.returncode:
            raise StepFailed(
                f"`fedgate {' '.join(words[:2])}` ended with {done.returncode}", done.stderr.strip()
            )
        return done.stdout

    def stop(self) -> None:
        """Ask every program to end, the last one first, and end those that do not in time."""
        for process in reversed(self._processes):
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.stop(timeout=0)

    def _wait_ready(self, who: str, state: Path, process: Process) -> None:
        admin = Admin(endpoint(who, str(state)), 2)
        self.wait_for(f"{process.name} was ready", partial(_is_ready, admin), [process])

    def _fedgate(self, name: str, machine: Machine, words: Sequence[str]) -> Process:
        return self.start(name, machine, [*FEDGATE, *words])

    def start(self, name: str, machine: Machine, argv: Sequence[str]) -> Process:
        """Start a program on *machine*, and leave it running."""
        process = machine.start(argv, log=self._logs / f"{name}.log", name=name, environment=environment())
        self._processes.append(process)
        return process


def _is_ready(admin: Admin) -> bool | None:
    try:
        admin.get("/readyz")
    except AdminRefused as answer:  # in plain words, as probes like it, and not as JSON
        return True if answer.status == 200 else None
    return True


def _says_ready(sample: Process) -> bool | None:
    return READY in sample.tail().splitlines() or None


def environment() -> dict[str, str]:
    """What programs of the demo get: nothing that points them at a hub or agent outside of it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FEDGATE_")}
    if envoy := os.environ.get("FEDGATE_ENVOY"):
        kept["FEDGATE_ENVOY"] = envoy
    return kept
