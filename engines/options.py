"""What runs the networks: the user's wish, as it travels from the command line to the processes."""

from typing import Final, Literal

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
        auto: the fastest of what was compiled for this machine and passed its checks, if it is
        faster than what there is without (`backends.choose`). Another one: that, or a `ModelError`
        that says why not.
    precision : {"fp32", "fp16", "bf16", "int8"} or None
        None: that of the fastest on the engine, the original among them where it was timed.
        Another one is taken, slow as it may be, and, unless it is fp32, must have been compiled,
        because its accuracy was checked then. On ONNX Runtime fp32 is the model's own file and
        nothing compiled: see `ORIGINAL`.
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


# For what is compared with, learnt from or kept by a model's hash: the file itself, on every CPU.
ORIGINAL: Final = EngineOptions(engine="onnx", precision="fp32")
