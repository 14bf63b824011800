"""What a live reader sends, without its process: messages of sessions, and a clock to turn."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from playspot.stream.config import SourceConfig
from playspot.stream.media import AudioChunk, End, GreyFrame, MediaItem, Picture, SourceInfo
from playspot.stream.messages import Message
from playspot.stream.session import Session
from playspot.stream.timeline import SAMPLE_RATE, step_time, tick_time


@dataclass
class Clock:
    """Time that passes when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Sent:
    """Where a stage's messages go, as long as there is room."""

    messages: list[Message] = field(default_factory=list)
    has_room: bool = True

    def __call__(self, message: Message) -> bool:
        if self.has_room:
            self.messages.append(message)
        return self.has_room

    def of(self, kind: str, source: int | None = None) -> list[Message]:
        return [m for m in self.messages if m.kind == kind and source in (None, m.source)]

    def steps(self, kind: str, source: int | None = None) -> list[int]:
        return [message.index for message in self.of(kind, source)]


def opening(
    number: int,
    name: str,
    *,
    index: int = 0,
    base: int = 0,
    has_video: bool = True,
    has_audio: bool = True,
    **config: Any,
) -> Message:
    info = SourceInfo(name, has_video=has_video, has_audio=has_audio)
    session = Session(number, info, base, SourceConfig(url="x.mp4", **config))
    return Message("open", number, index, session.to_json())


def reading(
    number: int, name: str, items: Iterable[MediaItem], start: float
) -> Iterator[tuple[float, str, Message]]:
    """Yield (when, socket, message) of a session whose media time 0 is captured at `start`."""
    ticks, pictures, samples, latest = 0, 0, 0, start
    is_first = {"grey": True, "pictures": True}
    for item in items:
        if isinstance(item, End):
            data = {"name": name, "duration": item.duration, "reason": "end_of_stream"}
            data |= {"ticks": ticks, "pictures": pictures, "samples": samples}
            message = Message("end", number, item.n_steps, data)
            for socket in ("pictures", "grey", "pcm"):
                yield max(latest, start + item.duration), socket, message
            return
        if isinstance(item, GreyFrame):
            time, socket = tick_time(item.tick), "grey"
            message = Message("grey", number, item.tick, arrays=(item.image,))
            ticks = item.tick + 1
        elif isinstance(item, Picture):
            time, socket = step_time(item.step), "pictures"
            message = Message("picture", number, item.step, arrays=(item.image,))
            pictures = item.step + 1
        elif isinstance(item, AudioChunk):
            time, socket = item.start / SAMPLE_RATE, "pcm"
            data = {"missing": item.missing}
            message = Message("pcm", number, item.start, data, (item.waveform,))
            samples = item.start + len(item.waveform)
        message.data.update(name=name, captured=start + time, arrived=start + time)
        if socket in is_first:
            message.data["first"], is_first[socket] = is_first[socket], False
        length = len(item.waveform) / SAMPLE_RATE if isinstance(item, AudioChunk) else 0.0
        latest = max(latest, start + time + length)
        yield start + time + length, socket, message
