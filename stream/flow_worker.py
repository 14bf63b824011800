"""The flow process: grey frames of every source in, flow stacks out."""

from collections.abc import Iterator
from typing import TypeAlias

from .flow import FlowStream, Ready, stacks_of
from .flow_choice import FlowSettings, flow_line
from .inputs import stack_message
from .latency import flow_stream
from .media import GreyFrame
from .messages import Message, send
from .sockets import pull, push
from .worker import Worker

# What is to be sent, in order: a stack still to be computed (with the message that completed it),
# or a message as it is.
Item: TypeAlias = tuple[Message, Ready] | Message


def flow(worker: Worker, run: str, settings: FlowSettings) -> None:
    """Be the flow process."""
    frames = pull(worker.context, run, "grey")
    stacks = push(worker.context, run, "stacks")
    method = settings.open()
    worker.tell("ready", flow=flow_line(method))
    streams: dict[int, FlowStream] = {}

    def taken(message: Message) -> Iterator[Item]:
        if message.kind == "open":
            streams[message.source] = flow_stream("normal", method)
        stream = streams.get(message.source)
        if stream is None:
            return  # of a source that was given up
        if message.kind == "grey":
            ready = stream.add(GreyFrame(message.index, message.arrays[0]))
            yield from ((message, (stream, step)) for step in ready)
        elif message.kind in ("gap", "end"):  # what comes after a gap begins anew
            yield from ((message, (stream, step)) for step in stream.finish())
            streams[message.source] = flow_stream("normal", method)
        if message.kind == "end":
            del streams[message.source]
        if message.kind in ("open", "gap", "end"):
            yield message

    most = 1 if method is None else method.batch
    line: list[Item] = []
    for message in worker.messages(frames):
        line += taken(message)
        if len(line) < most and frames.poll(0):
            continue  # a network computes what has arrived in one batch
        ready = [item[1] for item in line if not isinstance(item, Message)]
        computed = iter(stacks_of(ready))
        for item in line:
            if isinstance(item, Message):
                send(stacks, item)
            else:
                send(stacks, stack_message(item[0].source, next(computed), item[0].data))
        line = []
