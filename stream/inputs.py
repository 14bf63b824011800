"""The inputs of steps as they travel: flow stacks and sound windows as messages, and back."""

from typing import Any

from ..engines.settings import ModalityName
from .flow import FlowStack
from .media import Picture
from .messages import Message
from .scoring import StepInput
from .windows import SoundWindow

# The sockets of the detector by what arrives there.
INPUTS: dict[ModalityName, str] = {"object": "pictures", "action": "stacks", "sound": "windows"}


def stack_message(source: int, stack: FlowStack, data: dict[str, Any]) -> Message:
    """Return the message of a flow stack."""
    return Message("stack", source, stack.step, data, (stack.stack,))


def window_message(source: int, window: SoundWindow, data: dict[str, Any]) -> Message:
    """Return the message of a sound window."""
    data = {**data, "output": window.output, "missing": window.missing}
    return Message("window", source, window.step, data, (window.window,))


def item_of(message: Message) -> StepInput | None:
    """Return the input a message brings; None for a gap and for missing sound.

    Examples
    --------
    >>> item_of(Message("gap", 1, 7)) is None
    True
    """
    if message.kind == "picture":
        return Picture(message.index, message.arrays[0])
    if message.kind == "stack":
        return FlowStack(message.index, message.arrays[0])
    if message.kind == "window" and not message.data["missing"]:
        return SoundWindow(message.index, message.arrays[0], int(message.data["output"]), False)
    return None
