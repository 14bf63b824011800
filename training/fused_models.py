"""A set of models in which the action network computes the optical flow itself: a folder.

====================  ==========================================================
file                  what
====================  ==========================================================
`action.onnx`         the flow network in front of the action network
`sound.onnx` etc.     copies of the other models, with what describes them
`playspot.toml`       the settings of the set, if it has its own
====================  ==========================================================
"""

from pathlib import Path

from ..engines.catalogue import SETTINGS_FILE, ModelSet, find_models
from ..engines.engine import ModelError
from ..engines.fuse import fuse_flow
from ..stream.whole_file import whole_file
from .adapt_models import copy_file, copy_model
from .user_errors import make_folder


def write_fused(models: ModelSet, folder: Path) -> ModelSet:
    """Write a set of models whose action network takes frames, for `--models`.

    Parameters
    ----------
    models : ModelSet
        With an action network that takes flow stacks.
    folder : Path
        Models of an earlier time in it are replaced.

    Returns
    -------
    models : ModelSet
        That of the folder.

    Raises
    ------
    ModelError
        If there is no such network, or the folder is where the models are from.
    """
    action = models.models.get("action")
    if action is None or action.path is None:
        raise ModelError("--fuse-flow: no action network in this set; give --models with one")
    make_folder(folder)
    paths = [model.path for model in models.models.values() if model.path is not None]
    if any(path.parent.samefile(folder) for path in paths):
        raise ModelError(f"{folder}: is where the models are from; give another --out")
    fused = fuse_flow(action.path.read_bytes(), str(action.path))
    kept = {"action.onnx"}
    for kind, model in models.models.items():
        if kind != "action" and model.path is not None:
            kept.add(copy_model(model, folder))
    with whole_file(folder / "action.onnx") as partial:
        partial.write_bytes(fused)
    for path in folder.glob("*.onnx"):
        if path.name not in kept:
            path.unlink()
    settings = action.path.with_name(SETTINGS_FILE)
    if settings.is_file():
        copy_file(settings, folder / SETTINGS_FILE)
    else:
        (folder / SETTINGS_FILE).unlink(missing_ok=True)
    return find_models(folder)
