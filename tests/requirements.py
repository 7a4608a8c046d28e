"""What tests need of this machine. Where it is missing they are skipped, and say why.

The environment variable FEDGATE_REQUIRE names what has to be there, as in
`envoy,openssl,ip,nft,redis-server,etcd`: a test that misses one of these fails. `ip` stands for network
namespaces, which are made with it.

A test with the marker `envoy` or `netns` needs nothing else to be checked; `tests/conftest.py` sees to that.
"""

import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest

from federation.demo.topology import Lab
from federation.errors import LabError
from gateway.binary import find_envoy
from gateway.errors import EnvoyNotFound


def envoy() -> Path:
    """The Envoy to run."""
    try:
        return find_envoy()
    except EnvoyNotFound as error:
        why = str(error)
    return _missing("envoy", why)


def program(name: str) -> str:
    """The path of a program from the system's packages."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return found or _missing(name, f"{name} is not installed")


def namespaces() -> None:
    """Network namespaces, as a lab of hosts is made of."""
    if why := _no_namespaces():
        _missing("ip", why)


@cache
def _no_namespaces() -> str:
    """Why there can be no lab; empty if there can."""
    with TemporaryDirectory() as folder:
        try:
            with Lab(Path(folder)) as lab:
                lab.host("somebody")
        except LabError as error:
            return str(error)
    return ""


def _missing(what: str, why: str) -> NoReturn:
    if what in os.environ.get("FEDGATE_REQUIRE", "").split(","):
        pytest.fail(f"FEDGATE_REQUIRE names {what}: {why}", pytrace=False)
    pytest.skip(why)
