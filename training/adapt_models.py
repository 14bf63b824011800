"""The models of an adaptation: teachers in, a folder for `detect --models` out.

====================  ==========================================================
file                  what
====================  ==========================================================
`action.onnx`         the adapted action model
`sound...onnx` etc.   copies of the teachers, with what describes them
`playspot.toml`       how the three are fused and decoded
====================  ==========================================================
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..engines.catalogue import SETTINGS_FILE, Model, ModelSet, find_models, identify
from ..engines.description import Description
from ..engines.engine import Engine, ModelError
from ..engines.options import ORIGINAL
from ..engines.settings import Decoding, ModalityName
from ..models.labels import LABELS
from ..stream.whole_file import whole_file

TEACHERS: tuple[ModalityName, ...] = ("sound", "object")
WRITTEN = "# Written by `playspot adapt`."


@dataclass(frozen=True)
class Teachers:
    """What an adaptation begins with.

    Attributes
    ----------
    models : dict of modality to Model
        Sound and object, and the action model that was used with them so far.
    decoding : Decoding
        Of these three together.
    """

    models: dict[ModalityName, Model]
    decoding: Decoding

    def load(self, *kinds: ModalityName) -> dict[str, Engine]:
        """Return the engines of some of them: nothing compiled, scores are kept by their hash.

        Raises
        ------
        ModelError
            If one cannot be used, or has other labels than ours.
        """
        engines: dict[str, Engine] = {kind: self.models[kind].load(ORIGINAL) for kind in kinds}
        for kind, engine in engines.items():
            if engine.header.labels != LABELS:
                raise ModelError(
                    f"the {kind} model {engine.header.name!r} has the labels "
                    f"{', '.join(engine.header.labels)}; a teacher must have {', '.join(LABELS)}"
                )
        return engines


def find_teachers(folder: Path | None, sound: Path | None, object_: Path | None) -> Teachers:
    """Return the teachers: of a folder, else pulled ones, else bundled; single ones go before.

    Raises
    ------
    ModelError
        If a model cannot be used or is of another kind.
    """
    found: ModelSet = find_models(folder)
    models = dict(found.models)
    decoding = found.decoding
    for kind, path in zip(TEACHERS, (sound, object_), strict=True):
        if path is None:
            continue
        if not path.is_file():
            raise ModelError(f"--{kind} {path}: no such file")
        model = identify(path, str(path.parent))
        if model is None or model.header.kind != kind:
            is_a = f"is a model of kind {model.header.kind}" if model else "is no model of ours"
            raise ModelError(f"--{kind} {path}: {is_a}; give an ONNX model of kind {kind}")
        models[kind] = model
        decoding = Decoding()
    return Teachers(models, decoding)


def check_out(out: Path) -> None:
    """Refuse a folder of models that are not from an adaptation: they would be in the way.

    Raises
    ------
    ModelError
        If there are such models.
    """
    models = sorted(path.name for path in out.glob("*.onnx"))
    try:
        is_ours = (out / SETTINGS_FILE).read_text(encoding="utf-8").startswith(WRITTEN)
    except (OSError, UnicodeError):
        is_ours = False
    if models and not is_ours:
        raise ModelError(f"{out}: has models of its own, such as {models[0]}; give another --out")


def copy_teachers(teachers: Teachers, out: Path) -> None:
    """Put the teachers into a folder; those of an earlier adaptation are removed."""
    kept = {"action.onnx"}
    for kind in TEACHERS:
        model = teachers.models[kind]
        if model.path is None:
            continue
        kept.add(copy_model(model, out))
    for path in out.glob("*.onnx"):
        if path.name not in kept:
            path.unlink()


def copy_model(model: Model, out: Path) -> str:
    """Put a model file into a folder, with what describes it; return its name there."""
    assert model.path is not None
    name = model.path.name if model.description else f"{model.header.kind}.onnx"
    copy_file(model.path, out / name)
    beside = model.path.with_suffix(".toml")
    if model.description is not None:
        if beside.is_file():
            copy_file(beside, out / beside.name)
        _copy_labels(model.description, model.path.parent, out)
    return name


def _copy_labels(description: Description, home: Path, out: Path) -> None:
    name = Path(description.labels_file or ".")
    is_inside = not name.is_absolute() and ".." not in name.parts
    if is_inside and (home / name).is_file():
        copy_file(home / name, out / name)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    if target.exists() and source.samefile(target):
        return
    with whole_file(target) as part:
        shutil.copyfile(source, part)


def write_decoding(decoding: Decoding, note: str, out: Path) -> None:
    """Write the table `decoding` of a folder of models, which `detect` reads."""
    values = decoding.model_dump(exclude_defaults=True)
    lines = [WRITTEN, f"# {' '.join(note.split())}", "[decoding]"]
    lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
    with whole_file(out / SETTINGS_FILE) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)  # numbers and text are the same in both
