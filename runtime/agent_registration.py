"""Makes Gymnasium know the environments, without importing it before anybody else does."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_ENTRY_POINT = "spatia.runtime.environment:WalkEnv"
_TASKS = {"Walk": None, "PointGoal": "pointgoal", "Exploration": "exploration"}
MAX_EPISODE_STEPS = 500


def register() -> None:
    """Put ``spatia/Walk-v0``, ``spatia/PointGoal-v0`` and ``spatia/Exploration-v0`` into Gymnasium's registry."""
    import gymnasium

    for name, task in _TASKS.items():
        env_id = f"spatia/{name}-v0"
        if env_id not in gymnasium.registry:
            kwargs = {} if task is None else {"task": task}
            gymnasium.register(env_id, _ENTRY_POINT, max_episode_steps=MAX_EPISODE_STEPS, kwargs=kwargs)


def register_when_imported() -> None:
    """Register now if Gymnasium is there, otherwise as soon as somebody imports it."""
    if "gymnasium" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _Watch())


class _Watch(importlib.abc.MetaPathFinder):
    """Waits for Gymnasium's import, then registers and is gone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find Gymnasium as usual, with a loader that registers afterwards; nothing else."""
        if fullname != "gymnasium":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(self, spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """Another loader, and the registration after it."""

    def __init__(self, watch: _Watch, loader: Any) -> None:
        self._watch, self._loader = watch, loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the other."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the other, then register."""
        if self._watch in sys.meta_path:
            sys.meta_path.remove(self._watch)
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        register()
