"""Which way to compute optical flow is taken, and why."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..engines.engine import Header, ModelError
from ..engines.options import Backend, EngineOptions, FlowWish
from ..engines.settings import ModalityName
from .flow_method import Dis, Farneback, FlowMethod
from .flow_network import NetworkFlow

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlowSettings:
    """What a flow process is to give, as it travels there.

    Attributes
    ----------
    wish : {"auto", "farneback", "dis", "network"}
    options : EngineOptions
        What runs the network.
    takes : {"stacks", "frames"}
        What the action model wants to see.
    """

    wish: FlowWish = "auto"
    options: EngineOptions = field(default_factory=EngineOptions)
    takes: Literal["stacks", "frames"] = "stacks"

    def open(self) -> FlowMethod | None:
        """Return the method; None if the action model computes the flow itself.

        Raises
        ------
        ModelError
            If the wish cannot be: one line that says why and what to do.
        """
        if self.takes == "stacks":
            return open_flow(self.wish, self.options)
        if self.wish in ("auto", "network"):
            return None
        raise ModelError(
            f"flow: {self.wish} cannot be: the action model takes frames and computes the flow "
            "itself; use auto, or a model that takes stacks"
        )


def flow_settings(
    headers: Mapping[ModalityName, Header], wish: FlowWish, options: EngineOptions
) -> FlowSettings:
    """Return what these models want of the flow process.

    Examples
    --------
    >>> flow_settings({}, "dis", EngineOptions()).takes
    'stacks'
    """
    header = headers.get("action")
    return FlowSettings(wish, options, "stacks" if header is None else header.takes)


def open_flow(wish: FlowWish = "auto", options: EngineOptions | None = None) -> FlowMethod:
    """Return the way to compute flow that the user wishes.

    Parameters
    ----------
    wish : {"auto", "farneback", "dis", "network"}
        auto: the network where a GPU runs it, else OpenCV's Farneback.
    options : EngineOptions
        What runs the network.

    Raises
    ------
    ModelError
        If the network was asked for and cannot be run: one line.

    Examples
    --------
    >>> open_flow("dis").name
    'dis'
    """
    options = options or EngineOptions()
    if wish == "farneback":
        return Farneback()
    if wish == "dis":
        return Dis()
    if wish == "network":
        return NetworkFlow(options)
    why = _no_gpu(options)
    if why is None:
        try:
            network = NetworkFlow(options, may_leave=True)
        except ModelError as error:  # auto never fails because of a GPU
            why = f"the network cannot be run ({error})"
        else:
            if not network.is_for_ever_slow:
                return network
            network.close()
            why = "the GPU cannot be used"
        logger.warning("flow is farneback: %s", why)
    return Farneback(why)


def flow_line(method: FlowMethod | None) -> str:
    """Return a line for people: how flow is computed, and why so.

    Examples
    --------
    >>> flow_line(Farneback("no GPU"))
    'flow: farneback (opencv-cpu): no GPU'
    >>> flow_line(None)
    'flow: inside the action model'
    """
    if method is None:
        return "flow: inside the action model"
    return f"flow: {method.name} ({method.backend})" + (f": {method.why}" if method.why else "")


def _no_gpu(options: EngineOptions) -> str | None:
    """Return why no GPU can run the network, or None."""
    if options.engine in ("onnx", "openvino"):
        return f"engine: {options.engine} is for the CPU"
    from ..engines.availability import availability  # here: it looks for libraries

    wanted: tuple[Backend, ...] = ("tensorrt", "cuda")
    if options.engine == "auto":
        found = [availability(one, options.device) for one in wanted]
        is_there = any(one.is_there for one in found)
        return None if is_there else f"no GPU for the network: {found[-1].why}"
    there = availability(options.engine, options.device)
    return None if there.is_there else f"no {options.engine}: {there.why}"
