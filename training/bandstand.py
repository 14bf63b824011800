"""Clips of the bandstand: video with sound, and the exact truth beside it.

What goes in: a seed and a level. What comes out: `<name>.mp4` (H.264, AAC mono 16 kHz) and
`<name>.json`: who plays what, when (seconds), and where (points and boxes, normalised 0-1, origin
top left). The same seed gives the same scene, truth and pictures. Needs no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from ..stream.timeline import SAMPLE_RATE
from .canvas import Picture
from .filming import Film
from .instruments import DRAWN
from .orchestra import Synth
from .processes import all_in_processes
from .render import Renderer
from .scene import Scene, SceneError, make_scene
from .stage_sound import stage_sound
from .synth import Waveform
from .truth import Truth, make_truth

AUDIO_BLOCK = 1024  # samples of one AAC frame
SHARD_CLIPS = 250  # in one sub-folder


def render_clip(
    path: str | os.PathLike[str],
    *,
    seed: int,
    level: str = "normal",
    duration: float = 10.0,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    video_rate: float | None = None,
    key_interval: float | None = None,
    synth: Synth = "builtin",
) -> Truth:
    """Render one clip and return its truth, also written beside it as JSON.

    Parameters
    ----------
    path : path
        The MP4 file to write; the JSON has the same name with `.json`.
    seed : int
    level : str
        "easy", "normal", "hard" or "wild"; see `scene.make_scene`.
    duration : float
        Seconds, at least 2.
    labels : sequence of str, optional
        The instruments, one player each, all of whom play; random without it.
    size : (width, height), optional
        In pixels, both even; 256 x 144 without it, at the level "wild" what the scene has.
    video_rate : float, optional
        Pictures per second; 30 without it, at the level "wild" what the scene has.
    key_interval : float, optional
        Seconds between key pictures; as the encoder likes without it.
    synth : {"builtin", "auto", "fluidsynth"}
        "auto" is FluidSynth where it and a soundfont are installed; the truth says which it was.

    Returns
    -------
    truth : dict
        As in the file; times in seconds, points and boxes normalised 0-1.

    Raises
    ------
    SceneError
        If an argument is outside of what a scene can be.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = render_clip(f"{folder}/a.mp4", seed=4, level="easy", duration=2.0)
    >>> truth["players"][0]["label"]
    'guitar'
    """
    path = Path(path)
    scene = make_scene(seed, level, duration, labels)
    film = scene.film
    size = film.size if size is None else size
    video_rate = film.video_rate if video_rate is None else video_rate
    if size[0] % 2 or size[1] % 2 or min(size) < 32:
        raise SceneError(f"size {size[0]}x{size[1]}: both sides must be even and at least 32")
    if not 1 <= video_rate <= 240:
        raise SceneError(f"video rate {video_rate} is outside of 1 to 240 pictures per second")
    truth = make_truth(scene, size, video_rate)
    sound, truth["sound"] = stage_sound(scene, synth)
    renderer = Renderer(scene, size)
    frames = (renderer.frame(k / video_rate) for k in range(round(duration * video_rate)))
    part = path.with_name(f".{path.name}.{os.getpid()}")  # hidden: nobody reads half a clip
    try:
        write_video(part, frames, sound, size, video_rate, key_interval, film)
        hidden = part.with_suffix(".json")
        hidden.write_text(json.dumps(truth, separators=(",", ":")), "utf-8")
        hidden.replace(path.with_suffix(".json"))
        part.replace(path)  # last: a video that is there has its truth
    finally:
        part.unlink(missing_ok=True)
        part.with_suffix(".json").unlink(missing_ok=True)
    return truth


def clip_path(folder: Path, level: str, seed: int) -> Path:
    """Return where the clip of a seed lies: in sub-folders of at most `SHARD_CLIPS`.

    Examples
    --------
    >>> clip_path(Path("clips"), "mixed", 100_000).as_posix()
    'clips/shard-0400/hard_100000.mp4'
    """
    kind = level
    if level == "mixed":
        kind = ("easy", "normal", "normal", "hard")[seed // len(DRAWN) % 4]
    return folder / f"shard-{seed // SHARD_CLIPS:04d}" / f"{kind}_{seed:06d}.mp4"


def render_set(
    folder: str | os.PathLike[str],
    n_clips: int,
    *,
    first_seed: int = 0,
    level: str = "normal",
    duration: float = 10.0,
    size: tuple[int, int] | None = None,
    synth: Synth = "builtin",
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render clips of the seeds `first_seed` ... into a folder and return their paths.

    They lie where `clip_path` says. Those that are there are kept, so that a run that was stopped,
    even by kill -9, goes on where it was; runs of other seeds may write to the same folder at once.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    n_clips, first_seed : int
    level : str
        "easy", "normal", "hard", "wild", or "mixed": one, two and one of four of the first three.
    duration : float
        Seconds of each clip.
    size : (width, height), optional
        In pixels; as the level has it without.
    processes : int
        How many work at once, each spawned and on one thread.
    progress : callable, optional
        Called with (clips done, clips in all) after each.

    Returns
    -------
    paths : list of Path
        The MP4 files, in order of seeds.

    Raises
    ------
    SceneError
        If an argument is outside of what a scene can be.

    Examples
    --------
    >>> render_set("nowhere", 0)
    []
    """
    seeds = range(first_seed, first_seed + n_clips)
    paths = [clip_path(Path(folder), level, seed) for seed in seeds]
    missing = [
        (path, seed)
        for path, seed in zip(paths, seeds, strict=True)
        if not (path.is_file() and path.with_suffix(".json").is_file())
    ]
    _make_room({path for path, _ in missing})
    done = n_clips - len(missing)
    if progress is not None and done:
        progress(done, n_clips)
    jobs = [(path, seed, duration, size, synth) for path, seed in missing]
    for _ in all_in_processes(_render_job, jobs, processes=processes):
        done += 1
        if progress is not None:
            progress(done, n_clips)
    return paths


