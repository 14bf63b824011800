"""Settings of a training run, and the two recipes: as published, and for a CPU in minutes.

`PAPER` holds the settings of Liu, Yang and Jeng 2018, section IV-D; `SMALL` those that train our
quarter-width networks from scratch in minutes on a CPU.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from ..engines.engine import Kind


class TrainingError(ValueError):
    """Training that cannot begin or go on; the message is one line for the user."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result of a training run, besides the clips.

    Attributes
    ----------
    kind : {"sound", "object", "action"}
    width : float
        Multiplies the number of filters of every layer; 1 is the paper's network.
    seed, steps : int
        A step is one mini-batch.
    clips_per_batch, frames_per_clip : int
        The paper: 10 frames of one clip. Batches of several clips learn faster from scratch.
    optimiser : {"sgd", "adagrad", "adamw"}
    lr, momentum, weight_decay : float
        `momentum` is for sgd.
    schedule : {"constant", "cosine"}
        Cosine falls to zero over the run, after a rise over the first tenth, at most 100 steps.
    init : {"xavier", "he"}
        Of convolutions. Xavier is the paper's; He keeps the scale through eight ReLU layers.
    target : str
        Action only, such as "SOT0503".
    positive_weight : float
        Action only: how much more a target of 1 counts in the loss.
    pool : {"mean", "max", "linear"}
        Clip score from those of a sound's frames (paper: mean) or of a picture's places (paper:
        max). Linear is the mean weighted by the scores themselves: it does not ask a label to
        sound all through a clip, and lets every place of a picture learn, not only the highest.
    flip : bool
        Mirror half of the pictures and flows.
    zoom : float
        Largest zoom, in or out, as a part of 1; the view shifts as far as it allows.
    light : float
        Largest change of a picture's brightness, natural log.
    seconds : float
        Length of the sounds; from longer ones so much is taken, shorter ones are repeated.
    roll : float
        Object only: share of pictures that are shifted by any amount, around the edges. Without,
        a network may report an instrument at a fixed distance from where it is.
    mosaic : float
        Object only: share of batches of four half-size pictures a picture, each with its own tags:
        what is seen in one quarter must not be reported in another.
    gain : float
        Largest change of a sound's level, in dB.
    mix : float
        Share of sounds that a second clip is added to, with its tags.
    input_scale : float
        What the picture and action networks divide their input by.
    dropout : float
    validate_every : int
        Steps between validations, each followed by a checkpoint.
    validation_frames : int
        Frames a clip in a validation.
    """

    kind: Kind
    width: float = 0.25
    seed: int = 0
    steps: int = 3000
    clips_per_batch: int = 1
    frames_per_clip: int = 10
    optimiser: Literal["sgd", "adagrad", "adamw"] = "sgd"
    lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    init: Literal["xavier", "he"] = "xavier"
    target: str = "SOT0503"
    positive_weight: float = 1.0
    pool: Literal["mean", "max", "linear"] = "mean"
    flip: bool = False
    zoom: float = 0.0
    light: float = 0.0
    seconds: float = 10.0
    roll: float = 0.0
    mosaic: float = 0.0
    gain: float = 0.0
    mix: float = 0.0
    input_scale: float = 1.0
    dropout: float = 0.5
    validate_every: int = 200
    validation_frames: int = 5

    def __post_init__(self) -> None:
        """Refuse values that no run can use."""
        for name in ("steps", "clips_per_batch", "frames_per_clip", "validate_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.lr > 0:
            raise TrainingError(f"lr must be above 0, got {self.lr}")

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as numbers and text."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the configuration of `to_dict`; an unknown key is an error."""
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown:
            raise TrainingError(f"unknown setting {unknown[0]!r}")
        return cls(**values)


PAPER: dict[Kind, TrainConfig] = {
    "sound": TrainConfig(
        "sound", width=1, clips_per_batch=10, frames_per_clip=1, optimiser="adagrad", lr=0.01
    ),
    "object": TrainConfig("object", width=1, pool="max"),
    "action": TrainConfig("action", width=1),
}
SMALL: dict[Kind, TrainConfig] = {
    "sound": TrainConfig(
        "sound",
        steps=2000,
        clips_per_batch=16,
        frames_per_clip=1,
        optimiser="adamw",
        lr=0.002,
        weight_decay=0.01,
        schedule="cosine",
        pool="linear",
        gain=6.0,
        mix=0.5,
        dropout=0.3,
    ),
    "object": TrainConfig(
        "object",
        steps=3000,
        clips_per_batch=16,
        frames_per_clip=1,
        optimiser="adamw",
        lr=0.001,
        weight_decay=0.01,
        schedule="cosine",
        init="he",
        pool="linear",
        flip=True,
        zoom=0.4,
        light=0.2,
        roll=0.4,
        mosaic=0.6,
        input_scale=58.0,
        dropout=0.2,
    ),
    "action": TrainConfig(
        "action",
        steps=1500,
        clips_per_batch=16,
        frames_per_clip=1,
        optimiser="adamw",
        lr=0.001,
        weight_decay=0.01,
        schedule="cosine",
        init="he",
        positive_weight=5.0,
        flip=True,
        zoom=0.25,
        dropout=0.2,
    ),
}
RECIPES = {"paper": PAPER, "small": SMALL}
