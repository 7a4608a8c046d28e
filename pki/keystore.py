"""Keys at rest: files that only we can read, replaced whole or not at all, whenever the power fails.

Several files that belong together (a key and its certificate) are replaced together by `write_all`: it
first writes all of them aside, then a list of them, and only then puts them in place. Whoever dies in
between leaves either the old files, or a list by which `recover` finishes the work.
"""

import contextlib
import fcntl
import json
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pki.errors import CannotUnseal, KeyExposed, KeystoreError, StateBusy

_LIST: Final = ".write-all"
_ASIDE: Final = ".new"
_one_at_a_time = Lock()  # there is one list in a directory

_MAGIC: Final = b"fedgate-sealed"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(f">{len(_MAGIC)}sBBBB16s12s")
_LOG_N: Final = 17
_BLOCK: Final = 8
_PARALLEL: Final = 1
_MOST_LOG_N: Final = 20
_MOST_BLOCK: Final = 32


def write(path: Path, content: bytes) -> None:
    """Replace the file at *path*, mode 0600: a reader sees the old content or the new, never a part."""
    aside = _write_aside(path, content)
    aside.replace(path)
    _sync_directory(path.parent)


def write_all(directory: Path, files: Mapping[str, bytes]) -> None:
    """Replace the *files* of *directory* as one. One process at a time: see `exclusive`."""
    with _one_at_a_time:
        recover(directory)
        for name, content in files.items():
            _write_aside(directory / name, content)
        _sync_directory(directory)
        write(directory / _LIST, json.dumps(list(files)).encode())
        recover(directory)


def recover(directory: Path) -> None:
    """Finish a `write_all` that was interrupted after its point of no return. Does no harm otherwise."""
    try:
        names: list[str] = json.loads((directory / _LIST).read_bytes())
    except FileNotFoundError:
        return
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            _aside(directory / name).replace(directory / name)
    _sync_directory(directory)
    (directory / _LIST).unlink(missing_ok=True)
    _sync_directory(directory)


def read(path: Path) -> bytes:
    """Read a secret file, if it is one: ours, and closed to everybody else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid not in {os.geteuid(), 0}:
            raise KeyExposed(path, f"it belongs to user {status.st_uid}", f"chown {os.geteuid()} {path}")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = stat.S_IMODE(status.st_mode)
            raise KeyExposed(path, f"others may use it (mode {mode:04o})", f"chmod 600 {path}")
        return file.read()


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[int]:
    """Have *directory* (made if need be, mode 0700) to oneself; end what a dead predecessor began.

    The lock is the kernel's: it goes away with the process, however that ends. It belongs to the open file
    whose descriptor is given: a process to which that is passed has the lock too.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeystoreError(f"cannot use {directory}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateBusy(directory) from error
        recover(directory)
        yield descriptor
    finally:
        os.close(descriptor)


def seal(plaintext: bytes, passphrase: bytes) -> bytes:
    """Encrypt *plaintext*: scrypt makes the key, AES-256-GCM vouches for the content and its header."""
    salt, nonce = os.urandom(16), os.urandom(12)
    header = _HEADER.pack(_MAGIC, _VERSION, _LOG_N, _BLOCK, _PARALLEL, salt, nonce)
    key = _stretch(passphrase, salt, _LOG_N, _BLOCK, _PARALLEL)
    return header + AESGCM(key).encrypt(nonce, plaintext, header)


def is_sealed(content: bytes) -> bool:
    """Whether *content* is what `seal` gave."""
    return content.startswith(_MAGIC)


def unseal(sealed: bytes, passphrase: bytes) -> bytes:
    """Undo `seal`."""
    if len(sealed) < _HEADER.size or not sealed.startswith(_MAGIC):
        raise CannotUnseal("this is not a sealed secret of ours")
    header, ciphertext = sealed[: _HEADER.size], sealed[_HEADER.size :]
    _, version, log_n, block, parallel, salt, nonce = _HEADER.unpack(header)
    if version != _VERSION:
        raise CannotUnseal(f"it was sealed in format {version}, and this fedgate knows format {_VERSION}")
    if not (1 <= log_n <= _MOST_LOG_N and 1 <= block <= _MOST_BLOCK and parallel == _PARALLEL):
        raise CannotUnseal("its header is damaged")
    try:
        return AESGCM(_stretch(passphrase, salt, log_n, block, parallel)).decrypt(nonce, ciphertext, header)
    except InvalidTag as error:
        raise CannotUnseal("the passphrase is wrong, or the file is damaged") from error


def _stretch(passphrase: bytes, salt: bytes, log_n: int, block: int, parallel: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << log_n, r=block, p=parallel).derive(passphrase)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}{_ASIDE}")


def _write_aside(path: Path, content: bytes) -> Path:
    """Put *content* on the disk, beside *path*, in a file that nobody could have opened before."""
    aside = _aside(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeystoreError(f"cannot write {path}: {error.strerror}") from error
    return aside


def _sync_directory(directory: Path) -> None:
    """Make renames in *directory* last: a rename is on the disk when its directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