def _make_room(paths: set[Path]) -> None:
    """Make the folders of clips, and remove what a killed run left of those very clips."""
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.mp4.*"):
            if left.with_name(left.name[1:].split(".mp4.")[0] + ".mp4") in paths:
                left.unlink(missing_ok=True)


def _render_job(
    path: Path, seed: int, duration: float, size: tuple[int, int] | None, synth: Synth
) -> None:
    cv2.setNumThreads(1)
    level = path.stem.rpartition("_")[0]
    render_clip(path, seed=seed, level=level, duration=duration, size=size, synth=synth)


def make_sound(scene: Scene, synth: Synth = "builtin") -> Waveform:
    """Return the sound of a scene, float32, shape (duration * SAMPLE_RATE,), within [-1, 1]."""
    return stage_sound(scene, synth)[0]


def write_video(
    path: Path,
    frames: Iterable[Picture],
    waveform: Waveform,
    size: tuple[int, int],
    video_rate: float,
    key_interval: float | None = None,
    film: Film | None = None,
) -> None:
    """Write pictures and sound as MP4; both start at time 0.

    Parameters
    ----------
    path : Path
    frames : iterable of uint8, shape (H, W, 3)
        RGB.
    waveform : float32, shape (T,)
        At SAMPLE_RATE.
    size : (width, height)
        In pixels, both even.
    video_rate : float
        Pictures per second.
    key_interval : float, optional
        Seconds between key pictures.
    film : Film, optional
        Gives the codec and how much it compresses.
    """
    film = film or Film()
    options = {"movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        rate = Fraction(video_rate).limit_denominator(1001)
        video = (
            container.add_stream("libx264", rate=rate)
            if film.codec == "libx264"
            else container.add_stream("mpeg4", rate=rate)
        )
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.thread_count = 1
        if key_interval is not None:
            video.gop_size = max(1, round(key_interval * video_rate))
        if film.codec == "libx264":
            video.options = {"preset": "veryfast", "crf": str(film.quality), "bf": "0"}
        else:
            video.options = {"qmin": str(film.quality), "qmax": str(film.quality), "bf": "0"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 64_000
        at = 0
        for k, picture in enumerate(frames):
            frame = video_frame(picture)
            frame.pts = k
            frame.time_base = 1 / rate
            container.mux(video.encode(frame))
            while at < waveform.size and at / SAMPLE_RATE < (k + 1) / video_rate:
                at = _mux_audio(container, audio, waveform, at)
        while at < waveform.size:
            at = _mux_audio(container, audio, waveform, at)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def video_frame(picture: Picture) -> av.VideoFrame:
    """Return a picture, uint8 RGB (H, W, 3), in the colours of a video; both sides even."""
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    return av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")


def _mux_audio(
    container: av.container.OutputContainer, audio: av.AudioStream, waveform: Waveform, at: int
) -> int:
    block = waveform[at : at + AUDIO_BLOCK]
    frame = av.AudioFrame.from_ndarray(block[None, :], format="fltp", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    frame.pts = at
    frame.time_base = Fraction(1, SAMPLE_RATE)
    container.mux(audio.encode(frame))
    return at + block.size
