"""Send a simple agent to points in the photographed garage while the place is generated around it.

You will see how each episode ended with its success weighted by path length, and the paths from above, drawn on the
floor plan of the last episode's world (``agents.png``): dark is what blocks, stars are the goals.
"""

import sys
from pathlib import Path

import gymnasium
import numpy as np
import spatia  # noqa: F401 - makes Gymnasium know "spatia/PointGoal-v0"
from spatia.renderer.capture import write_png
from spatia.runtime.agent_actions import Action
from spatia.runtime.floor_plan import FloorPlan

TURN_RAD = np.radians(15.0)


def choose(goal: np.ndarray, detour: int, side: Action) -> Action:
    """Turn to the goal and walk; on a detour, turn to a side and walk first."""
    distance, angle = goal
    if distance < 0.19:
        return Action.STOP
    if detour:
        return side if detour > 5 else Action.FORWARD
    if abs(angle) > TURN_RAD / 2 + 0.01:
        return Action.TURN_RIGHT if angle > 0 else Action.TURN_LEFT
    return Action.FORWARD


def main(folder: Path, episodes: int = 4, generator: str = "outpaint", max_steps: int = 120) -> None:
    env = gymnasium.make(
        "spatia/PointGoal-v0", world="garage", generator=generator, fov_rad=1.4, max_episode_steps=max_steps
    )
    paths, goals, walk = [], [], env.unwrapped
    for seed in range(episodes):
        observation, info = env.reset(seed=seed)
        path, detour, sides, is_over = [observation["pose"][:3, 3]], 0, [Action.TURN_LEFT, Action.TURN_RIGHT], False
        while not is_over:
            observation, _, terminated, truncated, info = env.step(choose(observation["goal"], detour, sides[0]))
            path.append(observation["pose"][:3, 3])
            detour = max(0, detour - 1)
            if info["collided"]:  # turn by 60°, walk a metre; the other way the next time
                detour, sides = 9, sides[::-1]
            is_over = terminated or truncated
        paths.append(np.array(path))
        goals.append(info["goal_world"])
        print(
            f"episode {seed}: {'reached' if info['success'] else 'missed'} a goal {info['shortest_path_m']:.2f} m away "
            f"after {info['path_length_m']:.2f} m, SPL {info['spl']:.2f}, {info['clips_merged']} clips"
        )
    plan = FloorPlan.around(walk.session.collision, paths[0][0], 7.0)
    write_png(folder / "agents.png", plan.picture(paths, goals))
    env.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."), int(sys.argv[2]) if len(sys.argv) > 2 else 4)
