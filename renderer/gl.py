"""The ModernGL renderer: memory drawn as soft round splats, on screen or without a display."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..world.blocks import DrawKey
from ..world.camera import Pinhole
from ..world.keyframes import Keyframe
from ..world.memory import MemorySnapshot
from ..world.points import priority_of
from ..world.transforms import Transform, level_frame
from . import shaders
from .extract import ChunkExtractor, ExtractedChunk
from .gl_arena import PointArena
from .gl_context import GLUnavailableError, create_offscreen_context, is_hardware_gl
from .gl_photos import PhotoTexture, PhotoTextures, intrinsics_of, set_uniform
from .gl_table import MAX_SLOTS, NEAR_M, ChunkTable, is_fresh, pack_points
from .interface import DrawOptions, DrawStatistics, View
from .photos import PhotoShelf

__all__ = ["GLRenderer", "GLUnavailableError", "create_offscreen_context", "is_hardware_gl"]

Result = TypeVar("Result")

AGREEMENT = 1.02
"""Points up to this factor behind the nearest surface are blended with it."""

TICK_S = 1.0 / 60.0
"""Length of a tick of ``DrawOptions.fade_tick``."""

LONG_AGO_S = -1e9


@dataclass(slots=True)
class _Slot:
    """A chunk in graphics memory."""

    index: int
    first: int
    count: int
    codes: npt.NDArray[np.uint32]
    arrival_s: float


class _Targets:
    """Textures and framebuffers of one picture size."""

    def __init__(self, ctx: Any, size: tuple[int, int]) -> None:
        self.size = size
        padded = (size[0] + 2 * shaders.MARGIN, size[1] + 2 * shaders.MARGIN)
        self.padded = padded
        self.sum_color = ctx.texture(padded, 4, dtype="f4")
        self.sum_facts = ctx.texture(padded, 4, dtype="f4")
        self.depth = ctx.depth_renderbuffer(padded)
        self.points = ctx.framebuffer([self.sum_color, self.sum_facts], self.depth)
        self.known = ctx.texture(size, 4, dtype="f2")
        self.known_facts = ctx.texture(size, 4, dtype="f4")
        for texture in (self.known, self.known_facts):
            texture.repeat_x = texture.repeat_y = False
        self.resolved = ctx.framebuffer([self.known, self.known_facts])
        self.color = ctx.texture(size, 4)
        self.finished = ctx.framebuffer([self.color])
        self.num_levels = int(np.ceil(np.log2(max(size)))) + 1

    def release(self) -> None:
        """Free all of it."""
        for item in (self.points, self.resolved, self.finished, self.depth, self.sum_color, self.sum_facts):
            item.release()
        for item in (self.known, self.known_facts, self.color):
            item.release()


class GLRenderer:
    """Draws memory with OpenGL 3.3.

    With a context given, the thread where that is current uses the renderer. Without, the renderer has a context and a
    thread of its own, so that one thread at a time may use it whatever context is current there, a window's included.

    Nearest surface first (a depth pass), then all points within 2 % of it are blended by a Gaussian of their distance
    from the pixel; photos are sampled at the depth that results.

    Args:
        ctx: ModernGL context to draw with, such as the window's; one of its own, without a window, if not given.

    Raises:
        GLUnavailableError: There is no OpenGL 3.3.
    """

    name = "gl"

    def __init__(self, ctx: Any = None) -> None:
        self._thread = None if ctx is not None else ThreadPoolExecutor(1, "spatia-gl")
        self.ctx: Any = ctx
        try:
            self._on_gl_thread(self._open)
        except BaseException:
            if self._thread is not None:
                self._thread.shutdown()
            raise

    def _on_gl_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run where the context is current: here for a given one, on the renderer's thread for its own."""
        if self._thread is None:
            return function(*arguments)
        return self._thread.submit(function, *arguments).result()

    def _open(self) -> None:
        if self.ctx is None:
            self.ctx = create_offscreen_context()
        self._extractor = ChunkExtractor()
        self._arena = PointArena(self.ctx)
        self._slots: dict[DrawKey, _Slot] = {}
        self._free_slots: list[int] = []
        self._table = ChunkTable(self.ctx)
        self._photos = PhotoTextures(self.ctx, self._drawn_depth)
        self._shelf = PhotoShelf()
        self._takes_all = True
        self._revision = 0
        self._focus = np.zeros(3)
        self._targets: OrderedDict[tuple[int, int], _Targets] = OrderedDict()
        self._statistics = DrawStatistics()
        self._uploaded = 0
        self._make_programs()

    def _make_programs(self) -> None:
        program = self.ctx.program
        points = shaders.POINT_VERTEX
        self._depth_program = program(vertex_shader=points, fragment_shader=shaders.DEPTH_FRAGMENT)
        self._color_program = program(vertex_shader=points, fragment_shader=shaders.COLOR_FRAGMENT)
        screen = shaders.SCREEN_VERTEX
        self._resolve_program = program(vertex_shader=screen, fragment_shader=shaders.RESOLVE_FRAGMENT)
        self._finish_program = program(vertex_shader=screen, fragment_shader=shaders.FINISH_FRAGMENT)
        self._resolve_array = self.ctx.vertex_array(self._resolve_program, [])
        self._finish_array = self.ctx.vertex_array(self._finish_program, [])
        self._commands: Any = self.ctx.buffer(reserve=20 * 64, dynamic=True)
        self._make_point_arrays()

    def _make_point_arrays(self) -> None:
        for name in ("_depth_array", "_color_array"):
            if hasattr(self, name):
                getattr(self, name).release()
        buffer = self._arena.buffer
        self._color_array = self.ctx.vertex_array(self._color_program, [(buffer, "4u2 4u1", "in_place", "in_color")])
        self._depth_array = self.ctx.vertex_array(self._depth_program, [(buffer, "4u2 4u1", "in_place", "in_color")])

    # what memory holds

    def update(
        self,
        snapshot: MemorySnapshot,
        keyframes: Sequence[Keyframe] = (),
        *,
        budget_s: float | None = None,
        now_s: float = LONG_AGO_S,
    ) -> bool:
        """Take over changed chunks and keyframes, nearest to the last camera first.

        Args:
            snapshot: What memory holds now.
            keyframes: Photos that may be sampled, in order of preference.
            budget_s: Stop after about this time and go on at the next call; None takes all.
            now_s: Time of ``DrawOptions.fade_tick`` in seconds; new surface fades in from here. Long ago unless given.

        Returns:
            True when everything was taken over.
        """
        return self._on_gl_thread(self._update, snapshot, keyframes, budget_s, now_s)

    def _update(
        self, snapshot: MemorySnapshot, keyframes: Sequence[Keyframe], budget_s: float | None, now_s: float
    ) -> bool:
        for key in self._extractor.begin(snapshot, self._focus):
            self._drop(key)
        for extracted in self._extractor.take(budget_s):
            self._put(extracted, now_s if extracted.is_new else LONG_AGO_S)
        self._shelf.update(keyframes)
        self._takes_all = budget_s is None
        self._revision = snapshot.revision
        self._photos.keep_only({k.keyframe_id for k in keyframes})
        return self._extractor.num_pending == 0

    def _drop(self, key: DrawKey) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._arena.drop(slot.index)
            self._table.clear(slot.index)
            self._free_slots.append(slot.index)

    def _put(self, extracted: ExtractedChunk, now_s: float) -> None:
        n = extracted.num_points
        if n == 0:
            self._drop(extracted.key)
            return
        before = self._slots.get(extracted.key)
        index = before.index if before is not None else self._new_slot()
        if index >= MAX_SLOTS:
            return
        vertices = pack_points(extracted, index)
        fades = now_s > LONG_AGO_S
        if fades:
            known = before.codes if before is not None else np.empty(0, np.uint32)
            vertices[:, 0] |= is_fresh(extracted.codes, known).astype(np.uint16) << np.uint16(15)
        first, moved = self._arena.put(index, vertices)
        if moved:
            self._make_point_arrays()
        self._slots[extracted.key] = _Slot(index, first, n, extracted.codes, now_s)
        self._table.set(index, extracted, first=first, arrival_s=now_s)
        self._uploaded += vertices.nbytes

    def _new_slot(self) -> int:
        return self._free_slots.pop() if self._free_slots else len(self._slots)

    # drawing

    def render(
        self,
        world_T_camera: Transform,
        pinhole: Pinhole,
        options: DrawOptions = DrawOptions(),  # noqa: B008 - frozen
    ) -> View:
        """Draw one view and read it back. Fresh arrays.

        Args:
            world_T_camera: Camera pose.
            pinhole: Size and intrinsics of the picture.
            options: What to draw.
        """
        return self._on_gl_thread(self._render, world_T_camera, pinhole, options)

    def _render(self, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions) -> View:
        targets = self._draw(world_T_camera, pinhole, options)
        shape = (pinhole.height, pinhole.width)
        rgba = np.frombuffer(targets.color.read(), np.uint8).reshape(*shape, 4)
        data = targets.resolved.read(components=2, attachment=1, dtype="f4")
        facts = np.frombuffer(data, np.float32).reshape(*shape, 2)
        # copies: a crop as large as the whole would otherwise be a read-only view of the driver's bytes
        return View(rgba[..., :3].copy(), facts[..., 0].copy(), facts[..., 1].copy())

    def draw(
        self,
        world_T_camera: Transform,
        pinhole: Pinhole,
        options: DrawOptions = DrawOptions(),  # noqa: B008 - frozen
    ) -> Any:
        """Draw one view and leave it in graphics memory, for a renderer that was given its context.

        Returns:
            A ModernGL texture (RGBA, the first row is the picture's top; alpha is the coverage), valid until the next
            picture of that size.

        Raises:
            ValueError: The renderer has a context of its own, whose textures no other can show.
        """
        if self._thread is not None:
            raise ValueError("draw: expected a renderer made with the context that shows the texture; use render")
        return self._draw(world_T_camera, pinhole, options).color

    def _draw(self, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions) -> _Targets:
        self._focus = world_T_camera[:3, 3].copy()
        targets = self._targets_for(pinhole.size)
        photos = self._photos_for(world_T_camera, pinhole, options) if options.use_keyframes else []
        self._draw_points(targets, world_T_camera, pinhole, options)
        self._resolve(targets, world_T_camera, pinhole, photos, options)
        self._finish(targets, world_T_camera, pinhole, photos, options)
        return targets

    def _photos_for(self, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions) -> list[PhotoTexture]:
        """The photos to sample from here; new ones are uploaded, one a picture while updates have a budget."""
        if not self._shelf.num_keyframes:
            return []
        surface = self._table.centres(world_T_camera, pinhole)
        chosen = [
            keyframe
            for keyframe in self._shelf.choose(surface, world_T_camera[:3, 3], pinhole.fx)[: shaders.MAX_KEYFRAMES]
            if priority_of(keyframe.point_class, keyframe.rank) >= options.min_priority
        ]
        uploads = len(chosen) if self._takes_all else 1
        return self._photos.ready(chosen, revision=self._revision, max_uploads=uploads)

    def _drawn_depth(self, keyframe: Keyframe) -> npt.NDArray[np.float32]:
        """(H, W) depth of memory at a keyframe's pose."""
        statistics, uploaded = self._statistics, self._uploaded
        targets = self._targets_for(keyframe.pinhole.size)
        pose = np.array(keyframe.world_T_camera)
        self._draw_points(targets, pose, keyframe.pinhole, DrawOptions())
        self._resolve(targets, pose, keyframe.pinhole, [], DrawOptions())
        self._statistics, self._uploaded = statistics, uploaded
        data = targets.resolved.read(components=1, attachment=1, dtype="f4")
        return np.frombuffer(data, np.float32).reshape(keyframe.pinhole.height, keyframe.pinhole.width)

    @property
    def statistics(self) -> DrawStatistics:
        """Counts of the last picture."""
        return self._statistics

    def close(self) -> None:
        """Release graphics memory, and the context if it is its own; safe to call twice."""
        if self.ctx is None:
            return
        self._on_gl_thread(self._release)
        if self._thread is not None:
            self._thread.shutdown()

    def _release(self) -> None:
        for targets in self._targets.values():
            targets.release()
        for item in (self._depth_array, self._color_array, self._resolve_array, self._finish_array):
            item.release()
        for item in (self._depth_program, self._color_program, self._resolve_program, self._finish_program):
            item.release()
        for item in (self._commands, self._arena, self._table, self._photos):
            item.release()
        self._targets.clear()
        self._slots.clear()
        if self._thread is not None:
            self.ctx.release()
        self.ctx = None

    def _targets_for(self, size: tuple[int, int]) -> _Targets:
        if size not in self._targets:
            self._targets[size] = _Targets(self.ctx, size)
            if len(self._targets) > 3:
                self._targets.popitem(last=False)[1].release()
        self._targets.move_to_end(size)
        return self._targets[size]

    def _draw_points(
        self, targets: _Targets, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions
    ) -> None:
        import moderngl

        ctx, table = self.ctx, self._table
        order, far_m = table.visible(world_T_camera, pinhole)
        now_s = None if options.fade_tick is None else options.fade_tick * TICK_S
        table.upload(world_T_camera, now_s)
        table.texture.use(0)
        targets.points.use()
        targets.points.color_mask = ((True,) * 4, (True,) * 4)
        targets.points.depth_mask = True
        targets.points.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        ctx.enable_only(moderngl.DEPTH_TEST | moderngl.PROGRAM_POINT_SIZE)
        ctx.depth_func = "<="
        for program, scale in ((self._depth_program, 1.0), (self._color_program, 1.0 / AGREEMENT)):
            self._set_camera(program, world_T_camera, pinhole, targets.padded)
            program["far_m"], program["depth_scale"] = far_m, scale
            program["min_priority"] = options.min_priority
        targets.points.color_mask = ((False,) * 4, (False,) * 4)
        self._draw_ranges(self._depth_array, order)
        targets.points.color_mask = ((True,) * 4, (True,) * 4)
        targets.points.depth_mask = False
        ctx.enable(moderngl.BLEND)
        ctx.blend_func = moderngl.ONE, moderngl.ONE
        self._draw_ranges(self._color_array, order)
        ctx.disable(moderngl.BLEND | moderngl.DEPTH_TEST)
        targets.points.depth_mask = True
        self._statistics = DrawStatistics(
            int(table.slots["count"][order].sum()),
            len(order),
            len(self._slots) - len(order),
            self._uploaded + self._photos.uploaded_bytes,
            self._extractor.num_pending,
        )
        self._uploaded = self._photos.uploaded_bytes = 0

    @staticmethod
    def _set_camera(program: Any, world_T_camera: Transform, pinhole: Pinhole, padded: tuple[int, int]) -> None:
        # GL reads columns: world_R_camera as it lies is camera_R_world
        program["camera_R_world"].write(np.ascontiguousarray(world_T_camera[:3, :3], np.float32))
        program["intrinsics"] = intrinsics_of(pinhole)
        program["picture_size"] = padded
        program["margin"] = float(shaders.MARGIN)
        program["near_m"] = NEAR_M

    def _draw_ranges(self, array: Any, order: npt.NDArray[np.int64]) -> None:
        """Draw chunks in the given order: one call where the driver can, one a chunk otherwise."""
        import moderngl

        if len(order) == 0:
            return
        slots = self._table.slots[order]
        if self.ctx.version_code < 430:
            for slot in slots:
                array.render(moderngl.POINTS, int(slot["count"]), first=int(slot["first"]))
            return
        commands = np.zeros((len(order), 5), np.uint32)
        commands[:, 0], commands[:, 1], commands[:, 2] = slots["count"], 1, slots["first"]
        if commands.nbytes > self._commands.size:
            self._commands.orphan(2 * commands.nbytes)
        self._commands.write(commands)
        array.render_indirect(self._commands, moderngl.POINTS, len(order))

    def _resolve(
        self,
        targets: _Targets,
        world_T_camera: Transform,
        pinhole: Pinhole,
        photos: list[PhotoTexture],
        options: DrawOptions,
    ) -> None:
        program = self._resolve_program
        targets.sum_color.use(0)
        targets.sum_facts.use(1)
        program["sum_color"], program["sum_facts"] = 0, 1
        program["intrinsics"] = intrinsics_of(pinhole)
        program["margin"] = shaders.MARGIN
        program["tint"] = 0.55 if options.tint else 0.0
        self._photos.bind(program, world_T_camera, photos)
        targets.resolved.use()
        self._resolve_array.render(vertices=3)

    def _finish(
        self,
        targets: _Targets,
        world_T_camera: Transform,
        pinhole: Pinhole,
        photos: list[PhotoTexture],
        options: DrawOptions,
    ) -> None:
        program = self._finish_program
        if options.fill:
            for texture in (targets.known, targets.known_facts):
                texture.build_mipmaps()
        targets.known.use(0)
        targets.known_facts.use(1)
        program["known"], program["known_facts"] = 0, 1
        program["intrinsics"] = intrinsics_of(pinhole)
        program["num_levels"] = targets.num_levels
        program["fill"] = options.fill
        level_R_world = level_frame(options.up_world).T
        level_R_camera = level_R_world @ world_T_camera[:3, :3]
        position = level_R_world @ world_T_camera[:3, 3]
        set_uniform(program, "level_R_camera", np.ascontiguousarray(level_R_camera.T, np.float32))
        program["position_level"] = float(position[0] % 1.0), float(position[2] % 1.0)
        program["floor_height_m"] = options.floor_height_m
        self._photos.bind(program, world_T_camera, photos)
        targets.finished.use()
        self._finish_array.render(vertices=3)
