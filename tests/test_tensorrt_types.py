"""Every call of TensorRT, and the fake of it, against the real Python bindings.

TensorRT itself is on no package index; its bindings are, and load with empty libraries in place
of its own. They have every class, method and argument of the release. mypy reads stubs that are
made from them.

What is installed is the newest release. Another one, such as the oldest that is supported, is
checked by hand; its wheel needs no installation:

    pip download --no-deps -d wheel 'tensorrt-cu13-bindings==10.16.*' && unzip wheel/*.whl -d old
    PYTHONPATH=old pytest tests/test_tensorrt_types.py
"""

import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engines", "models", "stream", "training")

# What the bindings want of each library when they are loaded; nothing of it is called.
LIBRARIES = {
    "nvinfer": [
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ],
    "nvinfer_plugin": ["initLibNvInferPlugins"],
    "nvonnxparser": [
        "createNvOnnxParserRefitter_INTERNAL",
        "createNvOnnxParser_INTERNAL",
        "getNvOnnxParserVersion",
    ],
}

# What pybind11's signatures, from which the stubs are made, do not say: that a name of the module
# hides `bool`, that a tuple does for a `Dims` and host memory is a buffer (their docstrings say
# so), that no argument without a default follows one that has it, that a parser's errors are of
# the class ParserError, and that a progress monitor is called with numbers.
CORRECTIONS = [
    (r"(-> |: |\[)bool\b(?!: DataType)", r"\1builtins.bool"),
    (r"(\w+: )Dims(?=[,)])", r"\1Dims | collections.abc.Sequence[int]"),
    (r"(channel_axis: [\w.]+)(?=\) -> IScaleLayer)", r"\1 = ..."),
    (r"def get_error\(self.*\.\.\.", "def get_error(self, index: int) -> ParserError: ..."),
    (r"(def (?:phase_start|step_complete)\(.*: )typing\.SupportsInt", r"\1int"),
    (r"(class IHostMemory:\n)", r"\1    def __buffer__(self, flags: int, /) -> memoryview: ...\n"),
]
OF_PYTHON = """
import builtins
__version__: str
def nptype(trt_type: DataType) -> type[Any]: ...
def volume(iterable: collections.abc.Iterable[int]) -> int: ...
"""

# In the process that loads the bindings: their stubs, and the signatures of those classes that
# the fake has, from the docstrings.
READ = """
import json, sys, tensorrt_bindings as trt
from mypy.stubgen import main
main(["--inspect-mode", "-m", "tensorrt_bindings.tensorrt", "-o", sys.argv[1], "--quiet"])
found = {}
for name in sys.argv[2].split(","):
    thing = getattr(trt, name, None)
    if isinstance(thing, type):
        found[name] = {m: getattr(thing, m).__doc__ or "" for m in dir(thing)}
        members = getattr(thing, "__members__", {})
        found[name]["__members__"] = {key: int(value) for key, value in members.items()}
    elif thing is not None:
        found[name] = thing.__doc__ or ""
found["__version__"] = trt.__version__
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[Any]:
    """Return the fake module."""
    folder = str(Path(__file__).with_name("fakes"))
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("tensorrt")
    finally:
        importlib.import_module("pycuda.fake_device").reset()
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.split(".")[0] in ("pycuda", "tensorrt")]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def real(fake: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the real bindings have, and under "stubs" the folder of their stubs."""
    if importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("needs tensorrt-cu13-bindings, which are for Linux on x86_64 only")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler, for empty libraries in place of TensorRT's")
    folder = tmp_path_factory.mktemp("tensorrt")
    version = importlib.metadata.version("tensorrt-cu13-bindings").split(".")[0]
    for library, names in LIBRARIES.items():
        source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in names)
        path = folder / f"lib{library}.so.{version}"
        command = [compiler, "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(path)]
        subprocess.run(command, input=source, text=True, check=True, timeout=60)
    command = [sys.executable, "-c", READ, str(folder / "raw"), ",".join(fake.__all__)]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    stub = (folder / "raw" / "tensorrt_bindings" / "tensorrt.pyi").read_text()
    for pattern, replacement in CORRECTIONS:
        stub = re.sub(pattern, replacement, stub)
    (folder / "stubs" / "tensorrt").mkdir(parents=True)
    (folder / "stubs" / "tensorrt" / "__init__.pyi").write_text(stub + OF_PYTHON)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "stubs": folder / "stubs"}


def check(folder: Path, files: list[str], stubs: Path) -> list[str]:
    """Return what `mypy --strict` says of some files."""
    links = folder / "links" / "playspot"
    links.mkdir(parents=True)
    for package in PACKAGES:
        (links / package).symlink_to(ROOT / package)
    # What is not TensorRT is not followed: `make types` has checked it. Without that, some of the
    # rules of --strict have nothing to hold on to.
    settings = f"""[mypy]
strict = true
follow_imports = skip
mypy_path = {stubs}:{folder / "links"}
explicit_package_bases = true
disallow_subclassing_any = false
disallow_untyped_decorators = false
warn_return_any = false
warn_unused_ignores = false
disable_error_code = import-not-found, import-untyped
cache_dir = {folder / "cache"}
[mypy-tensorrt.*]
ignore_errors = true
[mypy-numpy.*]
follow_imports = skip
follow_imports_for_stubs = true
"""
    (folder / "mypy.ini").write_text(settings)
    command = [sys.executable, "-m", "mypy", "--config-file", str(folder / "mypy.ini")]
    command += ["--no-error-summary", "--hide-error-context", "--show-error-codes", *files]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_every_call_of_tensorrt_is_one_that_the_real_bindings_have(
    real: dict[str, Any], tmp_path: Path
) -> None:
    files = [
        f"links/playspot/{path.relative_to(ROOT)}"
        for package in PACKAGES
        for path in sorted((ROOT / package).glob("*.py"))
        if re.search(r"^\s*import tensorrt\b", path.read_text(), re.MULTILINE)
    ]
    assert "links/playspot/engines/trt.py" in files
    found = check(tmp_path, files, real["stubs"])
    assert not found, "\n".join(found)


