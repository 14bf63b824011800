"""What there is to run networks with on this machine, which of it is chosen, and why."""

from .network import Network
from .options import EngineOptions


def open_network(model: bytes, name: str, options: EngineOptions) -> Network:
    """Return a network as the user wants it run.

    Parameters
    ----------
    model : bytes
        An ONNX file that `parse_model` has accepted.
    name : str
        For the messages of errors.
    options : EngineOptions

    Raises
    ------
    ModelError
        If it cannot be run so: one line that says why and what to do.
    """
    from .ort import OrtNetwork  # here: who runs no network does not pay for it

    return OrtNetwork(model, name, threads=options.threads)
