"""The ModernGL renderer, on whatever driver EGL finds."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from spatia.renderer.extract import ChunkExtractor
from spatia.renderer.gl import GLRenderer, GLUnavailableError, create_offscreen_context, is_hardware_gl
from spatia.renderer.gl_arena import BYTES_PER_POINT, PointArena
from spatia.renderer.gl_context import has_hardware_driver
from spatia.renderer.gl_table import is_fresh, pack_points
from spatia.renderer.interface import DrawOptions
from spatia.tests.contracts.renderer_contract import CAMERA, RendererContract, batch_of, memory_of, wall
from spatia.world.camera import Pinhole
from spatia.world.keyframes import Keyframe
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import look

pytestmark = pytest.mark.gl

PHOTO_CAMERA = Pinhole(96, 72, 90.0, 90.0, 48.0, 36.0)
IDENTITY = np.eye(4)


class TestGLRendererContract(RendererContract):
    """The ModernGL renderer keeps the contract."""

    def make(self):
        return GLRenderer()


@pytest.fixture
def renderer():
    made = GLRenderer()
    yield made
    made.close()


def stripes(width: int = 96, height: int = 72) -> np.ndarray:
    """A photo with detail far finer than the points below."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 2 % 251, (x + y) % 2 * 200 + 20, y * 3 % 241], axis=2).astype(np.uint8)


def photo_of(depth_m, **changes) -> Keyframe:
    """A keyframe at the identity."""
    facts = {"color": stripes(), "depth_m": depth_m, "point_class": PointClass.OBSERVED, **changes}
    return Keyframe(1, 0, pinhole=PHOTO_CAMERA, world_T_camera=np.eye(4), **facts)


def flat(depth_m: float) -> np.ndarray:
    return np.full((72, 96), depth_m, np.float32)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean((a / 255.0 - b / 255.0) ** 2), 1e-9)))


def gray_wall(depth_m: float = 2.0) -> PointBatch:
    return batch_of(wall(depth_m, half_m=1.2, step_m=0.02), (90, 90, 90))


def test_at_its_own_place_a_photo_is_shown_as_it_is(renderer):
    renderer.update(memory_of(gray_wall()), [photo_of(flat(2.0))])
    assert psnr(renderer.render(IDENTITY, PHOTO_CAMERA).color, stripes()) > 45


def test_without_keyframes_the_points_colours_are_shown(renderer):
    renderer.update(memory_of(gray_wall()), [photo_of(flat(2.0))])
    view = renderer.render(IDENTITY, PHOTO_CAMERA, DrawOptions(use_keyframes=False))
    assert np.abs(view.color.astype(int) - 90).max() <= 1


def test_from_aside_a_photo_lies_on_the_surface(renderer):
    renderer.update(memory_of(gray_wall()), [photo_of(flat(2.0))])
    moved = np.eye(4)
    moved[0, 3] = 2.0 * 10 / 90.0  # ten pixels at 2 m
    view = renderer.render(moved, PHOTO_CAMERA)
    assert psnr(view.color[:, 2:80], stripes()[:, 12:90]) > 35


def test_a_photo_is_not_pasted_on_a_surface_that_it_does_not_show(renderer):
    renderer.update(memory_of(gray_wall(1.0)), [photo_of(flat(0.5))])
    moved = np.eye(4)
    moved[0, 3] = 0.4
    view = renderer.render(moved, PHOTO_CAMERA)
    assert np.abs(view.color.astype(int) - 90).max() <= 1


def test_what_moves_in_a_photo_is_not_sampled(renderer):
    moving = np.zeros((72, 96), np.bool_)
    moving[:, :48] = True
    renderer.update(memory_of(gray_wall()), [photo_of(flat(2.0), moving=moving)])
    view = renderer.render(IDENTITY, PHOTO_CAMERA)
    assert np.abs(view.color[:, :47].astype(int) - 90).max() <= 1
    assert psnr(view.color[:, 49:], stripes()[:, 49:]) > 45


def test_a_photo_without_depth_takes_memorys(renderer):
    renderer.update(memory_of(gray_wall()), [photo_of(None)])
    assert psnr(renderer.render(IDENTITY, PHOTO_CAMERA).color, stripes()) > 45


def test_a_filled_view_shows_photo_pixels_that_have_no_depth(renderer):
    depth = flat(2.0)
    depth[20:40, 30:60] = 0.0
    hole = wall(2.0, half_m=1.2, step_m=0.02)
    inside = (hole[:, 0] > -0.42) & (hole[:, 0] < 0.29) & (hole[:, 1] > -0.38) & (hole[:, 1] < 0.11)
    renderer.update(memory_of(batch_of(hole[~inside], (90, 90, 90))), [photo_of(depth)])
    view = renderer.render(IDENTITY, PHOTO_CAMERA, DrawOptions(fill=True))
    assert view.coverage[25:35, 35:55].max() == 0
    assert psnr(view.color, stripes()) > 40


