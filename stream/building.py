"""Whether the networks are about to run on another engine, for whoever is told of it."""

from collections.abc import Iterator, Mapping

from ..engines.engine import Engine
from ..engines.settings import ModalityName
from ..engines.switching import SwitchingNetwork
from .events import ModelInfo

Engines = Mapping[ModalityName, Engine]


def building(engines: Engines) -> float | None:
    """Return how much of the engines' plans is built, 0 to 1; None when nothing is being built.

    Examples
    --------
    >>> building({}) is None
    True
    """
    found = [network.progress for network in _switching(engines)]
    if all(progress is None for progress in found):
        return None
    done = [1.0 if progress is None else progress for progress in found]
    return round(sum(done) / len(done), 3)


def is_slow_next(engines: Engines) -> bool:
    """Return whether the next run of a network also loads a plan, which may take seconds."""
    return any(network.is_slow_next for network in _switching(engines))


def building_line(fraction: float) -> str:
    """Return the line for people when a build has begun.

    Examples
    --------
    >>> building_line(0.25)
    'TensorRT plans are being built (25%); detection runs meanwhile'
    """
    now = "about to be tried" if fraction == 1.0 else f"being built ({int(100 * fraction)}%)"
    return f"TensorRT plans are {now}; detection runs meanwhile"


def switched_line(model: ModelInfo, since: str = "now") -> str:
    """Return the line for people when the networks run on something else than before.

    Parameters
    ----------
    model : ModelInfo
        What they run on.
    since : str

    Examples
    --------
    >>> switched_line(ModelInfo(name="m", hash="h", engine="tensorrt", precision="fp16"))
    'the networks run on tensorrt fp16 from now on'
    """
    return f"the networks run on {model.engine} {model.precision} from {since} on"


def _switching(engines: Engines) -> Iterator[SwitchingNetwork]:
    for engine in engines.values():
        network = getattr(engine, "network", None)  # not all engines have one underneath
        if isinstance(network, SwitchingNetwork):
            yield network
