"""Which models there are and which of them are used: a folder's, else pulled ones, else bundled.

A model set is one model for each modality and the settings that its scores are fused and decoded
with. It is known without loading a network, so it can be described, and sent to another process.
"""

import os
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .backends import Choice, choose
from .description import Description, find_description
from .engine import Engine, Header, ModelError
from .metadata import find_header, model_hash, one_line, parse_model, read_model
from .motion import MotionEngine, motion_header
from .network import Network
from .options import EngineOptions
from .settings import MODALITIES, Decoding, ModalityName

SETTINGS_FILE = "playspot.toml"  # in a folder of models: the table `decoding`
BETTER = "`playspot models pull` fetches public models trained on real pictures and sound (8 MB)"


@dataclass(frozen=True)
class Model:
    """One model of a set.

    Attributes
    ----------
    header : Header
    path : Path or None
        The model file; None for the motion measure.
    origin : str
        Where it is from, for people.
    description : Description or None
        Of a public model.
    """

    header: Header
    path: Path | None
    origin: str
    description: Description | None = None

    def choice(self, options: EngineOptions) -> Choice | None:
        """Return what will run it, or None for the motion measure.

        Raises
        ------
        ModelError
            If the file cannot be read, or what was asked for cannot be.
        """
        return None if self.path is None else choose(model_hash(read_model(self.path)), options)

    def load(self, options: EngineOptions | None = None, network: Network | None = None) -> Engine:
        """Return the engine, run as the options say, or by a network that is there already.

        Raises
        ------
        ModelError
            If the file cannot be used.
        """
        if self.path is None:
            return MotionEngine(self.header.labels)
        if self.description is None:
            from .model_engine import ModelEngine

            return ModelEngine(self.path, options=options, network=network)
        from .teacher import TeacherEngine

        return TeacherEngine(self.path, self.description, options=options, network=network)


@dataclass(frozen=True)
class ModelSet:
    """The models that are used together.

    Attributes
    ----------
    models : dict of modality to Model
    decoding : Decoding
        Fusion weights and thresholds that go with them.
    notes : tuple of str
        What else to tell the user.
    options : EngineOptions
        What runs them.
    """

    models: dict[ModalityName, Model]
    decoding: Decoding
    notes: tuple[str, ...] = field(default=())
    options: EngineOptions = field(default_factory=EngineOptions)

    @property
    def headers(self) -> dict[ModalityName, Header]:
        """The header of each modality's model."""
        return {name: model.header for name, model in self.models.items()}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that all models share."""
        return next(iter(self.models.values())).header.labels

    def load(self) -> dict[ModalityName, Engine]:
        """Return an engine for each modality; this creates the sessions.

        Raises
        ------
        ModelError
            If a model cannot be used.
        """
        return {name: model.load(self.options) for name, model in self.models.items()}

    def describe(self) -> list[str]:
        """Return lines for people: which models are used, what runs them, where better ones are.

        Raises
        ------
        ModelError
            If an engine was asked for that cannot be.
        """
        lines = [
            f"{name}: {model.header.name} ({model.origin})" for name, model in self.models.items()
        ]
        users: dict[str, list[str]] = {}
        for name, model in self.models.items():
            if choice := model.choice(self.options):
                users.setdefault(str(choice), []).append(name)
        lines += [f"engine of {', '.join(names)}: {choice}" for choice, names in users.items()]
        return [*lines, *self.notes]


def cache_folder() -> Path:
    """Return where pulled models lie: $PLAYSPOT_MODELS, or `playspot/models` in the user's cache.

    Examples
    --------
    >>> cache_folder().name
    'models'
    """
    if given := os.environ.get("PLAYSPOT_MODELS"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "playspot" / "models"


def find_models(folder: str | Path | None = None) -> ModelSet:
    """Return the best model set there is.

    Parameters
    ----------
    folder : path, optional
        Of model files; what it lacks is taken as without a folder. None: the user's pulled
        models, else the bundled ones.

    Returns
    -------
    models : ModelSet

    Raises
    ------
    ModelError
        If the folder holds no model, one of its models cannot be used, or the models do not
        share their labels.
    """
    if folder is not None:
        found = scan(Path(folder), str(folder))
        if not found:
            raise ModelError(f"{folder}: no model in this folder; {BETTER}")
        return _complete(found, Path(folder))
    pulled = cache_folder()
    found = scan(pulled, "pulled") if pulled.is_dir() else {}
    return _complete(found, pulled if found else None)


def scan(folder: Path, origin: str) -> dict[ModalityName, Model]:
    """Return the models of a folder, the first by name of each kind; other files are passed over.

    Raises
    ------
    ModelError
        If there is no such folder, or a model in it cannot be used.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; give one that holds .onnx files")
    found: dict[ModalityName, Model] = {}
    for path in sorted(folder.glob("*.onnx")):
        model = identify(path, origin)
        if model is not None:
            found.setdefault(model.header.kind, model)
    return found


