"""How fast agents walk the garage: actions a second by task, and what going back costs.

    python benchmarks/agents.py [--quick] [--json FILE]

Nothing is generated: with a generator an action takes as long as the clips that it asks for.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import cast

import gymnasium
import spatia
from comparison import Result, describe_machine, parse_options, report
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
    """Measure and report."""
    arguments = parse_options("How fast agents walk the garage.")
    machine = describe_machine()
    results = []
    for row in measure(20 if arguments.quick else 200):
        figures = {k: v for k, v in row.items() if isinstance(v, float)}
        for name, value in figures.items():
            what, unit = name.rsplit("_", 1) if name.endswith("_ms") else ("actions", "1/s")
            results.append(Result(f"{row['task']}, 160x120: {what}", unit, value, None, "", None, None, machine))
    report(results, arguments.json)


if __name__ == "__main__":
    main()
