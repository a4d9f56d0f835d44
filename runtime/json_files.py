"""JSON files that appear whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write JSON whole or not at all; NaN becomes null."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(_finite(facts), indent=2, sort_keys=False) + "\n", encoding="utf-8")
    shutil.move(partial, path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
