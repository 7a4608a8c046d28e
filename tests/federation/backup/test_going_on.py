"""A hub that is lost goes on from its backup, and the clusters take it for the one that they know."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from tests import requirements
from tests.federation.registry.etcd_server import etcd, free_ports
from tests.federation.test_hub_on_etcd import FEDGATE, PASSPHRASE, environment, fedgate, hub

SOURCE = "services: [{namespace: shop, name: catalog, ports: [8080], endpoints: [192.0.2.1]}]\n"


@contextmanager
def agent(home: Path) -> Iterator[None]:
    """The agent of onprem, which joins; until the block is left."""
    source, token = home / "source.yaml", home / "token"
    source.write_text(SOURCE)
    made = fedgate(home, "token", "create", "onprem", "-o", "json")
    token.write_text(msgspec.json.decode(made.stdout)["token"])
    words = ["join", "--token-file", str(token), "--source", str(source), "--dns-listen", "127.0.0.1:0"]
    process = subprocess.Popen([*FEDGATE, *words], env=environment(home))
    try:
        yield
        assert process.poll() is None, "the agent has ended"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def until(what: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def connected(home: Path) -> bool:
    listed = fedgate(home, "clusters", "list", "-o", "json")
    clusters = msgspec.json.decode(listed.stdout)["clusters"] if not listed.returncode else []
    return [(c["name"], c["state"], c["services"]) for c in clusters] == [("onprem", "connected", 1)]


@pytest.mark.slow
@pytest.mark.parametrize("on", ["sqlite", "etcd"])
def test_a_hub_that_is_lost_goes_on_from_its_backup(on: str, short_path: Path) -> None:
    requirements.program("etcd")
    join, sync = free_ports(2)
    passphrase, saved = short_path / "passphrase", short_path / "saved"
    passphrase.touch(mode=0o600)
    passphrase.write_text(PASSPHRASE)
    listen = ("--listen", f"127.0.0.1:{join}", "--sync-listen", f"127.0.0.1:{sync}")
    options = (*listen, "--advertise", f"127.0.0.1:{join}", "--passphrase-file", str(passphrase))
    with etcd(short_path) as (member,), ExitStack() as stack:
        on_etcd = [("--store", f"etcd://{member.endpoint}/{prefix}") for prefix in ("first", "second")]
        first, second = on_etcd if on == "etcd" else ((), ())
        with hub(short_path, (*options, *first)):
            stack.enter_context(agent(short_path))
            until("the agent connects", lambda: connected(short_path))
            made = fedgate(short_path, "backup", str(saved), *first)
            assert (made.returncode, made.stderr) == (0, "")
            assert saved.stat().st_mode & 0o777 == 0o600
            before = fedgate(short_path, "services", "list", "-o", "json").stdout
            busy = fedgate(short_path, "restore", str(saved), "--replace", *first)
            assert (busy.returncode, "another" in busy.stderr) == (1, True)
        shutil.rmtree(short_path / "hub")
        put_back = fedgate(short_path, "restore", str(saved), *second)
        assert (put_back.returncode, "restored to" in put_back.stdout) == (0, True)
        with hub(short_path, (*options, *second)):
            until("the agent believes the hub again", lambda: connected(short_path))
            assert fedgate(short_path, "services", "list", "-o", "json").stdout == before
