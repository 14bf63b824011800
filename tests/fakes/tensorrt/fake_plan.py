"""A fake plan: magic, SHA-256, the length of its head, the head in JSON, and the ONNX."""

import hashlib
import json
import os
from typing import Any

MAGIC = b"fake plan\n"


def version() -> str:
    return os.environ.get("FAKE_TENSORRT_VERSION", "11.4.0.106")


def write_plan(content: bytes, profile: Any, tensors: Any) -> bytes:
    head = json.dumps({"version": version(), "profile": profile, **tensors}).encode()
    digest = hashlib.sha256(head + content).digest()
    return MAGIC + digest + len(head).to_bytes(4, "little") + head + content


def read_plan(plan: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the head and the ONNX of a plan; ValueError with what TensorRT would say of it."""
    start = len(MAGIC) + 36
    size = int.from_bytes(plan[start - 4 : start], "little")
    body = plan[start:]
    if plan[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != plan[start - 36 : start - 4]:
        raise ValueError("Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.")
    head: dict[str, Any] = json.loads(body[:size])
    if head["version"] != version():
        raise ValueError(
            "The engine plan file is not compatible with this version of TensorRT, expecting "
            f"library version {version()} got {head['version']}, please rebuild."
        )
    return head, body[size:]
