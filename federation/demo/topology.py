"""Hosts as network namespaces: a small internet of one's own, as root or as anybody.

    with Lab(directory) as lab:
        gateway, app = lab.host("gateway"), lab.host("app")
        lab.connect("inside", {gateway: ["10.0.0.1/24", "fd00::1/64"], app: ["10.0.0.11/24", "fd00::11/64"]})
        gateway.capture("241.0.0.0/16")                   # every address of the range is the gateway's own
        app.route("241.0.0.0/16", via="10.0.0.1")
        app.name_servers("10.0.0.1")                      # its own /etc/resolv.conf
        server = gateway.start([sys.executable, "-m", "http.server"], log=directory / "server.log")
        app.run(["curl", "-s", "http://241.0.0.7:8000/"]).stdout

A `Lab` is one private set of namespaces (mount, network, process and, unless we are root, user). Its first
process holds the reading end of a pipe whose writing end is ours alone: however we end, kill -9 included,
it reads the end of input and ends, and with it the kernel ends every process of every host and takes the
namespaces apart. Nothing is made outside: no interface, no name under /run/netns, no address.

What a host is like:

- Its addresses, routes, ports (from 1) and `/etc/resolv.conf` are its own. Files are everybody's, so a unix
  socket or a state folder works across hosts as it does outside. Give absolute paths: programs start in `/`.
- IPv6 addresses are usable at once (no duplicate address detection). Without IPv6 in the kernel, `lab.ipv6`
  is False, and IPv6 addresses and routes are left out.
- Networks are switches: hosts on the same one reach each other, and nothing is forwarded between two.
- Programs are root there; in a lab made without root that means in the lab alone. All that is run or started
  in it, and whatever that starts in turn, ends with the lab.

Signals: `start` gives a `Process`, which signals the program itself. What you start on your own with
the words of `command` is an `nsenter` that passes no signal on: kill it, and the program lives on until
the lab ends.

Where namespaces cannot be had, entering raises `NamespacesUnavailable`, which says why.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import ip_interface
from pathlib import Path
from types import TracebackType

from federation.demo.process import Process, children_of
from federation.errors import LabError, NamespacesUnavailable

_PROGRAMS = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "ip": "iproute2"}
_NAMESPACES = ["--mount", "--net", "--pid"]
_READY = "ready"
_RESOLV_CONF = Path("/etc/resolv.conf")
# Through these sockets the C library would ask the real host's resolver instead of the lab's.
_RESOLVERS_OF_THE_REAL_HOST = ("/run/systemd/resolve", "/run/nscd", "/run/avahi-daemon")

# A hardware address of no machine: what is sent there, a switch hands to everybody, and nobody takes.
_NOBODYS = "02:00:00:00:00:01"


class Lab:
    """A private set of namespaces with hosts in it. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._hosts: dict[str, Host] = {}
        self._networks: dict[str, str] = {}
        self._anchors: list[_Anchor] = []
        self._processes: list[Process] = []
        self.privileged = False
        self.ipv6 = Path("/proc/sys/net/ipv6").exists()

    def __enter__(self) -> "Lab":
        """Make the namespaces: as root without a user namespace, where that may be."""
        _check_programs()
        if os.geteuid() == 0:
            try:
                self._open(privileged=True)
                return self
            except NamespacesUnavailable:
                pass  # a container's root may lack the right; with a user namespace it may have it
        self._open(privileged=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process of every host, at once; returns when none is left."""
        for anchor in self._anchors:
            anchor.close()
        for process in self._processes:
            process.wait()
        self._anchors.clear()
        self._processes.clear()
        self._hosts.clear()

    @property
    def pid(self) -> int:
        """The lab's first process. To enter its namespaces is to be outside of all hosts, at the switches."""
        return self._anchors[0].pid

    @property
    def size(self) -> int:
        """How many hosts there are."""
        return len(self._hosts)

    def host(self, name: str) -> "Host":
        """A new host, with its loopback up and nothing else. *name* is for you: logs, error messages."""
        if name in self._hosts:
            raise ValueError(f"the lab has a host {name!r} already")
        hidden = " ".join(_RESOLVERS_OF_THE_REAL_HOST)
        resolv_conf = self._directory / f"{name}.resolv.conf"
        resolv_conf.write_text("")
        script = f"""
            ip link set lo up
            for folder in {hidden}; do if [ -d "$folder" ]; then mount -t tmpfs tmpfs "$folder"; fi; done
            target={shlex.quote(str(_RESOLV_CONF.resolve()))}
            [ -e "$target" ] || {{ mkdir -p "${{target%/*}}"; : >"$target"; }}
            mount --bind {shlex.quote(str(resolv_conf))} "$target"
            echo 0 2>/dev/null >/proc/sys/net/ipv4/ip_unprivileged_port_start || :
            [ ! -e /proc/sys/net/ipv6 ] || {{
                echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
                echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
                echo 0 >/proc/sys/net/ipv6/conf/default/accept_ra
            }} 2>/dev/null || :
        """
        anchor = _Anchor([*self.entering(self.pid), "unshare", "--mount", "--net"], script)
        self._anchors.append(anchor)
        host = self._hosts[name] = Host(self, name, anchor.pid, resolv_conf)
        return host

    def connect(self, network: str, addresses: Mapping["Host", Sequence[str]]) -> None:
        """Plug hosts into *network*, made at its first use; addresses come with their prefix: `10.0.0.1/24`.

        In each host the interface has the network's name, which has 15 characters at most.
        """
        if network not in self._networks:
            self._networks[network] = f"sw{len(self._networks)}"
            lines = ["link add {} type bridge forward_delay 0", "link set {} up"]
            self._ip(self.pid, [line.format(self._networks[network]) for line in lines])
        switch = self._networks[network]
        for host, its in addresses.items():
            peer = f"{switch}-{host.inner_pid}"
            cable = f"link add {peer} type veth peer name {network} netns {host.inner_pid}"
            self._ip(self.pid, [cable, f"link set {peer} master {switch} up"])
            plugs = [f"address add {a} dev {network}" for a in its if self.ipv6 or not _is_ipv6(a)]
            self._ip(host.pid, [*plugs, f"link set {network} up"])

    def entering(self, pid: int) -> list[str]:
        """The words that, put before a command, run it in the namespaces of *pid*."""
        if self.privileged:
            return ["nsenter", "-t", str(pid), "-m", "-n", "-p", "--"]
        return ["nsenter", "-t", str(pid), "-U", "-m", "-n", "-p", "--preserve-credentials", "--"]

    def _open(self, *, privileged: bool) -> None:
        self.privileged = privileged
        user = [] if privileged else ["--user", "--map-root-user"]
        argv = ["unshare", *user, *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
        self._anchors = [_Anchor(argv, "ip link set lo up")]

    def _ip(self, pid: int, lines: Sequence[str]) -> None:
        """Run `ip` commands in the namespaces of *pid*."""
        done = subprocess.run(
            [*self.entering(pid), "ip", "-batch", "-"],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"`ip` refused: {done.stderr.strip()} (of: {'; '.join(lines)})")


class Host:
    """A machine of the lab. Made by `Lab.host`."""

    def __init__(self, lab: Lab, name: str, pid: int, resolv_conf: Path) -> None:
        self._lab = lab
        self._resolv_conf = resolv_conf
        self.name = name
        self.pid = pid
        self.inner_pid = _inner_pid(pid)

    def __repr__(self) -> str:
        return f"Host({self.name!r})"

    def route(self, to: str, *, via: str) -> None:
        """Send what is for *to* (`241.0.0.0/16`, `default`) to the neighbour *via*."""
        if self._lab.ipv6 or not _is_ipv6(via):
            self._ip(f"route add {to} via {via}")

    def capture(self, cidr: str) -> None:
        """Take every address of *cidr* for this host's own (an AnyIP route)."""
        if self._lab.ipv6 or not _is_ipv6(cidr):
            self._ip(f"route add local {cidr} dev lo")

    def unplug(self, network: str) -> None:
        """Pull its cable out of *network*: what it is sent from there is lost, and so is what it sends."""
        self._ip(f"link set {network} down")

    def lose(self, network: str, address: str) -> None:
        """Have what it sends to *address* in *network* be lost without a word; what is sent back arrives."""
        if self._lab.ipv6 or not _is_ipv6(address):
            self._ip(f"neigh replace {address} lladdr {_NOBODYS} dev {network} nud permanent")

    def find(self, network: str, address: str) -> None:
        """Undo `lose`."""
        if self._lab.ipv6 or not _is_ipv6(address):
            self._ip(f"neigh del {address} dev {network}")

    def name_servers(self, *addresses: str) -> None:
        """Write its /etc/resolv.conf. Its programs ask these, in this order, and no others."""
        lines = [f"nameserver {address}" for address in addresses] + ["options timeout:2 attempts:2"]
        self._resolv_conf.write_text("\n".join(lines) + "\n")

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that, outside, runs *argv* on this host. See above about signals."""
        return [*self._lab.entering(self.pid), *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        text: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* to its end, with *text* for its standard input, and return what it printed.

        *environment*, when given, is all that it gets: ours is not passed on.
        """
        return subprocess.run(
            self.command(argv),
            input=text or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
            env=environment,
        )

    def start(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start *argv* and leave it running, with its output in *log*."""
        process = Process(
            self.command(argv),
            name=name or Path(argv[0]).name,
            log=log,
            wrapped=True,
            environment=environment,
        )
        self._lab._processes.append(process)
        return process

    def _ip(self, line: str) -> None:
        self._lab._ip(self.pid, [line])


class _Anchor:
    """A process that does nothing but keep namespaces open, until the pipe to it closes."""

    def __init__(self, argv: Sequence[str], script: str) -> None:
        its_input, self._pipe = os.pipe()
        said, its_output = os.pipe()
        self._popen = subprocess.Popen(
            [*argv, "sh", "-ec", f"{script}\necho {_READY}\nexec cat >/dev/null"],
            stdin=its_input,
            stdout=its_output,
            stderr=its_output,
            start_new_session=True,  # Ctrl-C is for us, not for it
        )
        os.close(its_input)
        os.close(its_output)
        with os.fdopen(said) as lines:
            words = []
            while (line := lines.readline().strip()) and line != _READY:
                words.append(line)
        if line != _READY:
            self.close()
            raise NamespacesUnavailable("; ".join(words) or f"{argv[0]} ended without a word")
        self.pid = children_of(self._popen.pid)[0]

    def close(self) -> None:
        """Let it end, and wait until it has."""
        os.close(self._pipe)
        self._popen.wait()


def _check_programs() -> None:
    """Refuse early, and by name, when a program that the lab is made with is missing."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            raise NamespacesUnavailable(f"the program `{program}` is not installed (package {package})")


def _inner_pid(pid: int) -> int:
    """What the lab's own namespace calls the process that we call *pid*."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    raise NamespacesUnavailable("/proc/PID/status has no NSpid line: the kernel has no process namespaces")


def _is_ipv6(text: str) -> bool:
    """Whether *text*, an address, an address with its prefix or a network, is IPv6."""
    return ip_interface(text).version == 6
