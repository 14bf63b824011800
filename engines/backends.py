"""Which backend runs a network, why, and the network itself: the one door to all of them."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from .availability import BACKENDS, Availability, availability, available, conflict
from .engine import ModelError
from .fallback import FallbackNetwork
from .machine import machine
from .metadata import model_hash
from .network import Network
from .options import Backend, EngineOptions, Precision

if TYPE_CHECKING:
    from .compiled import Compiled

__all__ = [
    "Availability",
    "Choice",
    "available",
    "choose",
    "conflict",
    "open_network",
    "plain_backend",
    "standing",
]

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
        With `engine="auto"`: the fastest that was compiled for this model and machine and passed
        its checks, unless it is slower than the original on ONNX Runtime; else TensorRT, if plans
        may be built; else ONNX Runtime on the GPU; else on the CPU, at fp32. With an engine that
        was asked for, the fastest on that one; a precision that was asked for is taken, slow as it
        may be.

    Raises
    ------
    ModelError
        If what was asked for cannot be: one line that says why and what to do.
    """
    wished: tuple[Backend, ...] = BACKENDS if options.engine == "auto" else (options.engine,)
    if options.engine != "auto":
        found = availability(options.engine, options.device)
        if not found.is_there:
            other = "" if options.engine == "onnx" else "; or take auto"
            raise ModelError(f"the engine {options.engine} cannot be used: {found.why}{other}")
    made = _usable(hash_, wished, options)
    has_original = options.precision in (None, "fp32") and (
        options.engine in ("auto", plain_backend(options.device))
    )
    if made and not (has_original and _speed(made[0], options.device) < 1):
        compiled = made[0]
        why = f"compiled and checked on {compiled.created:%Y-%m-%d}"
        if told := _told(compiled, options.device):
            why += f", {told}"
        return Choice(compiled.backend, compiled.precision, compiled, why)
    if options.precision not in (None, "fp32"):
        engine = "" if options.engine == "auto" else f"--engine {options.engine} "
        raise ModelError(
            f"{options.precision} was not compiled for the model {hash_} and this machine; "
            f"use `playspot compile {engine}--precision {options.precision}`, or fp32"
        )
    slower = _refused(made[0], options.device) if made else ""
    if options.engine != "auto":
        return Choice(options.engine, "fp32", None, slower or "as asked for")
    has_slow_plan = any(one.backend == "tensorrt" for one in made)
    for backend in BACKENDS_OF_GPUS[0 if options.builds else 1 :]:
        there = availability(backend, options.device)
        if there.is_there and not (backend == "tensorrt" and has_slow_plan):
            return Choice(backend, "fp32", None, slower or f"the fastest there is: {there.why}")
    why = availability("cuda", options.device).why
    return replace(PLAIN, why=slower or f"nothing compiled for this machine, and {why}")


def plain_backend(device: int = 0) -> Backend:
    """Return what runs a network without anything compiled or built: "cuda" or "onnx".

    Examples
    --------
    >>> plain_backend(device=10_000)
    'onnx'
    """
    return "cuda" if availability("cuda", device).is_there else "onnx"


def standing(compiled: "Compiled", device: int = 0) -> str:
    """Return whether `auto` uses a network of the cache, and why: one line for people.

    Parameters
    ----------
    compiled : Compiled
        As it is in the cache.
    device : int
        Number of the GPU.

    Returns
    -------
    line : str
        Such as "is used: 1.52 times as fast as ONNX Runtime on the CPU".
    """
    if compiled.machine != machine(compiled.backend, device):
        return f"not used: it is for another machine, {compiled.machine}"
    if not compiled.passed:
        return "not used: it failed its checks, or was not compared yet"
    if compiled.is_original:
        return "nothing to use: it is the model's own file"
    there = availability(compiled.backend, device)
    if not there.is_there:
        return f"not used: {there.why}"
    if _speed(compiled, device) < 1:
        how = f"--engine {compiled.backend} --precision {compiled.precision} does"
        return f"not used by itself: {_told(compiled, device) or 'its speed is not known'}; {how}"
    taken = choose(compiled.model_hash, EngineOptions(device=device)).compiled
    told = _told(compiled, device) or "faster than ONNX Runtime, as plans are"
    if taken is None or (taken.path == compiled.path and taken.backend == compiled.backend):
        return f"is used: {told}"
    return f"not used by itself: {taken.backend} {taken.precision} is before it; {told}"


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


def _usable(hash_: str, backends: tuple[Backend, ...], options: EngineOptions) -> "list[Compiled]":
    """Return all that was compiled, has passed and can run here, the fastest first."""
    from .compiled import of_this_machine

    usable = [
        one
        for one in of_this_machine(hash_, options.device)
        if one.passed
        and one.backend in backends
        and options.precision in (None, one.precision)
        and not one.is_original
        and availability(one.backend, options.device).is_there
    ]
    fastest = partial(_speed, device=options.device)
    return sorted(usable, key=lambda one: (fastest(one), one.created), reverse=True)


def _speed(compiled: "Compiled", device: int) -> float:
    """Return how many times as fast it is as what runs without it; 0 if that is not known.

    A plan that was built in the background has not been measured: it is taken to be as fast.
    """
    if compiled.speed_up is not None and compiled.against == plain_backend(device):
        return compiled.speed_up
    return 1.0 if compiled.backend == "tensorrt" else 0.0


def _told(compiled: "Compiled", device: int) -> str:
    """Return how fast it is, for people; empty if that is not known."""
    if compiled.speed_up is None or compiled.against != plain_backend(device):
        return ""
    where = "GPU" if compiled.against == "cuda" else "CPU"
    return f"{compiled.speed_up:.2f} times as fast as ONNX Runtime on the {where}"


def _refused(compiled: "Compiled", device: int) -> str:
    name = f"{compiled.backend} {compiled.precision}"
    if told := _told(compiled, device):
        return f"what was compiled is slower: {name} is {told}"
    return f"how fast {name} is here is not known: `playspot compile` measures it"
