"""What all engines with a network underneath share: what runs it now, and its end."""

from .engine import Header
from .network import Network


class NetworkEngine:
    """An engine with a network underneath.

    Parameters
    ----------
    header : Header
    network : Network
        Closed with the engine.
    """

    def __init__(self, header: Header, network: Network) -> None:
        self.header = header
        self._network: Network | None = network

    @property
    def network(self) -> Network | None:
        """What is underneath; None once it is closed."""
        return self._network

    @property
    def backend(self) -> str:
        """What runs it now."""
        return "none" if self._network is None else self._network.backend

    @property
    def precision(self) -> str:
        """The precision in which it runs now."""
        return "none" if self._network is None else self._network.precision

    def close(self) -> None:
        """Release the network. Calling it twice is harmless."""
        if self._network is not None:
            self._network.close()
        self._network = None

    def running(self) -> Network:
        """Return the network; ValueError once it is closed."""
        if self._network is None:
            raise ValueError(f"the model {self.header.name!r} is closed; load it again")
        return self._network
