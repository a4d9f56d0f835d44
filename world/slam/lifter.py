"""Lifts the chosen frames of a clip one after the other: points, keyframes, free space."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..keyframes import Keyframe
from ..memory import MemorySnapshot, SpatialMemory
from ..points import PointBatch, PointClass, priority_of
from ..updates import DepthView
from ..visibility import render_depth
from .estimators import FrameStack, GeometryEstimate
from .lift import free_space_view, lies_on_surface, lift_pixels, push_behind, shows_new


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What all points of an update share.

    Attributes:
        point_class: Observed, estimated or invented.
        rank: Rank of the generator.
        request_id: The request that is answered.
        first_keyframe_id: Identity of the clip's first frame.
        prompt: Kept with the keyframes.
        tick: Kept with the keyframes.
    """

    point_class: PointClass
    rank: int
    request_id: int
    first_keyframe_id: int
    prompt: str
    tick: int

    @property
    def priority(self) -> int:
        """Class and rank as one byte."""
        return priority_of(self.point_class, self.rank)


class Lifter:
    """Lifts the chosen frames one after the other; keeps what the clip gave so far."""

    def __init__(
        self,
        frames: FrameStack,
        estimate: GeometryEstimate,
        moving: npt.NDArray[np.bool_],
        poses: npt.NDArray[np.float64],
        memory: MemorySnapshot,
        origin: Origin,
        keep_visible: tuple[DepthView, ...],
        max_points: int,
    ) -> None:
        self._frames, self._estimate, self._moving, self._poses = frames, estimate, moving, poses
        self._memory, self._origin, self._keep_visible, self._max_points = memory, origin, keep_visible, max_points
        self._given = SpatialMemory(memory.voxel_size_m)
        self._counts = {"known_already": 0, "would_hide": 0, "lifted": 0}

    def lift(self, k: int, frame_index: int) -> PointBatch:
        """Points of the k-th chosen frame."""
        depth = self._estimate.depth_m[k]
        use = (depth > 0) & (self._estimate.confidence[k] > 0) & ~self._moving[k]
        is_invented = self._origin.point_class is PointClass.INVENTED
        if is_invented:
            use = self._only_new(k, use)
        batch = self._points(k, frame_index, self._frames.color[k], depth, use)
        hidden = [x for x in self._estimate.layers if x.frame_index == k]
        further = [self._points(k, frame_index, x.color, x.depth_m, x.depth_m > 0) for x in hidden]
        batch = PointBatch.concatenate([batch, *further])
        if is_invented:
            batch = self._without_hiding(k, batch)
            self._given.insert(batch)
        self._counts["lifted"] += len(batch)
        return batch

    def _points(
        self,
        k: int,
        frame_index: int,
        color: npt.NDArray[np.uint8],
        depth_m: npt.NDArray[np.float32],
        use: npt.NDArray[np.bool_],
    ) -> PointBatch:
        return lift_pixels(
            color,
            depth_m,
            self._estimate.confidence[k],
            use=use,
            pinhole=self._frames.pinhole,
            world_T_camera=self._poses[k],
            priority=self._origin.priority,
            keyframe_id=self._origin.first_keyframe_id + frame_index,
            max_points=self._max_points,
        )

    def _only_new(self, k: int, use: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Leave out what memory shows already, and what this clip gave already."""
        pinhole, pose, depth = self._frames.pinhole, self._poses[k], self._estimate.depth_m[k]
        surface = render_depth(self._memory, pinhole, pose, self._origin.priority).depth_m
        new_surface = None if self._frames.new_surface is None else self._frames.new_surface[k]
        overhang = None
        if self._frames.is_exact:
            overhang = 1.0 + np.float32(self._memory.voxel_size_m * pinhole.fx) / np.maximum(depth, np.float32(1e-3))
        new = use & shows_new(depth, new_surface, surface, overhang)
        if self._given.num_points:
            new &= ~lies_on_surface(depth, pinhole, pose, self._given.snapshot(), overhang)
        self._counts["known_already"] += int(use.sum() - new.sum())
        return new

    def _without_hiding(self, k: int, batch: PointBatch) -> PointBatch:
        """Put the points behind what must stay visible, or leave them out."""
        eye = self._poses[k, :3, 3]
        positions, hiding = push_behind(batch.positions_world, eye, self._keep_visible)
        self._counts["would_hide"] += int(hiding.sum())
        kept = ~hiding
        return PointBatch(
            positions[kept], batch.colors[kept], batch.weights[kept], batch.priority[kept], batch.keyframe[kept]
        )

    def keyframe(self, k: int, frame_index: int, keep_depth: bool) -> Keyframe:
        """The k-th chosen frame as a candidate for the bank."""
        origin = self._origin
        hidden = self._moving[k]
        if origin.point_class is PointClass.INVENTED:  # pixels whose depth was not found may show what moves
            hidden = hidden | (self._estimate.depth_m[k] <= 0)
        return Keyframe(
            origin.first_keyframe_id + frame_index,
            origin.request_id,
            self._frames.color[k].copy(),
            self._frames.pinhole,
            self._poses[k].copy(),
            origin.point_class,
            origin.rank,
            self._estimate.depth_m[k].copy() if keep_depth else None,
            hidden.copy() if hidden.any() else None,
            origin.prompt,
            origin.tick,
        )

    def free_space(self, k: int) -> tuple[DepthView, ...]:
        """What the k-th frame saw through: nothing if it only added to memory, or if its depth is a guess."""
        if self._frames.new_surface is not None or not self._estimate.sees_free_space:
            return ()
        depth = np.where(self._moving[k], np.float32(0), self._estimate.depth_m[k])
        return (free_space_view(depth, self._frames.pinhole, self._poses[k], self._origin.priority),)

    def tests(self) -> dict[str, float]:
        """Counts of pixels: lifted, left out because known, left out because they would hide something."""
        return {name: float(count) for name, count in self._counts.items()}
