"""A network namespace and the cable to it, which tests pull out: packets vanish, nothing closes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

N_NETS = 250  # addresses are 10.99.x.1 (here) and 10.99.x.2 (there)


class Namespace:
    """A namespace of this process's own; skips the test where there can be none.

    Attributes
    ----------
    address : str
        Of what listens there.
    """

    def __init__(self) -> None:
        number = os.getpid()
        self.name = f"playspot-{number}"
        self._here, self._there = f"ps{number}a", f"ps{number}b"
        self._net = f"10.99.{number % N_NETS}"
        self.address = f"{self._net}.2"

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("needs root and iproute2, for a network namespace")
        try:
            self._ip("netns", "add", self.name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
        try:
            peer = ("peer", "name", self._there, "netns", self.name)
            self._ip("link", "add", self._here, "type", "veth", *peer)
            self._ip("address", "add", f"{self._net}.1/24", "dev", self._here)
            self._ip("link", "set", self._here, "up")
            self._inside("address", "add", f"{self.address}/24", "dev", self._there)
            self.plug_in()
        except subprocess.CalledProcessError as error:
            self._remove()
            pytest.skip(f"no network can be made here: {error.stderr.strip()}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    @contextmanager
    def serve(self, path: Path) -> Iterator[str]:
        """Serve a media file there by RTSP; give its address."""
        command = ["ip", "netns", "exec", self.name, sys.executable]
        command += ["-m", "playspot.training.rtsp_server", str(path), "--host", self.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                yield server.stdout.readline().strip()
            finally:
                server.kill()

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a program there; return what it printed, and its exit code."""
        command = ("ip", "netns", "exec", self.name, *command)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def pull_out(self) -> None:
        """Let all packets from and to there vanish."""
        self._inside("link", "set", self._there, "down")

    def plug_in(self) -> None:
        """Let them through again."""
        self._inside("link", "set", self._there, "up")

    def _remove(self) -> None:
        self._ip("netns", "delete", self.name)  # and with it both ends of the cable

    def _inside(self, *arguments: str) -> None:
        self._ip("-n", self.name, *arguments)

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=10)
