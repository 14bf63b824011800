"""The flow process: grey frames of every source in, flow stacks out."""

from .flow import FlowStack, FlowStream
from .inputs import stack_message
from .media import GreyFrame
from .messages import Message, send
from .sockets import pull, push
from .worker import Worker


def flow(worker: Worker, run: str) -> None:
    """Be the flow process."""
    frames = pull(worker.context, run, "grey")
    stacks = push(worker.context, run, "stacks")
    streams: dict[int, FlowStream] = {}

    def forward(message: Message, ready: list[FlowStack]) -> None:
        for stack in ready:
            send(stacks, stack_message(message.source, stack, message.data))

    for message in worker.messages(frames):
        if message.kind == "open":
            streams[message.source] = FlowStream()
        stream = streams.get(message.source)
        if stream is None:
            continue  # of a source that was given up
        if message.kind == "grey":
            forward(message, stream.push(GreyFrame(message.index, message.arrays[0])))
        elif message.kind in ("gap", "end"):  # what comes after a gap begins anew
            forward(message, stream.flush())
        if message.kind == "end":
            del streams[message.source]
        if message.kind in ("open", "gap", "end"):
            send(stacks, message)
