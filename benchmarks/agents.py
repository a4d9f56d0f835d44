"""How fast agents walk the garage: actions a second by task, and what going back costs.

    python benchmarks/agents.py [--quick] [--json FILE]

Nothing is generated: with a generator an action takes as long as the clips that it asks for.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import cast

import gymnasium
import spatia
from spatia.runtime.agent_actions import Action
from spatia.runtime.environment import WalkEnv


def milliseconds(call: Callable[[], object], times: int = 5) -> float:
    """Median time of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return median(taken) * 1e3


def measure(num_actions: int) -> list[dict[str, float | str]]:
    """A row for each task; times in milliseconds."""
    world = spatia.samples.garage()
    rows: list[dict[str, float | str]] = []
    for task in ("free", "pointgoal", "exploration"):
        env = gymnasium.make("spatia/Walk-v0", world=world, task=task, generator="none", fov_rad=1.4)
        env.reset(seed=0)
        env.step(Action.TURN_LEFT)
        start = time.perf_counter()
        for k in range(num_actions):
            env.step(Action.FORWARD if k % 4 == 3 else Action.TURN_LEFT)
        seconds = time.perf_counter() - start
        walk = cast(WalkEnv, env.unwrapped)
        snapshot = walk.snapshot()
        rows.append(
            {
                "task": task,
                "actions_per_s": num_actions / seconds,
                "snapshot_ms": milliseconds(walk.snapshot),
                "restore_ms": milliseconds(partial(walk.restore, snapshot)),
                "reset_ms": milliseconds(partial(walk.reset, seed=1)),
            }
        )
        env.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast agents walk the garage.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the actions")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    rows = measure(20 if arguments.quick else 200)
    print("garage, 160x120 pictures, nothing generated")
    for row in rows:
        print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{v:12}" for k, v in row.items()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
