"""A clip that goes on from one which memory did not hold yet when it was asked for: lifted as if memory did.

The clip before it is always lifted first, in the worker and inline alike. Its points join the memory that the later one
is laid on, and what alignment did to its end is done to the later one's path. So the result does not depend on which of
the two was merged when.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..world.memory import MemorySnapshot, SpatialMemory
from ..world.merge import stage_update
from ..world.transforms import Transform, invert
from ..world.updates import MapUpdate
from .requests import ClipRequest, GenerationCancelledError


@dataclass(frozen=True, slots=True, eq=False)
class _Lifted:
    """The last clip that was lifted.

    Attributes:
        request_id: Which one.
        epoch: Its epoch.
        update: What it proposed.
        moved_T_asked: (4, 4) what alignment did to its last frame.
    """

    request_id: int
    epoch: int
    update: MapUpdate
    moved_T_asked: Transform


class Sequels:
    """Remembers the last clip that was lifted, for one that goes on from it. Used by the thread that lifts."""

    def __init__(self) -> None:
        self._last: _Lifted | None = None

    def note(self, request: ClipRequest, update: MapUpdate) -> None:
        """A continuous clip was lifted.

        Args:
            request: As it was asked for.
            update: What came of it.
        """
        moved = update.world_T_camera[-1] @ invert(request.world_T_camera[-1])
        self._last = _Lifted(request.request_id, request.epoch, update, moved)

    def placed(self, request: ClipRequest) -> ClipRequest:
        """The request as it is to be lifted: on memory with the clip before it, along the path that this one took.

        Raises:
            GenerationCancelledError: The clip before it is not here, or did not fit memory.
        """
        last = self._last
        if request.after == 0:
            return request
        if last is None or last.request_id != request.after or last.epoch != request.epoch:
            raise GenerationCancelledError(f"clip {request.after}, which it goes on from, is not here")
        if last.update.report.rejected:
            raise GenerationCancelledError(f"clip {request.after}, which it goes on from, did not fit memory")
        moved, tail = last.moved_T_asked, request.tail_world_T_camera
        return replace(
            request,
            memory=_merged(request.memory, last.update),
            world_T_camera=np.ascontiguousarray(moved @ request.world_T_camera),
            tail_world_T_camera=None if tail is None else np.ascontiguousarray(moved @ tail),
        )


def _merged(memory: MemorySnapshot, update: MapUpdate) -> MemorySnapshot:
    whole = SpatialMemory(memory.voxel_size_m)
    whole.restore(memory)
    whole.apply(stage_update(whole.snapshot(), update))
    return whole.snapshot()
