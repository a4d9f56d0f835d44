"""How fast agents walk the garage: actions a second by task, and what going back costs.

    python benchmarks/agents.py [--actions 100]

Nothing is generated: with a generator an action takes as long as the clips that it asks for.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import gymnasium
import spatia
from spatia.runtime.agent_actions import Action


def milliseconds(call: Callable[[], object], times: int = 5) -> float:
    """Median time of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return median(taken) * 1e3


def main(num_actions: int) -> None:
    world = spatia.samples.garage()
    print(f"garage, {world.memory.num_points:,} points, 160x120 pictures")
    for task in ("free", "pointgoal", "exploration"):
        env = gymnasium.make("spatia/Walk-v0", world=world, task=task, generator="none", fov_rad=1.4)
        env.reset(seed=0)
        env.step(Action.TURN_LEFT)
        start = time.perf_counter()
        for k in range(num_actions):
            env.step(Action.FORWARD if k % 4 == 3 else Action.TURN_LEFT)
        rate = num_actions / (time.perf_counter() - start)
        walk = env.unwrapped
        snapshot = walk.snapshot()
        back, taken = milliseconds(lambda w=walk, s=snapshot: w.restore(s)), milliseconds(walk.snapshot)
        reset = milliseconds(lambda w=walk: w.reset(seed=1))
        print(f"{task:12} {rate:5.0f} actions/s, snapshot {taken:.2f} ms, restore {back:.1f} ms, reset {reset:.1f} ms")
        env.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", type=int, default=100)
    main(parser.parse_args().actions)
