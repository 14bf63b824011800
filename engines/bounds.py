"""How far the scores of a converted network may be from those of ONNX Runtime at fp32.

Rounding, not another network: a few times what the bundled networks and the public ones show
(docs/engines.md). Networks that are compiled and plans that are built meanwhile are held to them.
"""

from .options import Precision

# Of a single score. In int8 one cell of a map may jump, which says little.
LARGEST: dict[Precision, float | None] = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.3, "int8": None}
MEAN: dict[Precision, float] = {"fp32": 1e-5, "fp16": 0.001, "bf16": 0.005, "int8": 0.02}