def test_a_photo_puts_a_near_edges_splats_in_their_place(renderer):
    points = wall(1.0, half_m=0.3, step_m=0.02)
    near = batch_of(points[points[:, 0] < 0], (90, 90, 90))
    depth = np.where(np.arange(96) < 48, np.float32(1.0), np.float32(2.0)) * np.ones((72, 1), np.float32)
    renderer.update(memory_of(near, gray_wall(2.0)), [photo_of(depth)])
    view = renderer.render(IDENTITY, PHOTO_CAMERA)
    assert psnr(view.color[20:50, 44:60], stripes()[20:50, 44:60]) > 45
    assert view.depth_m[36, 48] == pytest.approx(2.0, abs=0.03)


def test_new_surface_fades_in_and_old_surface_stays(renderer):
    memory = SpatialMemory(0.01)
    points = wall(2.0, half_m=1.2)
    memory.insert(batch_of(points[points[:, 0] < 0], (200, 200, 200)))
    renderer.update(memory.snapshot(), now_s=0.0)
    memory.insert(batch_of(points[points[:, 0] >= 0], (200, 200, 200)))
    renderer.update(memory.snapshot(), now_s=10.0)
    levels = []
    for tick in (600, 606, 612):
        color = renderer.render(IDENTITY, CAMERA, DrawOptions(fill=True, fade_tick=tick)).color
        assert color[24, 28].tolist() == [200, 200, 200]  # same chunk column, left of the middle
        levels.append(int(color[24, 40, 0]))
    assert levels[0] < levels[1] < levels[2] == 200
    assert levels[1] == pytest.approx((levels[0] + 200) / 2, abs=3)


def test_a_place_far_from_the_origin_is_drawn_as_well_as_one_near(renderer):
    points, colors = wall(2.0, half_m=0.6), stripes(120, 120).reshape(-1, 3)
    views = []
    for shift in (0.0, 4096.0):
        moved = (points + np.array([shift, 0, 0])).astype(np.float32)
        batch = PointBatch.uniform(moved, colors.copy(), priority=priority_of(PointClass.OBSERVED), keyframe=1)
        renderer.update(memory_of(batch, voxel_size_m=0.015625))
        views.append(renderer.render(look((shift, 0, 0), 0.1, 0.05), CAMERA))
    assert psnr(views[0].color, views[1].color) > 35


def test_a_surface_at_arms_length_does_not_fall_apart(renderer):
    renderer.update(memory_of(batch_of(wall(0.25, half_m=0.3))))
    view = renderer.render(IDENTITY, Pinhole.from_fov(320, 240, 1.2))
    assert view.coverage.min() > 0.5


def test_a_far_surface_does_not_shine_through_a_near_one(renderer):
    renderer.update(
        memory_of(batch_of(wall(0.4, half_m=0.5), (0, 200, 0)), batch_of(wall(0.8, half_m=1.0), (200, 0, 0)))
    )
    assert renderer.render(IDENTITY, Pinhole.from_fov(320, 240, 1.2)).color[..., 0].max() == 0


def test_with_a_given_context_the_picture_can_stay_in_a_texture(renderer):
    ctx = create_offscreen_context()
    given = GLRenderer(ctx)
    for each in (renderer, given):
        each.update(memory_of(gray_wall()), [photo_of(flat(2.0))])
    texture = given.draw(IDENTITY, CAMERA)
    pixels = np.frombuffer(texture.read(), np.uint8).reshape(48, 64, 4)
    given.close()
    ctx.release()
    np.testing.assert_array_equal(pixels[..., :3], renderer.render(IDENTITY, CAMERA).color)


def test_with_a_context_of_its_own_a_texture_would_be_of_no_use(renderer):
    with pytest.raises(ValueError, match="use render"):
        renderer.draw(IDENTITY, CAMERA)


def test_a_renderer_made_on_one_thread_draws_on_another_beside_another_context(renderer):
    foreign = create_offscreen_context()  # current on this thread from now on
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(GLRenderer).result()
        pool.submit(made.update, memory_of(gray_wall())).result()
    assert made.render(IDENTITY, CAMERA).coverage.min() > 0.9
    texture = foreign.texture((1, 1), 4, b"abcd")
    assert texture.read() == b"abcd"
    made.close()
    foreign.release()


def test_chunks_outside_the_frustum_are_not_drawn(renderer):
    renderer.update(memory_of(batch_of(wall(2.0, half_m=0.3)), batch_of(wall(-2.0, half_m=0.3), (1, 2, 3))))
    renderer.render(IDENTITY, CAMERA)
    first = renderer.statistics
    assert first.points == 3600
    assert first.chunks_hidden > 0
    assert first.uploaded_bytes == 7200 * BYTES_PER_POINT
    renderer.render(IDENTITY, CAMERA)
    assert renderer.statistics.uploaded_bytes == 0


