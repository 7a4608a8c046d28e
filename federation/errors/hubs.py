"""Several hubs with one store."""

from federation.errors.base import Exit, FederationError


class NotElected(FederationError):
    """A hub that is asked for what only the elected one does."""

    code = "not-elected"
    exit_code = Exit.CONFLICT

    def __init__(self, leader: str, addresses: tuple[str, ...] = ()) -> None:
        said = f"that is hub {leader}" if leader else "there is none just now"
        super().__init__(f"only the elected hub does this, and {said}")
        where = f", at {', '.join(addresses)}" if addresses else ""
        self.hint = (
            f"run it on the machine of hub {leader}{where}" if leader else "try again in a few seconds"
        )
        self.leader = leader


class Deposed(FederationError):
    """A write of a hub whose time as the elected one is over: it was not done."""

    code = "deposed"
    exit_code = Exit.CONFLICT
    hint = "`fedgate hubs` says which hub is elected now: try again there"

    def __init__(self) -> None:
        super().__init__("this hub is not the elected one any more, and nothing was changed")


class HubNameTaken(FederationError):
    """Another hub of this store has this hub's name."""

    code = "hub-name-taken"
    exit_code = Exit.CONFLICT
    hint = "give each hub a --name of its own"

    def __init__(self, name: str, addresses: tuple[str, ...]) -> None:
        super().__init__(f"another hub with this store is called {name}, at {', '.join(addresses) or 'work'}")
        self.name = name


class PassphraseMissing(FederationError):
    """A hub on etcd without a passphrase: its keys are sealed in the store, for all hubs."""

    code = "passphrase-missing"
    exit_code = Exit.USAGE
    hint = (
        "give every hub the same: by --passphrase-file, FEDGATE_PASSPHRASE_FILE, FEDGATE_PASSPHRASE or the "
        "systemd credential fedgate.passphrase"
    )

    def __init__(self, store: str) -> None:
        super().__init__(
            f"the keys of root and hub CA are kept in {store}, sealed, and no passphrase was given"
        )


class AuthoritiesElsewhere(FederationError):
    """A store with a federation, and no keys of its authorities in it or here."""

    code = "authorities-elsewhere"
    exit_code = Exit.CONFLICT
    hint = "start first the hub in whose --state folder they are: it puts them into the store, sealed"

    def __init__(self, store: str) -> None:
        super().__init__(
            f"{store} has a federation, but the keys of its root and hub CA are neither there nor here"
        )


class AuthoritiesDiffer(FederationError):
    """A state folder with the authorities of one federation, and a store with those of another."""

    code = "authorities-differ"
    exit_code = Exit.CONFLICT
    hint = "give this hub an empty --state, or another prefix of the store"

    def __init__(self, state: str, store: str) -> None:
        super().__init__(f"{state} holds the authorities of another federation than {store}")
