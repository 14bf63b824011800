"""docs/architecture.md names the place of every module of `training/` and `models/`."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_module_of_training_and_models_has_one_place_in_the_table() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("\n## Training")[2].partition("\n## ")[0]
    rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    named = Counter(re.findall(r"`(\w+)\.py`", rows))
    modules = {
        path.stem
        for folder in ("training", "models")
        for path in (ROOT / folder).glob("*.py")
        if path.stem != "__init__"
    }
    assert named == Counter(modules)
