"""Keys: the folder that says which subscribers on the network are served, and what they need.

Made by `playspot keygen`; the files are ZeroMQ certificates, as czmq and pyzmq read and write them:

    server.key            public key of the program that publishes; subscribers need a copy
    server.key_secret     its secret key; stays here
    clients/NAME.key      public key of a subscriber that is allowed; remove it to revoke it
    NAME.key_secret       the subscriber's own; move it there, into one folder with server.key
"""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import zmq
from zmq.utils import z85

from .config_model import NAME_PATTERN

SERVER = "server"
CLIENTS = "clients"
KEY_LENGTH = 40  # characters (Z85)
MAX_KEY_FILE = 4096  # bytes
RELOAD_INTERVAL = 1.0  # seconds for which a key that was revoked may still be let in


class KeysError(ValueError):
    """Keys that are not there or cannot be used; the message is one line for the user."""


@dataclass(frozen=True)
class ServerKeys:
    """The keys of the program that publishes.

    Attributes
    ----------
    public, secret : bytes
        Z85.
    folder : Path
        Where they are from.
    """

    public: bytes
    secret: bytes = field(repr=False)
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the keys of a folder that `playspot keygen` made.

        Raises
        ------
        KeysError
            If there are none, or if others may read the secret one.
        """
        path = folder / f"{SERVER}.key_secret"
        if not path.is_file():
            raise KeysError(f"{folder} has no {path.name}; make it: playspot keygen {folder}")
        public, secret = _read_pair(path)
        return cls(public, secret, folder)


@dataclass(frozen=True)
class ClientKeys:
    """The keys of a subscriber.

    Attributes
    ----------
    public, secret : bytes
        Its own, Z85.
    server : bytes
        Public key of the program that publishes.
    """

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the keys of a file `NAME.key_secret` with `server.key` beside it.

        Parameters
        ----------
        path : Path
            The file, or its folder if it is the only one there.

        Raises
        ------
        KeysError
            If something is missing, or if others may read the secret key.
        """
        own = path
        if path.is_dir():
            found = sorted(p for p in path.glob("*.key_secret") if p.stem != SERVER)
            if len(found) != 1:
                names = ", ".join(p.name for p in found) or "none"
                raise KeysError(
                    f"{path} should hold one NAME.key_secret, and holds {names}; name the file"
                )
            own = found[0]
        public, secret = _read_pair(own)
        return cls(public, secret, read_key(own.with_name(f"{SERVER}.key")))

    def use(self, socket: "zmq.Socket[bytes]") -> None:
        """Let a socket that is not connected yet use these keys."""
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        socket.curve_serverkey = self.server


class AllowedKeys:
    """The public keys of the subscribers that are allowed, as the folder says at the moment.

    Parameters
    ----------
    folder : Path
        `clients` of a folder of keys; if it is not there, nobody is allowed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[bytes, str] = {}
        self._loaded = -RELOAD_INTERVAL

    def name_of(self, public: bytes) -> str | None:
        """Return the name of the subscriber whose key (Z85) this is; None for a stranger."""
        now = time.monotonic()
        if now - self._loaded >= RELOAD_INTERVAL:  # not for each of many strangers
            self._loaded = now
            self._keys = {}
            for path in self._folder.glob("*.key"):
                with suppress(KeysError):  # one that is broken, or just being written
                    self._keys[read_key(path)] = path.stem
        return self._keys.get(public)


def make_server_keys(folder: Path) -> None:
    """Make a folder of keys, with the server's.

    Raises
    ------
    KeysError
        If it has some already.
    """
    _make_pair(SERVER, folder / f"{SERVER}.key", folder / f"{SERVER}.key_secret")
    _make_folder(folder / CLIENTS)


def make_client_keys(folder: Path, name: str) -> None:
    """Make the keys of a subscriber, and allow it.

    Raises
    ------
    KeysError
        If there are some of that name already, if the name is no name, or if the folder has no
        keys of a server.
    """
    if re.fullmatch(NAME_PATTERN, name) is None or name == SERVER:
        raise KeysError(
            f"{name!r} is not a name for a subscriber: 1 to 64 letters, digits, - _ ., not {SERVER}"
        )
    if not (folder / f"{SERVER}.key").is_file():
        raise KeysError(f"{folder} has no {SERVER}.key; first run playspot keygen {folder}")
    _make_pair(name, folder / CLIENTS / f"{name}.key", folder / f"{name}.key_secret")


def read_key(path: Path) -> bytes:
    """Return the public key (Z85) of a file.

    Raises
    ------
    KeysError
        If there is none.
    """
    return _read(path, "public-key")


def _make_pair(name: str, public_path: Path, secret_path: Path) -> None:
    if not zmq.has("curve"):
        raise KeysError("this ZeroMQ is built without CURVE; install pyzmq from PyPI")
    for path in (public_path, secret_path):
        if path.exists():
            raise KeysError(f"{path} is there already; remove it, or use another name")
    public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
    _make_folder(secret_path.parent)
    _make_folder(public_path.parent)
    head = f'#   Playspot: {{}} key of {name}\nmetadata\n    name = "{name}"\ncurve\n'
    public_line = f'    public-key = "{public}"\n'
    # The public key last: it is what allows a subscriber.
    secret_line = f'    secret-key = "{secret}"\n'
    _write(secret_path, head.format("SECRET") + public_line + secret_line)
    _write(public_path, head.format("public") + public_line)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeysError(f"{folder} cannot be made ({error.strerror})") from None


def _write(path: Path, text: str) -> None:
    try:
        path.touch(0o600, exist_ok=False)
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise KeysError(f"{path} cannot be written ({error.strerror})") from None


def _read_pair(path: Path) -> tuple[bytes, bytes]:
    try:
        is_open = os.name == "posix" and path.stat().st_mode & 0o007
    except OSError as error:
        raise KeysError(f"{path} cannot be read ({error.strerror})") from None
    if is_open:
        raise KeysError(f"{path} can be read by everybody here; run chmod 600 {path}")
    return read_key(path), _read(path, "secret-key")


def _read(path: Path, key: str) -> bytes:
    """Return a key of a file: the value of a line `public-key = "..."`."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            text = file.read(MAX_KEY_FILE)
    except OSError as error:
        raise KeysError(f"{path} cannot be read ({error.strerror})") from None
    found = re.search(rf'^\s*{key}\s*=\s*"(\S{{{KEY_LENGTH}}})"', text, re.MULTILINE)
    if found is not None:
        with suppress(ValueError, KeyError):
            z85.decode(found[1])
            return found[1].encode("ascii")
    raise KeysError(f"{path} holds no {key}; make keys with playspot keygen")
