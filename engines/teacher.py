"""Public networks as our models: an image classifier gives object maps, an audio tagger sound.

In: a batch as in the table of `engine`. Out: calibrated scores of our labels. In between: the
network's classes, each a probability, become evidence in log-odds for a label (its own classes,
those that support it, those that compete with it), and a logistic makes it a score.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .backends import open_network
from .description import Description, Evidence, find_description, read_description
from .engine import ModelError, Scores
from .metadata import model_hash, one_line, parse_model, read_model
from .network import Network, Tensor
from .network_engine import NetworkEngine
from .options import EngineOptions

Values = NDArray[np.float32]

MAX_GAIN = 6.0  # of a dark picture
SMALLEST = 1e-4  # a probability below this says no more than this one
PATCH_FLOOR = 0.001  # in the front end `yamnet`: log(magnitude + floor)
MIDDLE = slice(22, 74)  # columns of its patch within 0.256 s of the step's time


def load(path: str | Path, *, options: EngineOptions | None = None) -> "TeacherEngine":
    """Return the engine of a described model.

    Parameters
    ----------
    path : path
        The ONNX file, or the TOML that describes it.
    options : EngineOptions
        What runs it.

    Raises
    ------
    ModelError
        If the model or its description cannot be used: one line for the user.
    """
    path = Path(path)
    if path.suffix == ".toml":
        description = read_description(path)
        model = path.with_name(description.file) if description.file else path.with_suffix(".onnx")
        return TeacherEngine(model, description, options=options)
    found = find_description(path)
    if found is None:
        raise ModelError(f"{path}: an unknown model; describe it in {path.stem}.toml beside it")
    return TeacherEngine(path, found, options=options)


@dataclass(frozen=True)
class _Reading:
    """The class numbers of one label."""

    own: list[int]
    support: list[int]
    competitors: list[int]


class TeacherEngine(NetworkEngine):
    """A described public network, ready to run.

    Parameters
    ----------
    model : path
        The ONNX file.
    description : Description
        What it is.
    options : EngineOptions
        What runs it.
    network : Network, optional
        What runs it, in place of what the options would open.

    Raises
    ------
    ModelError
        If the file cannot be used or is not what the description says: one line for the user.

    Examples
    --------
    >>> engine = load("mobilenet_v2_1.0_224_fcn_from_quant.onnx")  # doctest: +SKIP
    >>> engine(np.zeros((1, 320, 576, 3), np.uint8)).shape  # doctest: +SKIP
    (1, 9, 10, 18)
    """

    def __init__(
        self,
        model: Path,
        description: Description,
        *,
        options: EngineOptions | None = None,
        network: Network | None = None,
    ) -> None:
        content = read_model(model)
        parse_model(content, str(model))
        self.description = description
        network = network or open_network(content, str(model), options or EngineOptions())
        super().__init__(description.header, network)
        try:
            self._read(model, content, network)
        except ModelError:
            self.close()
            raise

    def _read(self, model: Path, content: bytes, network: Network) -> None:
        """Take from the description what is done before and after the network."""
        description = self.description
        self._input = _pick(model, "input", network.inputs, description.input.name)
        self._output = _pick(model, "output", network.outputs, description.output.name)
        self._rank = len(self._input.shape)
        self._check_shapes(model)
        self._readings = [
            self._reading(description.labels[label], model.parent) for label in self.header.labels
        ]
        # Other readings of the same network are another model: what it said is not to be kept.
        self.hash = model_hash(content + repr((description, self._readings)).encode())
        self._logistic = self._calibration()
        used = [n for r in self._readings for n in (*r.own, *r.support, *r.competitors)]
        if description.output.n_classes and max(used) >= description.output.n_classes:
            raise ModelError(f"{model}: class {max(used)} is beyond its last class")

    def __call__(self, batch: NDArray[Any]) -> Scores:
        """Return the scores of a batch; shapes as in the table of `engine`.

        Raises
        ------
        ValueError
            If the batch has another type or shape than the kind takes, or the engine is closed.
        ModelError
            If the network fails on it.
        """
        self.running()
        if self.header.kind == "object":
            return self._scores(self._seen(batch))  # (B, K, h, w)
        out = self._run(self._patches(batch))
        out = out.reshape(len(batch), -1, out.shape[-1]).mean(axis=1)  # (B, C)
        scores = self._scores(self._gather(self._probabilities(out)))  # (B, K)
        if self.description.focus_db is not None and self.header.front_end == "yamnet":
            scores = scores * focus(batch, self.description.focus_db)[:, None]
        return scores[..., None]  # (B, K, 1)

    def _check_pictures(self, batch: NDArray[Any]) -> None:
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3 or not batch.size:
            raise ValueError(
                f"the object model {self.header.name!r} takes pictures, uint8 (B, H, W, 3); "
                f"given is {batch.dtype} {batch.shape}"
            )

    def _pictures(self, batch: NDArray[Any]) -> Values:
        given = self.description.input
        x = batch.astype(np.float32) * np.asarray(given.scale, np.float32)
        x += np.asarray(given.shift, np.float32)
        if given.channels == "bgr":
            x = x[..., ::-1]
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if given.layout == "nchw" else x)

    def _patches(self, batch: NDArray[Any]) -> Values:
        if batch.dtype != np.float32 or batch.ndim != 3 or not batch.size:
            raise ValueError(
                f"the sound model {self.header.name!r} takes windows, float32 (B, 96, 64); "
                f"given is {batch.dtype} {batch.shape}"
            )
        given = self.description.input
        x = batch * np.asarray(given.scale, np.float32)
        x += np.asarray(given.shift, np.float32)
        return np.ascontiguousarray(x[:, None] if self._rank == 4 else x)

    def _seen(self, batch: NDArray[Any]) -> Values:
        """Return (3, B, K, h, w): what speaks for and against each label.

        Where, is said by the picture as it is; how surely, by the peaks at all scales,
        weighted by scale.
        (A coarse map itself would misplace: half of its cells feel the border.)
        """
        self._check_pictures(batch)
        if self.description.lighten_to is not None:
            batch = np.stack([_lighten(p, self.description.lighten_to) for p in batch])
        height, width = batch.shape[1:3]
        multiple = self.description.picture_multiple
        seen = self._map(self._run(self._pictures(batch)))
        own_peak = seen.max(axis=(-2, -1), keepdims=True)
        peaks, weights = [own_peak], [1.0]
        for scale in self.description.scales[1:]:
            w, h = (
                max(1, math.ceil(n * scale / multiple - 0.5)) * multiple for n in (width, height)
            )
            if min(w, h) >= 2 * self.description.stride:  # one row of cells says nothing
                part = self._map(self._run(self._pictures(_resize(batch, w, h))))
                peaks.append(part.max(axis=(-2, -1), keepdims=True))
                weights.append(scale)
        peak = np.average(peaks, axis=0, weights=weights)
        return np.asarray(seen * (peak / np.maximum(own_peak, 1e-9)), np.float32)

    def _map(self, out: Values) -> Values:
        """Return (3, B, K, h, w) of the network's (B, C, h, w) or (B, C) output."""
        if out.ndim == 2:  # a classifier of whole pictures: a map of one cell
            out = out[:, :, None, None]
        elif self.description.output.layout == "nhwc":
            out = out.transpose(0, 3, 1, 2)
        out = _smooth(out, self.description.smoothing).transpose(0, 2, 3, 1)  # (B, h, w, C)
        return self._gather(self._probabilities(out)).transpose(0, 1, 4, 2, 3)

    def _run(self, x: Values) -> Values:
        network = self.running()
        try:
            out = network.run({self._input.name: x})[self._output.name]
        except (ModelError, ValueError) as error:
            raise ModelError(
                f"the model {self.header.name!r} failed on an input {x.shape} "
                f"({one_line(error)}); check the sizes in its description"
            ) from None
        return np.asarray(out, np.float32)

    def _probabilities(self, out: Values) -> Values:
        if self.description.output.activation == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-out)), np.float32)
        if self.description.output.activation == "softmax":
            powers = np.exp(out - out.max(axis=-1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
        return out

    def _gather(self, probabilities: Values) -> Values:
        """Return (3, ..., K): probability of each label's classes, support and competitors."""
        # Classes of a softmax exclude each other, so their probabilities add up; tags of a
        # sigmoid do not, so the strongest speaks for all. Competitors are rivals either way.
        exclusive = self.description.output.activation == "softmax"
        add = np.sum if exclusive else np.max
        found = np.zeros((3, *probabilities.shape[:-1], len(self._readings)), np.float32)
        for k, reading in enumerate(self._readings):
            found[0, ..., k] = add(probabilities[..., reading.own], axis=-1)
            if reading.support:
                found[1, ..., k] = add(probabilities[..., reading.support], axis=-1)
            if reading.competitors:
                found[2, ..., k] = probabilities[..., reading.competitors].max(axis=-1)
        return found

    def _scores(self, gathered: Values) -> Scores:
        """Return calibrated scores (B, K, ...) of what was gathered (3, B, K, ...)."""
        own, support, rival = _odds(gathered)
        evidence = np.log(np.maximum(own, self.description.support * support))
        lead = np.maximum(np.log(rival) - evidence, 0)
        slope, bias, competition = (
            values.reshape(-1, *[1] * (evidence.ndim - 2)) for values in self._logistic
        )
        z = slope * (evidence - competition * lead) + bias
        return np.asarray(1 / (1 + np.exp(-z)), np.float32)

    def _reading(self, evidence: Evidence, folder: Path) -> _Reading:
        numbers = self.description.numbers
        return _Reading(
            numbers(evidence.classes, folder),
            numbers(evidence.support, folder),
            numbers(evidence.competitors, folder),
        )

    def _calibration(self) -> Values:
        """Return slope, bias and competition, (3, K)."""
        given = self.description
        rows = [given.labels[label] for label in self.header.labels]
        return np.array(
            [
                [given.slope if row.slope is None else row.slope for row in rows],
                [given.bias if row.bias is None else row.bias for row in rows],
                [given.competition if r.competition is None else r.competition for r in rows],
            ],
            np.float32,
        )

    def _check_shapes(self, model: Path) -> None:
        n_classes = self.description.output.n_classes
        shape = self._output.shape
        axis = -1 if self.header.kind == "sound" or self.description.output.layout == "nhwc" else 1
        if n_classes and isinstance(shape[axis], int) and shape[axis] != n_classes:
            raise ModelError(
                f"{model}: has {shape[axis]} classes where its description "
                f"({self.header.name}) says {n_classes}; describe it in {model.stem}.toml beside it"
            )
        wanted = (4,) if self.header.kind == "object" else (3, 4)
        if self._rank not in wanted:
            raise ModelError(
                f"{model}: its input has {self._rank} axes; {self.header.kind} models take "
                f"{' or '.join(map(str, wanted))}"
            )


def _pick(model: Path, what: str, nodes: tuple[Tensor, ...], name: str | None) -> Tensor:
    """Return the input or output of that name, or the first one without a name."""
    for node in nodes:
        if name is None or node.name == name:
            return node
    names = ", ".join(node.name for node in nodes)
    raise ModelError(f"{model}: has no {what} {name!r} (it has {names}); correct its description")


def focus(patches: Values, half_db: float) -> Values:
    """Return how much of what a window holds sounds in the step that it stands for.

    Parameters
    ----------
    patches : float32, shape (B, 96, 64)
        Front end `yamnet`: log of magnitude, columns of 10 ms; the step is the middle 0.512 s.
    half_db : float
        A middle that is this much quieter than the whole gives 0.5.

    Returns
    -------
    focus : float32, shape (B,)
        Near 1 while the sound goes on, near 0 in a pause.

    Examples
    --------
    >>> pause = np.zeros((1, 96, 64), np.float32)
    >>> pause[:, MIDDLE] = np.log(0.001)
    >>> focus(np.zeros((1, 96, 64), np.float32), 12.0).round(2), focus(pause, 12.0).round(2)
    (array([1.], dtype=float32), array([0.], dtype=float32))
    """
    power = np.maximum(np.exp(patches) - PATCH_FLOOR, 1e-6) ** 2
    whole = power.mean(axis=(1, 2))
    middle = power[:, MIDDLE].mean(axis=(1, 2))
    quieter = 10 ** (-half_db / 10) * whole / middle
    return np.asarray(1 / (1 + quieter**2), np.float32)


def _lighten(picture: NDArray[Any], lights: float) -> NDArray[Any]:
    found = float(np.percentile(picture[::4, ::4], 95))
    gain = min(lights / max(found, 1.0), MAX_GAIN)
    return picture if gain <= 1 else cv2.convertScaleAbs(picture, alpha=gain)


def _resize(batch: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in batch])


def _odds(probability: Values) -> Values:
    clipped = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.asarray(clipped / (1 - clipped), np.float32)


def _smooth(maps: Values, cells: int) -> Values:
    """Return maps (B, C, h, w) averaged over a square of cells, edges repeated."""
    for axis in (2, 3) if cells > 1 else ():
        before = (cells - 1) // 2
        pad = [(0, 0)] * 4
        pad[axis] = (before, cells - 1 - before)
        padded = np.pad(maps, pad, mode="edge")
        n = maps.shape[axis]
        parts = [np.take(padded, range(i, i + n), axis=axis) for i in range(cells)]
        maps = np.asarray(np.sum(parts, axis=0) / np.float32(cells), np.float32)
    return maps
