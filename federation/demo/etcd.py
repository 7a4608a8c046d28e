"""How a member of an etcd is run, by the demo and by what is measured."""

from collections.abc import Mapping
from pathlib import Path


def etcd_command(name: str, data: Path, client: str, members: Mapping[str, str]) -> list[str]:
    """Runs the member *name* with its data in the folder *data*.

    It is asked at the URL *client*; *members* are the URLs by which all of them, this one too, talk.
    """
    own = members[name]
    return [
        *("etcd", "--name", name, "--data-dir", str(data), "--log-level", "warn"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", own, "--initial-advertise-peer-urls", own),
        *("--initial-cluster", ",".join(f"{each}={url}" for each, url in members.items())),
    ]
