"""What something that moves had hidden is generated once it is gone, in a session; and is remembered in a file."""

from pathlib import Path

import numpy as np
from spatia.generator.requests import Clip, ClipRequest, Progress, SceneVideo
from spatia.input.intents import Intent
from spatia.runtime.director import CoverageMeter, key_view_pinhole
from spatia.runtime.session import Session
from spatia.runtime.settled import Settled
from spatia.runtime.world import World
from spatia.runtime.world import open as open_world
from spatia.tests.fakes import InstantGenerator
from spatia.tests.runtime.tiny import tiny_world
from spatia.world.transforms import look

GONE_S = 1.5
AZIMUTH = np.radians(60.0)
TICK_S = 0.25


class PasserBy(InstantGenerator):
    """Paints a plane 2 m ahead; somebody stands 60° to the right until he goes."""

    name = "passer_by"

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        clip = self.painted(scene)
        rays = request.pinhole.rays() @ request.world_T_camera[0][:3, :3].T
        is_there = np.abs(np.arctan2(rays[..., 0], rays[..., 2]) - AZIMUTH) < 0.1
        moving = (is_there & (request.time_s < GONE_S))[None]
        return Clip(clip.frames, clip.depth_m, moving=moving, new_surface=clip.new_surface & ~moving)


def _lacks(world: World) -> float:
    """Share of the view 60° to the right that memory lacks."""
    meter = CoverageMeter(0)
    meter.update(world.memory.snapshot())
    missing = meter.missing(look((0, 0, 0), AZIMUTH, 0.0), key_view_pinhole(96))
    meter.close()
    return float(missing.mean())


def _walk(world: World, ticks: int) -> float:
    """Turn to the right, then stand for so many ticks; what then lacks."""
    with Session(world, f"{__name__}:PasserBy", tick_s=TICK_S) as session:
        session.look(Intent(look_yaw_rad=AZIMUTH))
        for _ in range(ticks):
            session.tick(Intent())
    return _lacks(world)


def test_the_hole_that_a_passer_by_left_is_filled_when_he_is_gone() -> None:
    assert _walk(tiny_world(), 4) > 0.03
    assert _walk(tiny_world(), 14) < 0.01


def test_what_is_worth_another_look_is_so_in_a_reopened_world(tmp_path: Path) -> None:
    world = tiny_world()
    pose = np.eye(4)
    world.walk.settled = [Settled(1, pose, 0.3), Settled(2, pose, 0.2, 0.1, num_looks=2, again_s=9.0)]
    world.save(tmp_path / "a.spatia")
    plain, hidden = open_world(tmp_path / "a.spatia", read_only=True).walk.settled
    assert not plain.again_s < np.inf
    assert (hidden.missing_share, hidden.hidden_share, hidden.num_looks, hidden.again_s) == (0.2, 0.1, 2, 0.0)