def test_drivers_without_indirect_drawing_draw_the_same(renderer, monkeypatch):
    renderer.update(memory_of(batch_of(wall(2.0, half_m=0.5))))
    expected = renderer.render(IDENTITY, CAMERA).color
    context = renderer.ctx
    monkeypatch.setattr(type(context), "version_code", 330, raising=False)
    np.testing.assert_array_equal(renderer.render(IDENTITY, CAMERA).color, expected)


@pytest.mark.parametrize("slot", [0, 65535, 65536, 0xFFFFF])
def test_packed_points_carry_place_slot_colour_and_priority(slot):
    extractor = ChunkExtractor()
    extractor.begin(memory_of(batch_of([[0.123, 0.456, 0.237]], (10, 20, 30))))
    chunk = next(extractor.take())
    x, y, z, low, color_low, color_high = (int(v) for v in pack_points(chunk, slot)[0])
    assert [x & 16383, y & 16383, z & 16383] == chunk.local_q8[0].tolist()
    assert low | y >> 14 << 16 | z >> 14 << 18 == slot
    assert color_low | color_high << 16 == 10 | 20 << 8 | 30 << 16 | 192 << 24


def test_fresh_codes_are_those_not_known_before():
    codes, known = np.array([1, 4, 6, 9], np.uint32), np.array([0, 4, 9], np.uint32)
    assert is_fresh(codes, known).tolist() == [True, False, True, False]
    assert is_fresh(codes, known[:0]).all()


@pytest.fixture
def arena():
    ctx = create_offscreen_context()
    made = PointArena(ctx)
    yield made
    made.release()
    ctx.release()


def rows(count: int, value: int) -> np.ndarray:
    return np.full((count, 6), value, np.uint16)


def stored(arena: PointArena, first: int, count: int) -> np.ndarray:
    data = arena.buffer.read(size=count * BYTES_PER_POINT, offset=first * BYTES_PER_POINT)
    return np.frombuffer(data, np.uint16).reshape(count, 6)


def test_ranges_never_share_a_point_whatever_comes_and_goes(arena):
    rng = np.random.default_rng(3)
    held: dict[int, tuple[int, int]] = {}
    for step in range(300):
        slot = int(rng.integers(20))
        if slot in held and rng.random() < 0.3:
            arena.drop(slot)
            del held[slot]
        else:
            count = int(rng.integers(1, 40_000))
            held[slot] = (arena.put(slot, rows(count, 1000 + slot))[0], count)
        if step % 50 == 49:
            for other, (first, count) in held.items():
                assert (stored(arena, first, count) == 1000 + other).all()


def test_growing_keeps_what_is_there(arena):
    first, _ = arena.put(1, rows(100_000, 7))
    moved = [arena.put(slot, rows(100_000, slot))[1] for slot in range(2, 8)]
    assert any(moved)
    assert (stored(arena, first, 100_000) == 7).all()


def test_a_chunk_that_grows_a_little_stays_where_it_is(arena):
    first, _ = arena.put(1, rows(10_000, 1))
    arena.put(2, rows(10_000, 2))
    assert arena.put(1, rows(10_500, 3)) == (first, False)


def test_a_missing_driver_is_an_error_that_names_the_packages(monkeypatch):
    import moderngl

    def refuse(*args, **kwargs):
        raise Exception("libEGL.so not found")

    monkeypatch.setattr(moderngl, "create_context", refuse)
    with pytest.raises(GLUnavailableError, match="libegl1 and libgl1-mesa-dri"):
        GLRenderer()


def test_a_machine_without_opengl_has_no_hardware_opengl(monkeypatch):
    import moderngl

    def refuse(*args, **kwargs):
        raise Exception("libEGL.so not found")

    monkeypatch.setattr(moderngl, "create_context", refuse)
    has_hardware_driver.cache_clear()
    assert not is_hardware_gl()
    has_hardware_driver.cache_clear()


def test_the_driver_is_asked_once_in_a_process(monkeypatch):
    import moderngl

    has_hardware_driver.cache_clear()
    first = is_hardware_gl()
    monkeypatch.setattr(moderngl, "create_context", None)
    assert is_hardware_gl() is first


@pytest.mark.parametrize(
    ("name", "is_hardware"),
    [
        ("llvmpipe (LLVM 15.0.6, 256 bits)", False),
        ("softpipe", False),
        ("SwiftShader Device (LLVM)", False),
        ("NVIDIA H100/PCIe/SSE2", True),
        ("Mesa Intel(R) UHD Graphics 620", True),
    ],
)
def test_software_drivers_are_told_from_hardware(name, is_hardware):
    assert is_hardware_gl(SimpleNamespace(info={"GL_RENDERER": name})) is is_hardware