WRONG = """
import tensorrt as trt

def use(config: trt.IBuilderConfig, context: trt.IExecutionContext, engine: trt.ICudaEngine):
    context.execute_async_v2([], 0)
    context.set_tensor_adress("x", 0)
    context.set_input_shape("x")
    context.set_input_shape((1, 2), "x")
    engine.get_binding_index("x")
    trt.Runtime()
"""
# Of release 10, in which they are of no use.
GONE_IN_11 = """    config.set_flag(trt.BuilderFlag.FP16)
    config.int8_calibrator = None
    trt.Builder(trt.Logger()).create_network(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
"""


def test_a_call_that_they_do_not_have_is_found(real: dict[str, Any], tmp_path: Path) -> None:
    wrong = WRONG + GONE_IN_11 * (_release(real)[0] >= 11)
    (tmp_path / "wrong.py").write_text(wrong)
    found = check(tmp_path, ["wrong.py"], real["stubs"])
    lines = {int(line.split(":")[1]) for line in found if ": error:" in line}
    assert lines >= set(range(5, len(wrong.splitlines()) + 1))


def test_what_is_given_tensorrt_is_not_hidden_behind_any() -> None:
    """A parameter `trt: Any`, or a builder that is `Any`, would be checked by nobody."""
    names = "trt|builder|network|config|parser|profile|engine|context|runtime"
    for package in PACKAGES:
        for path in (ROOT / package).glob("*.py"):
            text = path.read_text()
            if re.search(r"^\s*import tensorrt\b", text, re.MULTILINE):
                assert not re.findall(rf"\b({names}): Any\b", text), path.name


# -- the fake ------------------------------------------------------------------------------------


def arguments(signature: str) -> list[str]:
    """Return the names of the arguments of one signature of pybind11, without self."""
    # Types have commas and brackets of their own; names come after "(" or ", " and before ": ".
    depth, inner = 0, ""
    for letter in signature[signature.index("(") + 1 : signature.rindex(") ->")]:
        depth += letter in "[(<"
        depth -= letter in "])>"
        inner += letter if depth == 0 else ""
    names = [part.split(":")[0].strip() for part in inner.split(", ") if ":" in part]
    return names[1:]


def signatures(doc: str, name: str) -> list[list[str]]:
    """Return the arguments of each overload."""
    lines = re.findall(rf"^(?:\d+\. )?({re.escape(name)}\(.*\) -> .*)$", doc, re.MULTILINE)
    return [arguments(line) for line in lines if "*args" not in line]


def test_the_fake_has_only_what_the_real_one_has(fake: Any, real: dict[str, Any]) -> None:
    missing = [name for name in fake.__all__ if name not in real]
    for name in fake.__all__:
        thing = getattr(fake, name)
        if isinstance(thing, type) and not hasattr(thing, "__members__"):
            own = [m for m in dir(thing) if not m.startswith("_") and m not in dir(int)]
            missing += [f"{name}.{m}" for m in own if m not in real[name]]
    assert missing == []


def test_the_fakes_constants_are_the_real_ones(fake: Any, real: dict[str, Any]) -> None:
    _need_the_newest(fake, real)  # numbers change, and names are added
    for name in fake.__all__:
        thing = getattr(fake, name)
        if isinstance(thing, type) and hasattr(thing, "__members__"):
            members = {key: int(value) for key, value in thing.__members__.items()}
            assert members == real[name]["__members__"], name


def test_the_fakes_arguments_are_the_real_ones(fake: Any, real: dict[str, Any]) -> None:
    n_compared, wrong = 0, []
    for name in fake.__all__:
        thing = getattr(fake, name)
        if not isinstance(thing, type) or hasattr(thing, "__members__"):
            continue
        for method, value in inspect.getmembers(thing, inspect.isfunction):
            if method.startswith("_") and method != "__init__":
                continue
            expected = signatures(real[name].get(method, ""), method)
            if not expected:
                continue  # no constructor, or one in Python
            own = [*inspect.signature(value).parameters][1:]
            n_compared += 1
            if own not in expected:
                wrong.append(f"{name}.{method}({', '.join(own)}) is {expected}")
    assert wrong == []
    assert n_compared > 60


def test_the_fake_is_of_the_newest_release(fake: Any, real: dict[str, Any]) -> None:
    _need_the_newest(fake, real)
    assert _release(vars(fake)) == _release(real)


def _need_the_newest(fake: Any, real: dict[str, Any]) -> None:
    if _release(real) < _release(vars(fake)):
        pytest.skip(f"TensorRT {real['__version__']} was asked for by hand")


def _release(module: dict[str, Any]) -> list[int]:
    return [int(part) for part in module["__version__"].split(".")[:2]]
