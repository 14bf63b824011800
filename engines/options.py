"""What runs the networks: the user's wish, as it travels from the command line to the processes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Backend = Literal["onnx", "cuda", "openvino", "tensorrt"]
Wish = Literal["auto", "onnx", "cuda", "openvino", "tensorrt"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
FlowWish = Literal["auto", "farneback", "dis", "network"]


class EngineOptions(BaseModel):
    """Which engine runs the networks, and how.

    Attributes
    ----------
    engine : {"auto", "onnx", "cuda", "openvino", "tensorrt"}
        auto: what was compiled for this machine, else the best there is (`backends.choose`).
        Another one: that, or a `ModelError` that says why not.
    precision : {"fp32", "fp16", "bf16", "int8"} or None
        None: that of the compiled model, else fp32. Others than fp32 must have been compiled,
        because their accuracy was checked then.
    device : int
        Number of the GPU.
    threads : int
        Inside one operator, on the CPU. One is best where several processes share the cores.
    builds : bool
        With `auto`: whether a plan that TensorRT lacks is built in the background. `detect` and
        `run` do so; a program that opens networks for a moment would wait for nothing.

    Examples
    --------
    >>> EngineOptions().engine
    'auto'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Wish = "auto"
    precision: Precision | None = None
    device: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    builds: bool = False
