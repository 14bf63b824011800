"""JPEGs at their times, and sound if wanted -> an MP4 that plays everywhere.

H.264 in YUV 4:2:0, each picture from its own time to that of the next one, whatever gaps there are;
AAC. The first picture is at time 0 of the clip.
"""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from .media import Waveform
from .pictures import fit_size
from .timeline import SAMPLE_RATE, TICK_SAMPLES

UNIT = Fraction(1, SAMPLE_RATE)  # ticks and samples are whole numbers of it
RATE = Fraction(SAMPLE_RATE, TICK_SAMPLES)  # pictures a second
KEY_INTERVAL = 16  # pictures, 2 s: a player can begin there
SOUND_BITS = 48_000  # a second, of one channel
PROBE = 65_536  # bytes that must fit on the disk to begin
MAX_HOLE = 3600 * SAMPLE_RATE  # samples of silence put in for sound that is not there

# The first that this build of FFmpeg has. No frames out of order: each can be written at once.
ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "26", "bf": "0", "rc-lookahead": "8"},
    "libopenh264": {"allow_skip_frames": "0"},
}


class ClipWriter:
    """One clip, written bit by bit.

    Parameters
    ----------
    path : Path
        Overwritten; of use only after `finish`.
    side : int
        Longer side at most, px; the first picture sets the size.
    has_sound : bool
        Whether there is a track of sound.

    Attributes
    ----------
    n_pictures : int

    Raises
    ------
    OSError, av.FFmpegError
        Here or in any of the methods, if it cannot be written.
    """

    def __init__(self, path: Path, side: int, *, has_sound: bool = False) -> None:
        self._side = side
        path.write_bytes(bytes(PROBE))  # FFmpeg never closes a file that is full from the start
        self._output = av.open(
            f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}
        )
        try:
            name = next(name for name in ENCODERS if name in av.codecs_available)
            self._video = _video(self._output.add_stream(name, RATE, options=ENCODERS[name]))
            self._sound: AudioStream | None = None
            if has_sound:
                stream = self._output.add_stream("aac", SAMPLE_RATE, layout="mono")
                stream.bit_rate = SOUND_BITS
                self._sound = stream
        except BaseException:
            self._output.close()
            raise
        self._start: int | None = None  # sample of the source at time 0 of the clip
        self._n_samples = 0
        self._is_broken = False  # FFmpeg may crash if it is told to go on after an error
        self.n_pictures = 0

    def add(self, time: float, jpeg: bytes) -> None:
        """Add a picture at a media time of its source, later than the one before.

        One that is damaged is left out.
        """
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            return
        place = round(time * SAMPLE_RATE)
        if self._start is None:
            self._start = place
            height, width = image.shape[:2]
            width, height = fit_size(width, height, min(self._side, max(width, height)))
            self._video.width, self._video.height = max(2, width // 2 * 2), max(2, height // 2 * 2)
        size = (self._video.width, self._video.height)
        if image.shape[1::-1] != size:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        frame = VideoFrame.from_ndarray(np.asarray(image, np.uint8), "bgr24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU601, threads=1
        )
        frame.pts, frame.time_base = place - self._start, UNIT
        self._write(self._video, frame)
        self.n_pictures += 1

    def add_sound(self, start: int, waveform: Waveform) -> None:
        """Add sound from a sample of its source on; what is before the first picture is left out.

        Where there is none, the clip is silent.
        """
        if self._sound is None or self._start is None:
            return
        place = start - self._start
        hole = place - self._n_samples
        if hole < 0:
            waveform = waveform[-hole:]
        elif 0 < hole <= MAX_HOLE:
            waveform = np.concatenate([np.zeros(hole, np.float32), waveform])
        if not len(waveform) or hole > MAX_HOLE:
            return
        frame = AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self._n_samples, UNIT
        self._n_samples += len(waveform)
        self._write(self._sound, frame)

    def finish(self) -> None:
        """Complete the file; one without a picture is of no use."""
        try:
            if self.n_pictures and not self._is_broken:
                self._write(self._video, None)
                if self._sound is not None and self._n_samples:
                    self._write(self._sound, None)
        finally:
            self._output.close()

    def abort(self) -> None:
        """Let go of the file as it is."""
        with suppress(OSError, av.FFmpegError):
            self._output.close()

    def _write(
        self, stream: VideoStream | AudioStream, frame: "VideoFrame | AudioFrame | None"
    ) -> None:
        if self._is_broken:
            raise OSError("the clip could not be written")
        try:
            for packet in stream.encode(frame):  # type: ignore[arg-type]
                if stream is self._video:
                    packet.duration = TICK_SAMPLES  # of the last; the others last until the next
                self._output.mux_one(packet)
        except BaseException:
            self._is_broken = True
            raise


def _video(stream: object) -> VideoStream:
    if not isinstance(stream, VideoStream):
        raise TypeError("no encoder of video")
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = UNIT
    context.gop_size = KEY_INTERVAL
    context.thread_count = 1
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.SMPTE170M
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    return stream
