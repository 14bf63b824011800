"""The mel process: sound of every source in, the windows that the sound model wants out."""

from ..engines.engine import FrontEnd
from .inputs import window_message
from .media import AudioChunk
from .messages import Message, send
from .sockets import pull, push
from .windows import SoundWindow, WindowStream, window_stream
from .worker import Worker


def mel(worker: Worker, run: str, front_end: FrontEnd) -> None:
    """Be the mel process."""
    chunks = pull(worker.context, run, "pcm")
    windows = push(worker.context, run, "windows")
    streams: dict[int, WindowStream] = {}

    def forward(message: Message, ready: list[SoundWindow]) -> None:
        for window in ready:
            send(windows, window_message(message.source, window, message.data))

    for message in worker.messages(chunks):
        if message.kind == "open":
            streams[message.source] = window_stream(front_end)
        stream = streams.get(message.source)
        if stream is None:
            continue  # of a source that was given up
        if message.kind == "pcm":
            missing = bool(message.data.get("missing"))
            chunk = AudioChunk(message.index, message.arrays[0], missing)
            forward(message, stream.push(chunk))
        elif message.kind == "end":
            forward(message, stream.flush(message.index))
            del streams[message.source]
        if message.kind in ("open", "end"):
            send(windows, message)
