"""What a walk needs for the generator that it goes on with: its director, and what its worker gets ready for."""

from dataclasses import replace

from ..generator.registry import generator_class
from ..world.camera import Pinhole
from ..world.memory import MemorySnapshot
from ..world.points import PointClass, priority_of
from .director import ClipPlan, Director
from .drafting import Moment, moment_of
from .world import World


def director_for(generator: str, world: World, *, picture_width: int) -> Director:
    """A director that knows what was generated so far.

    Args:
        generator: Name of the clip generator.
        world: What is walked.
        picture_width: Pixels across the walker's picture.
    """
    kind, walk = generator_class(generator), world.walk
    director = Director(
        wants_key_views=kind.wants_key_views,
        native_speed=kind.native_speed,
        min_priority=priority_of(PointClass.INVENTED, kind.rank),
        up_world=world.info.up_world,
        picture_width=picture_width,
    )
    director.settled, director.held, director.tails = list(walk.settled), list(walk.held), list(walk.tails)
    return director


def can_prepare(generator: str) -> bool:
    """Whether a new worker may get ready before the first request."""
    return hasattr(generator_class(generator), "prepare")


def first_plan(world: World, pinhole: Pinhole) -> tuple[ClipPlan, Moment]:
    """What a new worker gets ready for: a view from where the walker stands, without memory."""
    nothing = replace(moment_of(world), memory=MemorySnapshot(world.memory.voxel_size_m, 0, {}))
    return ClipPlan(world.walk.world_T_camera[None].copy(), pinhole, "way", 1.0), nothing


def note_of(generator: str) -> str:
    """What a walker should know of a generator; empty if there is nothing."""
    follows = getattr(generator_class(generator), "follows_poses", True)
    return "" if follows else f"{generator} follows no path: its clips are placed where they are found to be"
