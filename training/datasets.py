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

from collections.abc import Sequence
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
        All with pictures of one size; see `same_size`.
    kind : {"sound", "object", "action"}
    config : TrainConfig
    target : Target, optional
        Action only.
    teachers : dict of clip name to TeacherScores, optional
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
        teachers: dict[str, TeacherScores] | None = None,
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

    @property
    def epoch_steps(self) -> int:
        """Batches in which every clip is used once, rounded up."""
        return -(-len(self.clips) // self.config.clips_per_batch)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of batch `number`, as in the module's table."""
        rng = np.random.default_rng([self.config.seed, 1, number])
        chosen = self._chosen(number)
        if self.kind == "sound":
            return self._sounds(chosen, rng)
        return self._frames(chosen, rng)

    def _chosen(self, number: int) -> list[int]:
        """Return the clips of a batch: a new order each epoch, without replacement."""
        n, size = len(self.clips), self.config.clips_per_batch
        places = range(number * size, (number + 1) * size)
        orders = {
            epoch: np.random.default_rng([self.config.seed, 2, epoch]).permutation(n)
            for epoch in {place // n for place in places}
        }
        return [int(orders[place // n][place % n]) for place in places]

    def _sounds(self, chosen: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        others = [int(i) for i in rng.integers(len(self.clips), size=len(chosen))]
        is_mixed = rng.random(len(chosen)) < self.config.mix
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
            others = rng.integers(len(self.clips), size=3 * len(chosen))
            chosen = [*chosen, *(int(i) for i in others)]
        frames = [
            (i, int(step))
            for i in chosen
            for step in rng.integers(self.clips[i].n_steps, size=self.config.frames_per_clip)
        ]
        theta = self._theta(len(frames), rng)
        if is_mosaic:
            pictures = np.stack([self.clips[i].pictures[step] for i, step in frames])
            halves = functional.avg_pool2d(_channels_first(pictures), 2)
            halves = self._lit(warp(halves, torch.from_numpy(theta), "border"), rng)
            tags = torch.from_numpy(np.stack([self.tags[i] for i, _ in frames]))
            return tile(halves), tile(tags[:, :, None, None])
        if self.kind == "object":
            pictures = np.stack([self.clips[i].pictures[step] for i, step in frames])
            inputs = warp(_channels_first(pictures), torch.from_numpy(theta), "border")
            inputs = self._rolled(inputs, rng)
            return self._lit(inputs, rng), torch.from_numpy(
                np.stack([self.tags[i] for i, _ in frames])
            )
        stacks = np.stack([self.clips[i].stack(step) for i, step in frames])
        inputs = warp(torch.from_numpy(stacks).float(), torch.from_numpy(theta), "zeros")
        # A picture that is mirrored or enlarged moves so as well: x and y of flow scale with it.
        inputs[:, 0::2] /= torch.from_numpy(theta[:, 0, 0])[:, None, None, None]
        inputs[:, 1::2] /= torch.from_numpy(theta[:, 1, 1])[:, None, None, None]
        height, width = stacks.shape[2:]
        return inputs, torch.from_numpy(self._action_targets(frames, theta, (height, width)))

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

    def _rolled(self, pictures: Tensor, rng: np.random.Generator) -> Tensor:
        """Return pictures of which some are shifted by any amount, around the edges."""
        is_rolled = rng.random(len(pictures)) < self.config.roll
        shifts = rng.random((len(pictures), 2)) * pictures.shape[2:]
        rolled = [
            torch.roll(picture, [int(down), int(across)], [1, 2]) if is_on else picture
            for picture, (down, across), is_on in zip(pictures, shifts, is_rolled, strict=True)
        ]
        return torch.stack(rolled)

    def _lit(self, pictures: Tensor, rng: np.random.Generator) -> Tensor:
        """Return pictures under other light: each colour channel times a random factor."""
        if not self.config.light:
            return pictures
        common = rng.uniform(-1, 1, (len(pictures), 1, 1, 1)) * self.config.light
        colour = rng.uniform(-1, 1, (len(pictures), 3, 1, 1)) * self.config.light / 3
        factor = torch.from_numpy(np.exp(common + colour).astype(np.float32))
        return (pictures * factor).clamp_(0, 255)

    def _action_targets(
        self, frames: list[tuple[int, int]], theta: Array, size: tuple[int, int]
    ) -> Array:
        assert self.target is not None  # __init__ has seen to it
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


def same_size(clips: Sequence[CachedClip]) -> tuple[list[CachedClip], list[tuple[str, str]]]:
    """Return the clips of the most common picture size, and name and reason of the others."""
    sizes = [clip.pictures.shape[1:3] for clip in clips]
    if not sizes:
        return [], []
    height, width = max(set(sizes), key=lambda size: (sizes.count(size), size))
    kept = [clip for clip, size in zip(clips, sizes, strict=True) if size == (height, width)]
    others = [
        (clip.clip.name, f"{size[1]}x{size[0]} px, most clips here are {width}x{height}")
        for clip, size in zip(clips, sizes, strict=True)
        if size != (height, width)
    ]
    return kept, others


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
