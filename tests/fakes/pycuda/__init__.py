"""A strict fake of pycuda: `PYTHONPATH=tests/fakes`, or the fixture `fake_gpu`.

See `fake_device` for what it checks, and for the variable `FAKE_GPU` that makes it fail.
"""

VERSION = (2026, 1)
VERSION_TEXT = "2026.1"
