"""Benchmarks as modules, for tests of what they compute."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "benchmarks"


@contextmanager
def loaded_benchmark(name: str) -> Iterator[ModuleType]:
    """``benchmarks/NAME.py`` as it is when it runs as a script: its neighbours can be imported by their bare names.

    They are forgotten afterwards.
    """
    sys.path.insert(0, str(FOLDER))
    known = set(sys.modules)
    neighbours = {path.stem for path in FOLDER.glob("*.py")}
    try:
        spec = importlib.util.spec_from_file_location(f"spatia_benchmark_{name}", FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))
        for added in (neighbours | {f"spatia_benchmark_{name}"}) & (set(sys.modules) - known):
            del sys.modules[added]
