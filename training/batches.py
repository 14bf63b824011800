"""Batches for the three networks, made from cached clips; the same numbers for the same step.

=======  =====================================  ==============================================
network  inputs                                 targets
=======  =====================================  ==============================================
sound    float32 (B, 384, T) log-mel            (B, K): labels heard in the clip
object   float32 (B, 3, H, W) RGB, 0 to 255     (B, K): labels seen in the clip, or of a
                                                mosaic of four pictures (B, K, 2, 2)
action   float32 (B, 10, H, W) px per tick      of `targets.make_targets`
=======  =====================================  ==============================================

A batch is a function of the configuration and its number alone, so a run that was killed goes on
with the very batches it would have had. Clips come in a new random order each epoch, without
replacement; each gives `frames_per_clip` frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..engines.engine import Kind
from ..models.labels import LABELS
from ..stream.timeline import HOP_LENGTH, SAMPLE_RATE
from .cache import CachedClip
from .config import TrainConfig
from .epochs import Epochs
from .flow_augment import augment_flow, crop_flow, warp_flow
from .picture_augment import augment_pictures, rolled
from .sound_augment import augmented
from .still_camera import N_KEPT, StillCameras
from .targets import Target, make_targets

Array = NDArray[np.float32]

STRIDE = 32  # px between the cells of our maps; cell i is centred on pixel 32 i


@dataclass(frozen=True)
class TeacherScores:
    """What two trained models say of one clip.

    Attributes
    ----------
    sound : float32, shape (N, K), or None
    object_map : float32, shape (N, K, h, w), or None
    stride, offset : float
        Geometry of the maps, as parts of the picture's longer side.
    """

    sound: Array | None = None
    object_map: Array | None = None
    stride: float = STRIDE / 256
    offset: float = 0.0


def clip_tags(clip: CachedClip, kind: Kind) -> Array:
    """Return the weak label of a clip for a kind of network, float32 (K,): 1 for its tags."""
    tags = {"sound": clip.clip.heard, "object": clip.clip.visible, "action": clip.clip.played}[kind]
    return np.array([label in tags for label in LABELS], np.float32)


def map_shape(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of our networks' map of a picture: five halvings, rounded up.

    Examples
    --------
    >>> map_shape(144, 256)
    (5, 8)
    """
    return -(-height // STRIDE), -(-width // STRIDE)


def warp(images: Tensor, theta: Tensor, padding: str) -> Tensor:
    """Return images read through an affine map of normalised coordinates.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
    theta : Tensor, shape (B, 2, 3)
        Where each output place is read; (-1, -1) and (1, 1) are the outer corners.
    padding : {"border", "zeros"}
        What lies outside.

    Examples
    --------
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> warp(row, torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]]), "border").flatten().tolist()
    [3.0, 2.0, 1.0]
    """
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def tile(pictures: Tensor) -> Tensor:
    """Return pictures put together by fours, two rows of two.

    Parameters
    ----------
    pictures : Tensor, shape (4 B, C, H, W)

    Returns
    -------
    tiled : Tensor, shape (B, C, 2 H, 2 W)

    Examples
    --------
    >>> tile(torch.arange(4.0).reshape(4, 1, 1, 1)).tolist()
    [[[[0.0, 1.0], [2.0, 3.0]]]]
    """
    n, channels, height, width = pictures.shape
    grid = pictures.reshape(4, n // 4, channels, height, width)
    upper, lower = torch.cat([grid[0], grid[1]], 3), torch.cat([grid[2], grid[3]], 3)
    return torch.cat([upper, lower], 2)


def warp_map(
    scores: Array, theta: Array, size: tuple[int, int], stride: float, offset: float
) -> Array:
    """Return a teacher's map as it would be for a warped picture, on our networks' grid.

    Parameters
    ----------
    scores : float32, shape (K, h, w)
    theta : float32, shape (2, 3)
        As for `warp`.
    size : (int, int)
        Height and width of the picture, in pixels.
    stride, offset : float
        Cell i of `scores` is centred on pixel `offset + stride * i`.

    Returns
    -------
    scores : float32, shape (K, ceil(H / 32), ceil(W / 32))
        Bilinear; the outermost cells are taken to reach the edge of the picture.

    Examples
    --------
    >>> ramp = np.arange(8, dtype=np.float32)[None, None].repeat(5, axis=1)  # (1, 5, 8)
    >>> same = np.float32([[1, 0, 0], [0, 1, 0]])
    >>> warp_map(ramp, same, (144, 256), 32, 0)[0, 0].round(3).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    height, width = size
    rows, columns = map_shape(height, width)
    x = (2 * STRIDE * np.arange(columns, dtype=np.float32) + 1) / width - 1
    y = (2 * STRIDE * np.arange(rows, dtype=np.float32) + 1) / height - 1
    places = np.stack([*np.meshgrid(x, y), np.ones((rows, columns))])  # (3, rows, columns)
    u, v = np.tensordot(theta, places, axes=1)  # read here, normalised
    column = np.clip((((u + 1) * width - 1) / 2 - offset) / stride, 0, scores.shape[2] - 1)
    row = np.clip((((v + 1) * height - 1) / 2 - offset) / stride, 0, scores.shape[1] - 1)
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    right = np.minimum(left + 1, scores.shape[2] - 1)
    bottom = np.minimum(top + 1, scores.shape[1] - 1)
    across, down = column - left, row - top
    upper = scores[:, top, left] * (1 - across) + scores[:, top, right] * across
    lower = scores[:, bottom, left] * (1 - across) + scores[:, bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def mix_log_mel(first: Tensor, second: Tensor, gains: Tensor) -> Tensor:
    """Return the log-mel of two sounds together, each with its power multiplied by a gain.

    The features are log(1 + 10000 x) of the power x, so powers are what is added.

    Parameters
    ----------
    first, second : Tensor, shape (B, 384, T)
    gains : Tensor, shape (2, B)
        Of power; 0 leaves a sound out.

    Examples
    --------
    >>> loud = torch.full((1, 1, 1), 10000 * 0.5).log1p()
    >>> round(mix_log_mel(loud, loud, torch.ones(2, 1)).expm1().item() / 10000, 4)
    1.0
    """
    of_first, of_second = gains[:, :, None, None]
    return torch.log1p(of_first * torch.expm1(first) + of_second * torch.expm1(second))


class Batches:
    """Numbered training batches of one kind.

    Parameters
    ----------
    clips : sequence of CachedClip
        Those of a batch have pictures of one size; see `Epochs`.
    kind : {"sound", "object", "action"}
    config : TrainConfig
    target : Target, optional
        Action only.
    teachers : mapping of clip name to TeacherScores, optional
        Action only, where the target needs them.

    Raises
    ------
    ValueError
        If there is no clip, or an action network is given no target.
    """

    def __init__(
        self,
        clips: Sequence[CachedClip],
        kind: Kind,
        config: TrainConfig,
        target: Target | None = None,
        teachers: Mapping[str, TeacherScores] | None = None,
    ) -> None:
        if not clips:
            raise ValueError("no clip to train on")
        if kind == "action" and target is None:
            raise ValueError("an action network needs a target, such as SOT0503")
        self.clips = clips
        self.kind = kind
        self.config = config
        self.target = target
        self.teachers = teachers or {}
        self.tags = np.stack([clip_tags(clip, kind) for clip in clips])  # (n, K)
        sizes = [None if kind == "sound" else clip.pictures.shape[1:3] for clip in clips]
        self.epochs = Epochs(sizes, config.clips_per_batch, config.seed)
        self.still = StillCameras(clips, config.seed, config.camera)
        self.untagged = np.flatnonzero(~self.tags.any(axis=1))

    @property
    def epoch_steps(self) -> int:
        """Batches in which every clip is used once."""
        return self.epochs.n_batches

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of batch `number`, as in the module's table."""
        rng = np.random.default_rng([self.config.seed, 1, number])
        chosen = self.epochs.chosen(number)
        if self.kind == "sound":
            return self._sounds(chosen, rng)
        return self._frames(chosen, rng)

    def _sounds(self, chosen: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        others = [int(i) for i in rng.integers(len(self.clips), size=len(chosen))]
        is_mixed = rng.random(len(chosen)) < self.config.mix
        if self.config.background and len(self.untagged):
            is_behind = rng.random(len(chosen)) < self.config.background
            quiet = rng.choice(self.untagged, size=len(chosen))
            others = [int(i) for i in np.where(is_behind, quiet, others)]
            is_mixed |= is_behind
        length = round(self.config.seconds * SAMPLE_RATE / HOP_LENGTH)  # columns
        sounds = torch.from_numpy(np.stack([self._cut(i, length, rng) for i in chosen])).float()
        targets = self.tags[chosen]
        decibel = rng.uniform(-self.config.gain, self.config.gain, (2, len(chosen)))
        gains = (10 ** (decibel / 10) * [np.ones(len(chosen)), is_mixed]).astype(np.float32)
        if is_mixed.any():
            second = torch.from_numpy(np.stack([self._cut(i, length, rng) for i in others])).float()
            sounds = mix_log_mel(sounds, second, torch.from_numpy(gains))
            targets = np.maximum(targets, self.tags[others] * is_mixed[:, None])
        elif self.config.gain:
            sounds = torch.log1p(torch.from_numpy(gains[0])[:, None, None] * torch.expm1(sounds))
        sounds = augmented(sounds, self.config, rng)
        return sounds, torch.from_numpy(targets.astype(np.float32))

    def _cut(self, i: int, length: int, rng: np.random.Generator) -> NDArray[np.float16]:
        """Return so much of a sound, from anywhere; what is shorter is repeated."""
        whole = self.clips[i].log_mel
        n = whole.shape[1]
        first = int(rng.integers(n - length + 1 if n >= length else n))
        return whole.take(range(first, first + length), axis=1, mode="wrap")

    def _frames(self, chosen: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        is_mosaic = self.kind == "object" and rng.random() < self.config.mosaic
        if is_mosaic:
            others = rng.choice(self.epochs.group_of[chosen[0]], size=3 * len(chosen))
            chosen = [*chosen, *(int(i) for i in others)]
        frames = [
            (i, int(step)) for i in chosen for step in self._steps(self.clips[i].n_steps, rng)
        ]
        theta = self._theta(len(frames), rng)
        if is_mosaic:
            pictures = np.stack([self.clips[i].pictures[step] for i, step in frames])
            halves = functional.avg_pool2d(_channels_first(pictures), 2)
            halves = warp(halves, torch.from_numpy(theta), "border")
            halves = augment_pictures(halves, self.config, rng)
            tags = torch.from_numpy(np.stack([self.tags[i] for i, _ in frames]))
            return tile(halves), tile(tags[:, :, None, None])
        if self.kind == "object":
            pictures = np.stack([self.clips[i].pictures[step] for i, step in frames])
            inputs = warp(_channels_first(pictures), torch.from_numpy(theta), "border")
            inputs = augment_pictures(rolled(inputs, self.config.roll, rng), self.config, rng)
            return inputs, torch.from_numpy(np.stack([self.tags[i] for i, _ in frames]))
        targets = self._action_targets(frames, theta)
        stacks = []
        for number, (i, step) in enumerate(frames):
            if rng.random() < self.config.still:
                like = self.epochs.group_of[i]
                stacks.append(self.still.stack(int(rng.integers(N_KEPT)), like))
                targets[number] = 0
            else:
                stacks.append(self.clips[i].stack(step))
        inputs = warp_flow(torch.from_numpy(np.stack(stacks)).float(), theta)
        inputs = augment_flow(inputs, self.config, rng)
        if targets.ndim == 4 and rng.random() < self.config.crop:
            return crop_flow(inputs, torch.from_numpy(targets), STRIDE, rng)
        return inputs, torch.from_numpy(targets)

    def _steps(self, n_steps: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the steps of a clip that a batch takes: from anywhere, or one of its sub-clips."""
        n = self.config.frames_per_clip
        if not self.config.consecutive:
            return rng.integers(n_steps, size=n)
        first = n * int(rng.integers(max(1, n_steps // n)))
        return (first + np.arange(n)) % n_steps  # a shorter clip is repeated

    def _theta(self, n: int, rng: np.random.Generator) -> Array:
        """Return random zooms, shifts and mirrorings, float32 (n, 2, 3)."""
        theta = np.zeros((n, 2, 3), np.float32)
        scale = np.exp(rng.uniform(-1, 1, n) * np.log1p(self.config.zoom))
        mirror = np.where(rng.random(n) < 0.5, -1, 1) if self.config.flip else np.ones(n)
        theta[:, 0, 0] = scale * mirror
        theta[:, 1, 1] = scale
        # Shift as far as keeps a smaller view inside the picture, or the picture inside the view.
        theta[:, :, 2] = rng.uniform(-1, 1, (n, 2)) * np.abs(1 - scale)[:, None]
        return theta

    def _action_targets(self, frames: list[tuple[int, int]], theta: Array) -> Array:
        assert self.target is not None  # __init__ has seen to it
        size = self.clips[frames[0][0]].pictures.shape[1:3]
        sound, maps = [], []
        for (i, step), affine in zip(frames, theta, strict=True):
            teacher = self.teachers.get(self.clips[i].clip.name, TeacherScores())
            if self.target.needs_sound and teacher.sound is not None:
                sound.append(teacher.sound[step])
            if self.target.needs_object and teacher.object_map is not None:
                longer = max(size)
                geometry = teacher.stride * longer, teacher.offset * longer
                maps.append(warp_map(teacher.object_map[step], affine, size, *geometry))
        tags = np.stack([self.tags[i] for i, _ in frames])
        return make_targets(
            self.target, tags, np.stack(sound) if sound else None, np.stack(maps) if maps else None
        )


def input_statistics(clips: Sequence[CachedClip], n_clips: int = 200) -> tuple[Array, Array]:
    """Return mean and standard deviation of each log-mel band, float32 (384,) each.

    Taken over at most `n_clips` clips, evenly chosen.
    """
    chosen = clips[:: max(1, len(clips) // n_clips)]
    total, squares, n = np.zeros(1), np.zeros(1), 0
    for clip in chosen:
        columns = np.asarray(clip.log_mel, np.float64)
        total = total + columns.sum(axis=1)
        squares = squares + (columns**2).sum(axis=1)
        n += columns.shape[1]
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 1e-4))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _channels_first(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32))  # (B, 3, H, W)
