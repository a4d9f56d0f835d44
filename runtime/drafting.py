"""From a plan to a request: what a generator is given of a world at one moment. Pure; any thread."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..generator.requests import ClipRequest, Effort, ReferenceFrame
from ..world.keyframes import BankSnapshot, FrameBank, Keyframe
from ..world.memory import MemorySnapshot
from ..world.paged_views import conditioning_view
from ..world.points import PointClass
from ..world.slam.segmenters import clicks_at
from .director import ClipPlan
from .world import World

Mark = tuple[float, float, float]
"""(3,) metres, world frame: where a person says that something moves."""

MAX_REFERENCES = 7
MAX_SOURCES = 4
"""Of the references, at most so many are the source's own frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What memory and keyframes were at the end of a tick, and the words for the next clip."""

    tick: int
    memory: MemorySnapshot
    bank: BankSnapshot
    prompt: str = ""


def moment_of(world: World) -> Moment:
    """The present one, by reference. On the session's thread."""
    walk = world.walk
    prompt = prompt_of_round(walk.prompt, walk.next_request_id - 1)
    return Moment(walk.tick, world.memory.snapshot(), world.bank.snapshot(), prompt)


def prompt_of_round(text: str, index: int) -> str:
    """Of a prompt of several lines, the line of a round (0 is the first); the last one holds for all that follow."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[min(index, len(lines) - 1)] if lines else ""


def draft_request(
    world: World,
    plan: ClipPlan,
    moment: Moment,
    *,
    tick_s: float,
    sources_suffice: bool,
    effort: Effort | None,
    clicks: tuple[Mark, ...],
) -> ClipRequest:
    """What to ask for, all but its identity, epoch and seed.

    Args:
        world: Its floor and place count.
        plan: Poses, camera, purpose and tail.
        moment: Memory, keyframes and prompt.
        tick_s: Length of a tick.
        sources_suffice: The source's frames alone are the references, if there are any: a generator of single views
            continues what memory shows, and retrieval takes a good part of a second.
        effort: How much work the clip may take.
        clicks: Marks that the frames have in view.
    """
    floor = world.info.floor
    return ClipRequest(
        request_id=0,
        epoch=0,
        seed=0,
        prompt=moment.prompt,
        world_T_camera=plan.world_T_camera,
        pinhole=plan.pinhole,
        memory=conditioning_view(moment.memory, plan.pinhole, plan.world_T_camera),
        first_keyframe_id=0,
        references=tuple(_reference(k) for k in _references(moment, plan, sources_suffice)),
        up_world=world.info.up_world,
        floor=None if floor is None else (*floor.normal, floor.offset_m),
        purpose=plan.purpose,
        tail=None if plan.tail is None else plan.tail.frames,
        tail_world_T_camera=None if plan.tail is None else plan.tail.world_T_camera,
        tail_request_id=0 if plan.tail is None else plan.tail.request_id,
        tick=moment.tick,
        time_s=moment.tick * tick_s,
        place=world.info.place,
        effort=effort,
        clicks=clicks,
        after=plan.tail.request_id if plan.tail is not None and plan.tail.is_early else 0,
        num_padded=plan.num_padded,
    )


def clicks_in(marks: Sequence[Mark], plan: ClipPlan) -> tuple[Mark, ...]:
    """Marks that a plan's frames have in view."""
    return tuple(m for m in marks if clicks_at([m], plan.world_T_camera, plan.pinhole))


def _references(moment: Moment, plan: ClipPlan, sources_suffice: bool) -> list[Keyframe]:
    """Source frames first (the place is modelled from them), then what shares surface with the path."""
    bank = FrameBank()
    bank.restore(moment.bank)
    sources = [k for k in bank.keyframes if k.request_id == 0][:MAX_SOURCES]
    if sources_suffice and sources:
        return sources
    visible = conditioning_view(moment.memory, plan.pinhole, plan.world_T_camera)
    shared = bank.retrieve(visible, plan.pinhole, plan.world_T_camera, k=MAX_REFERENCES)
    seen = {k.keyframe_id for k in sources}
    return (sources + [k for k in shared if k.keyframe_id not in seen])[:MAX_REFERENCES]


def _reference(keyframe: Keyframe) -> ReferenceFrame:
    return ReferenceFrame(
        keyframe.color,
        keyframe.depth_m,
        keyframe.pinhole,
        keyframe.world_T_camera,
        keyframe.point_class is not PointClass.INVENTED,
        keyframe.keyframe_id,
    )
