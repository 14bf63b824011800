"""Clips of the bandstand: video with sound, and the exact truth beside it.

What goes in: a seed and a level. What comes out: `<name>.mp4` (H.264, AAC mono 16 kHz) and
`<name>.json`: who plays what, when (seconds), and where (points and boxes, normalised 0-1, origin
top left). The same seed gives the same scene, truth and pictures. Needs no torch.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from ..models.labels import LABELS
from ..stream.timeline import SAMPLE_RATE
from .actors import CLAP_HZ
from .canvas import Picture
from .render import Renderer
from .scene import Scene, SceneError, make_scene
from .synth import Waveform, clap, coloured_noise, room, synthesise
from .truth import VIDEO_RATE, Truth, make_truth

AUDIO_BLOCK = 1024  # samples of one AAC frame


def render_clip(
    path: str | os.PathLike[str],
    *,
    seed: int,
    level: str = "normal",
    duration: float = 10.0,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] = (256, 144),
    video_rate: float = VIDEO_RATE,
    key_interval: float | None = None,
) -> Truth:
    """Render one clip and return its truth, also written beside it as JSON.

    Parameters
    ----------
    path : path
        The MP4 file to write; the JSON has the same name with `.json`.
    seed : int
    level : str
        "easy", "normal" or "hard"; see `scene.make_scene`.
    duration : float
        Seconds, at least 2.
    labels : sequence of str, optional
        The instruments, one player each, all of whom play; random without it.
    size : (width, height)
        In pixels, both even.
    video_rate : float
        Pictures per second.
    key_interval : float, optional
        Seconds between key pictures; as the encoder likes without it.

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
    if size[0] % 2 or size[1] % 2 or min(size) < 32:
        raise SceneError(f"size {size[0]}x{size[1]}: both sides must be even and at least 32")
    if not 1 <= video_rate <= 240:
        raise SceneError(f"video rate {video_rate} is outside of 1 to 240 pictures per second")
    path = Path(path)
    scene = make_scene(seed, level, duration, labels)
    truth = make_truth(scene, size, video_rate)
    renderer = Renderer(scene, size)
    n_frames = round(duration * video_rate)
    frames = (renderer.frame(k / video_rate) for k in range(n_frames))
    write_video(path, frames, make_sound(scene), size, video_rate, key_interval)
    path.with_suffix(".json").write_text(json.dumps(truth, separators=(",", ":")), "utf-8")
    return truth


def render_set(
    folder: str | os.PathLike[str],
    n_clips: int,
    *,
    first_seed: int = 0,
    level: str = "normal",
    duration: float = 10.0,
    size: tuple[int, int] = (256, 144),
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render clips of the seeds `first_seed` ... into a folder and return their paths.

    Clips are named `<level>_<seed>.mp4`; those that are there with their JSON are kept, so that an
    interrupted run goes on where it stopped.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    n_clips, first_seed : int
    level : str
        "easy", "normal", "hard", or "mixed": one, two and one of four.
    duration : float
        Seconds of each clip.
    size : (width, height)
        In pixels.
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
    folder = Path(folder)
    jobs = []
    paths = []
    for seed in range(first_seed, first_seed + n_clips):
        mixed = ("easy", "normal", "normal", "hard")[seed // len(LABELS) % 4]
        kind = mixed if level == "mixed" else level
        path = folder / f"{kind}_{seed:06d}.mp4"
        paths.append(path)
        if not (path.is_file() and path.with_suffix(".json").is_file()):
            jobs.append((path, seed, kind, duration, size))
    if jobs:
        folder.mkdir(parents=True, exist_ok=True)
    done = n_clips - len(jobs)
    if progress is not None and done:
        progress(done, n_clips)
    if processes <= 1:
        for job in jobs:
            _render_job(*job)
            done += 1
            if progress is not None:
                progress(done, n_clips)
        return paths
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = [pool.submit(_render_job, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                if progress is not None:
                    progress(done, n_clips)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return paths


def _render_job(path: Path, seed: int, level: str, duration: float, size: tuple[int, int]) -> None:
    cv2.setNumThreads(1)
    render_clip(path, seed=seed, level=level, duration=duration, size=size)


def make_sound(scene: Scene) -> Waveform:
    """Return the sound of a scene, float32, shape (duration * SAMPLE_RATE,), within [-1, 1].

    Players, instruments off the stage, claps of bystanders, a room and a quiet background.
    """
    rng = np.random.default_rng([scene.seed, 4])
    n_samples = round(scene.duration * SAMPLE_RATE)
    sound = np.zeros(n_samples, np.float32)
    hard = scene.level == "hard"
    for actor in scene.players:
        if actor.part is not None and actor.part.notes:
            gain = rng.uniform(0.55, 1.0)
            sound += np.float32(gain) * synthesise(actor.part, scene.duration, rng)
    for part in scene.offscreen:
        gain = rng.uniform(0.4, 0.9)
        sound += np.float32(gain) * synthesise(part, scene.duration, rng)
    for actor in scene.actors:
        if actor.idle and actor.idle[0][2] == "clap":
            times = [k / CLAP_HZ for k in range(1, int(scene.duration * CLAP_HZ))]
            sound += np.float32(rng.uniform(0.0, 0.8)) * clap(rng, times, scene.duration)
    sound = room(sound, rng, rng.uniform(0.02, 0.2), rng.uniform(0.05, 0.14))
    hiss = coloured_noise(rng, n_samples, (80.0, rng.uniform(500, 4000)))
    sound += hiss * np.float32(10 ** (rng.uniform(-68, -40 if hard else -54) / 20))
    sound *= np.float32(10 ** (rng.uniform(-8, 4) / 20))
    peak = float(np.max(np.abs(sound), initial=1e-9))
    return sound * np.float32(min(1.0, 0.9 / peak))


def write_video(
    path: Path,
    frames: Iterable[Picture],
    waveform: Waveform,
    size: tuple[int, int],
    video_rate: float,
    key_interval: float | None = None,
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
    """
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        rate = Fraction(video_rate).limit_denominator(1001)
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.thread_count = 1
        if key_interval is not None:
            video.gop_size = max(1, round(key_interval * video_rate))
        video.options = {"preset": "veryfast", "crf": "20", "bf": "0"}
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