def identify(path: Path, origin: str) -> Model | None:
    """Return what a model file is: described, one of ours, or None for another ONNX file.

    Raises
    ------
    ModelError
        If the file or its description is damaged.
    """
    description = find_description(path)
    if description is not None:
        return Model(description.header, path, origin, description)
    header = find_header(parse_model(read_model(path), str(path)), str(path))
    return None if header is None else Model(header, path, origin)


def bundled() -> dict[ModalityName, Model]:
    """Return the models that are shipped in the package."""
    home = resources.files(f"{__package__.rpartition('.')[0]}.models")
    with resources.as_file(home) as folder:
        return scan(folder, "bundled") if folder.is_dir() else {}


def bundled_models() -> ModelSet:
    """Return the set of the models that are shipped in the package.

    Raises
    ------
    ModelError
        If this copy has none.
    """
    return _complete({}, None)


def _complete(found: dict[ModalityName, Model], folder: Path | None) -> ModelSet:
    """Add what a folder lacks, and the settings that fit."""
    notes: tuple[str, ...] = ()
    models = dict(found)
    is_teacher = any(model.description for model in found.values())
    if "action" not in models and is_teacher:
        labels = next(iter(found.values())).header.labels
        models["action"] = Model(motion_header(labels), None, "built in")
    if len(models) < len(MODALITIES):  # only then are the bundled ones read
        models = bundled() | models
    if not models:
        raise ModelError(f"no models are bundled with this copy; {BETTER}")
    if not found:
        notes = (f"better ones: {BETTER}",)
    ordered = {name: models[name] for name in MODALITIES if name in models}
    _check_labels(ordered)
    return ModelSet(ordered, _decoding(ordered, folder), notes)


def _check_labels(models: dict[ModalityName, Model]) -> None:
    (first, reference), *others = models.items()
    for name, model in others:
        if model.header.labels != reference.header.labels:
            raise ModelError(
                f"the {name} model {model.header.name!r} has the labels "
                f"{', '.join(model.header.labels)} and the {first} model "
                f"{', '.join(reference.header.labels)}; describe or train both for the same"
            )


def _decoding(models: dict[ModalityName, Model], folder: Path | None) -> Decoding:
    """Return the settings of the folder, else those shipped for this set, else the defaults."""
    if folder is not None and (folder / SETTINGS_FILE).is_file():
        return read_decoding(folder / SETTINGS_FILE)
    names = {name: model.header.name for name, model in models.items()}
    for entry in _shipped_sets():
        if entry["models"] == names:
            return Decoding.model_validate(entry["decoding"])
    return Decoding()


def read_decoding(path: Path) -> Decoding:
    """Return the table `decoding` of a TOML file.

    Raises
    ------
    ModelError
        If it cannot be read or has an unknown key or an impossible value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: no readable TOML ({one_line(error)})") from None
    try:
        return Decoding.model_validate(table.get("decoding", {}))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("decoding", *first["loc"]))
        raise ModelError(f"{path}: {place}: {' '.join(first['msg'].split())[:150]}") from None


@cache
def _shipped_sets() -> list[dict[str, Any]]:
    text = (resources.files(__package__) / "sets.toml").read_text(encoding="utf-8")
    sets: list[dict[str, Any]] = tomllib.loads(text)["set"]
    return sets
