"""Plays what RTP carries of a file, in real time, to any number of clients; or fails to, as told.

In: `RtpMedia` and how to play it. Out: packets at the times they are due, to whoever was added.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from .rtp import Kind, Payload, RtpMedia, RtpStream


@dataclass
class Playback:
    """How a file is played; may be changed while it is.

    Attributes
    ----------
    is_looped : bool
        Begin again at the end, timestamps going on. Without it there is a goodbye.
    is_live : bool
        One time line for all clients, as of a camera, which they join at the next key picture
        (x264 makes one in 250 unless told otherwise: that is 8 s). Without it each gets the file
        from its start.
    wrap_after : float
        Seconds of media time until the timestamps exceed their 32 bits.
    audio_start, audio_until : float
        Seconds of media time between which there is sound.
    audio_offset : float
        Seconds by which the timestamps of the sound are too late.
    skew_ppm : float
        By how much the clock of the sound is faster than that of the picture: more of the sound
        comes in the same time, and sender reports say so.
    report_every : float
        Seconds between sender reports, besides the one before the first packet; `inf`: no report.
    is_stalled : bool
        Send nothing.
    """

    is_looped: bool = True
    is_live: bool = True
    wrap_after: float = 3600.0
    audio_start: float = 0.0
    audio_until: float = math.inf
    audio_offset: float = 0.0
    skew_ppm: float = 0.0
    report_every: float = 5.0
    is_stalled: bool = False

    def sends(self, kind: Kind, time: float) -> bool:
        """Whether anything of a stream is sent at a media time."""
        return not self.is_stalled and (
            kind == "video" or self.audio_start <= time < self.audio_until
        )


class Client(Protocol):
    """Whoever takes packets."""

    def take(self, kind: Kind, packet: bytes, *, is_report: bool) -> None:
        """Send a packet on to the other side; never wait for that."""
        ...


class Player:
    """The time line of a file that is played; made, used and closed within an event loop.

    Parameters
    ----------
    media : RtpMedia
    playback : Playback
    """

    def __init__(self, media: RtpMedia, playback: Playback) -> None:
        self._playback = playback
        self._io = asyncio.get_running_loop()
        self._epoch, self._wall_epoch = self._io.time(), time.time()
        self._streams = {
            kind: RtpStream(kind, track.clock, -round(playback.wrap_after * track.clock))
            for kind, track in media.tracks.items()
        }
        self._clients: dict[Client, set[Kind]] = {}  # and what they have had anything of
        self._reports = self._io.create_task(self._report())
        self._tasks: list[asyncio.Task[None]] = []
        self.change_to(media)

    def change_to(self, media: RtpMedia) -> None:
        """Go on with other media, from its start."""
        self._cancel()
        self._tasks = [
            self._io.create_task(self._play(kind, media, self.now(kind)))
            for kind in media.tracks.keys() & self._streams.keys()
        ]

    def now(self, kind: Kind) -> float:
        """Return the media time of a stream."""
        return (self._io.time() - self._epoch) * self._rate(kind)

    def position(self, kind: Kind) -> tuple[int, int]:
        """Return sequence number and timestamp of a stream, now."""
        stream = self._streams[kind]
        return stream.sequence, stream.timestamp(self.now(kind))

    def add(self, client: Client) -> None:
        """Begin to play for a client."""
        self._clients[client] = set()

    def remove(self, client: Client) -> None:
        """Play no longer for a client."""
        self._clients.pop(client, None)

    def end(self) -> None:
        """Say to all clients that it is over, and play for them no longer."""
        for kind in self._streams:
            self._say_goodbye(kind)
        self._clients.clear()

    async def close(self) -> None:
        """Stop; more calls do nothing."""
        tasks = self._cancel()
        self._reports.cancel()
        await asyncio.gather(*tasks, self._reports, return_exceptions=True)

    def _cancel(self) -> "list[asyncio.Task[None]]":
        for task in self._tasks:
            task.cancel()
        return self._tasks

    def _rate(self, kind: Kind) -> float:
        return 1 + self._playback.skew_ppm / 1e6 if kind == "audio" else 1.0

    async def _play(self, kind: Kind, media: RtpMedia, base: float) -> None:
        while True:
            for payload in media.tracks[kind].payloads:
                await self._until(kind, base + payload.due)
                self._send_payload(kind, payload, base + payload.time)
            base += media.duration
            await self._until(kind, base)
            if not self._playback.is_looped:
                self._say_goodbye(kind)
                return

    async def _until(self, kind: Kind, time: float) -> None:
        await asyncio.sleep(max(0.0, self._epoch + time / self._rate(kind) - self._io.time()))

    def _send_payload(self, kind: Kind, payload: Payload, time: float) -> None:
        if not self._playback.sends(kind, time):
            return
        offset = self._playback.audio_offset if kind == "audio" else 0.0
        packets = self._streams[kind].packets(payload, time + offset)
        for client, begun in self._clients.items():
            if kind not in begun:
                if not payload.is_key:
                    continue
                begun.add(kind)
                for report in self._report_of(kind):
                    client.take(kind, report, is_report=True)
            for packet in packets:
                client.take(kind, packet, is_report=False)

    async def _report(self) -> None:
        while math.isfinite(self._playback.report_every):
            await asyncio.sleep(self._playback.report_every)
            for kind in self._streams:
                if self._playback.sends(kind, self.now(kind)):
                    for report in self._report_of(kind):
                        self._send(kind, report)

    def _say_goodbye(self, kind: Kind) -> None:
        self._send(kind, self._streams[kind].goodbye(*self._clocks(kind)))

    def _clocks(self, kind: Kind) -> tuple[float, float]:
        """Return a media time of a stream, just past, and the time of day that it was at."""
        media_time = math.floor(100 * self.now(kind)) / 100  # whole in the units of all clocks
        return media_time, self._wall_epoch + media_time / self._rate(kind)

    def _report_of(self, kind: Kind) -> Iterator[bytes]:
        if math.isfinite(self._playback.report_every):
            yield self._streams[kind].sender_report(*self._clocks(kind))

    def _send(self, kind: Kind, report: bytes) -> None:
        for client, begun in self._clients.items():
            if kind in begun:
                client.take(kind, report, is_report=True)
