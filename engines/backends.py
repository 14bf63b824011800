"""Which backend runs a network, why, and the network itself: the one door to all of them."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from .availability import BACKENDS, Availability, availability, available, conflict
from .engine import ModelError
from .fallback import FallbackNetwork
from .metadata import model_hash
from .network import Network
from .options import Backend, EngineOptions, Precision

if TYPE_CHECKING:
    from .compiled import Compiled

__all__ = ["Availability", "Choice", "available", "choose", "conflict", "open_network"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What will run a network.

    Attributes
    ----------
    backend : {"onnx", "cuda", "openvino", "tensorrt"}
    precision : {"fp32", "fp16", "bf16", "int8"}
    compiled : Compiled or None
        What was compiled for it; None: the model as it is.
    why : str
        One line for people.
    """

    backend: Backend
    precision: Precision
    compiled: "Compiled | None"
    why: str

    def __str__(self) -> str:
        """Return it for people, such as "onnx fp32 (as asked for)"."""
        return f"{self.backend} {self.precision} ({self.why})"


BACKENDS_OF_GPUS: tuple[Backend, ...] = ("tensorrt", "cuda")  # the faster first
PLAIN = Choice("onnx", "fp32", None, "what always runs")


def choose(hash_: str, options: EngineOptions) -> Choice:
    """Return what runs a model on this machine.

    Parameters
    ----------
    hash_ : str
        `metadata.model_hash` of the model as it was before it was compiled.
    options : EngineOptions

    Returns
    -------
    choice : Choice
        With `engine="auto"`: the newest that was compiled for this model and machine and passed
        its checks; else TensorRT, if plans may be built; else ONNX Runtime on the GPU; else on
        the CPU, at fp32.

    Raises
    ------
    ModelError
        If what was asked for cannot be: one line that says why and what to do.
    """
    wished: tuple[Backend, ...] = BACKENDS if options.engine == "auto" else (options.engine,)
    if options.engine != "auto":
        found = availability(options.engine, options.device)
        if not found.is_there:
            raise ModelError(f"the engine {options.engine} cannot be used: {found.why}")
    compiled = _newest(hash_, wished, options)
    if compiled is not None:
        why = f"compiled and checked on {compiled.created:%Y-%m-%d}"
        return Choice(compiled.backend, compiled.precision, compiled, why)
    if options.precision not in (None, "fp32"):
        raise ModelError(
            f"{options.precision} was not compiled for the model {hash_} and this machine; "
            f"use `playspot compile --precision {options.precision}`, or fp32"
        )
    if options.engine != "auto":
        return Choice(options.engine, "fp32", None, "as asked for")
    for backend in BACKENDS_OF_GPUS[0 if options.builds else 1 :]:
        found = availability(backend, options.device)
        if found.is_there:
            return Choice(backend, "fp32", None, f"the fastest there is: {found.why}")
    why = availability("cuda", options.device).why
    return replace(PLAIN, why=f"nothing compiled for this machine, and {why}")


def open_network(model: bytes, name: str, options: EngineOptions) -> Network:
    """Return a network as the user wants it run.

    Parameters
    ----------
    model : bytes
        An ONNX file that `parse_model` has accepted.
    name : str
        For the messages of errors.
    options : EngineOptions

    Returns
    -------
    network : Network
        With `engine="auto"`, ONNX Runtime on the CPU if the choice fails, and one logged line.

    Raises
    ------
    ModelError
        If it cannot be run so: one line that says why and what to do.
    """
    choice = choose(model_hash(model), options)
    if options.engine != "auto":
        return _open(model, name, choice, options)
    while True:
        try:
            network = _open(model, name, choice, options)
        except ModelError as error:
            other = _other(choice, options)
            if other is None:
                raise
            logger.warning("%s: on %s, as %s", name, _named(other), error)
            choice = other
        else:
            other = _other(choice, options)
            if other is None or choice.backend == "tensorrt":  # that returns by itself
                return network
            return FallbackNetwork(network, partial(_open, model, name, PLAIN, options), name)


def _other(choice: Choice, options: EngineOptions) -> Choice | None:
    """Return what to take if a choice fails, or None."""
    if choice.backend == "tensorrt" and availability("cuda", options.device).is_there:
        return Choice("cuda", "fp32", None, "TensorRT failed")
    is_plain = choice.backend == "onnx" and choice.compiled is None
    return None if is_plain else PLAIN


def _named(choice: Choice) -> str:
    return f"ONNX Runtime on the {'GPU' if choice.backend == 'cuda' else 'CPU'}"


def _open(model: bytes, name: str, choice: Choice, options: EngineOptions) -> Network:
    if choice.backend == "tensorrt":
        from .planned import tensorrt_network

        wish = options.model_copy(update={"precision": choice.precision})
        return tensorrt_network(model, name, wish)
    content = model if choice.compiled is None else choice.compiled.read()
    if choice.backend == "openvino":
        from .ov import OpenVinoNetwork

        return OpenVinoNetwork(content, name, precision=choice.precision, threads=options.threads)
    onnx = availability("onnx")
    if not onnx.is_there:
        raise ModelError(f"{name}: nothing can run it: {onnx.why}")
    from .ort import OrtNetwork  # here: who runs no network does not pay for it

    return OrtNetwork(
        content,
        name,
        threads=options.threads,
        device="cuda" if choice.backend == "cuda" else "cpu",
        gpu=options.device,
        precision=choice.precision,
    )


def _newest(hash_: str, backends: tuple[Backend, ...], options: EngineOptions) -> "Compiled | None":
    """Return the newest that was compiled and that can run here, or None."""
    from . import compiled as store

    found = [
        store.find(hash_, backend, options.precision, device=options.device) for backend in backends
    ]
    usable = [one for one in found if one and availability(one.backend, options.device).is_there]
    return max(usable, key=lambda one: one.created, default=None)
