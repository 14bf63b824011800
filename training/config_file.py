"""The settings of a training run in a YAML file: read over a recipe, and saved with the run.

```yaml
steps: 500        # any field of `TrainConfig`; the others are the recipe's
lr: 0.002
```
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..stream.config_errors import dotted, explain
from ..stream.configuration import ConfigError, read_text
from ..stream.marked_yaml import read_yaml
from ..stream.one_line import printable
from ..stream.whole_file import whole_file
from .config import TrainConfig


def read_settings(path: Path, recipe: TrainConfig) -> dict[str, Any]:
    """Return the settings that a file holds, by name.

    Parameters
    ----------
    path : Path
    recipe : TrainConfig
        What the file does not hold, and the kind of network it must be for.

    Raises
    ------
    ConfigError
        With a line for everything that is wrong, and its place in the file.
    """
    marked = read_yaml(read_text(path))
    problems = {(p.line, dotted(p.loc), p.message) for p in marked.problems}
    given = marked.data or {}
    if not isinstance(given, dict):
        problems.add((1, "", "no list of `key: value` lines, such as `steps: 500`"))
    elif (kind := given.get("kind", recipe.kind)) != recipe.kind:
        line = marked.place(("kind",)).line
        problems.add((line, "kind", f"is {kind!r}, but a {recipe.kind} network is to be trained"))
    else:
        try:
            config = TrainConfig.model_validate(recipe.to_dict() | given)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                place = marked.place(item["loc"])
                message = explain(item, item["loc"], place.text, TrainConfig)
                is_key = item["type"] == "extra_forbidden"
                line = place.key_line if is_key else place.line
                problems.add((line, dotted(item["loc"]), message))
        else:
            given = {name: getattr(config, name) for name in given}
    if problems:
        raise ConfigError(
            [
                printable(f"{path}:{line}: {name}: {message}".replace(": : ", ": "))
                for line, name, message in sorted(problems)
            ]
        )
    return given


def save_config(path: Path, config: TrainConfig) -> None:
    """Write all settings of a run; `playspot train KIND --config` takes the file again."""
    text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
