"""docs/architecture.md names the place of every module of `engines/`, `training/` and `models/`."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("title", "folders"), [("Engines", ["engines"]), ("Training", ["training", "models"])]
)
def test_every_module_has_one_place_in_the_table(title: str, folders: list[str]) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {title}")[2].partition("\n## ")[0]
    rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    named = Counter(re.findall(r"`(\w+)\.py`", rows))
    modules = {
        path.stem
        for folder in folders
        for path in (ROOT / folder).glob("*.py")
        if path.stem != "__init__"
    }
    assert named == Counter(modules)
