"""The Gymnasium environment: its contract, exact actions, seeded resets, going back."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import spatia
from gymnasium.utils.env_checker import check_env
from spatia.runtime.agent_actions import Action, ContinuousActions, DiscreteActions
from spatia.runtime.environment import WalkEnv
from spatia.runtime.errors import UserError
from spatia.runtime.world import World, create
from spatia.saves.sources import Source, SourceFrame
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import WALL_M, tiny_world
from spatia.world.camera import Pinhole

INSTANT = f"{MODULE}:InstantGenerator"
RAISING = f"{MODULE}:RaisingGenerator"
SIZE = (48, 36)
TOUR = (Action.FORWARD, Action.TURN_LEFT, Action.LOOK_UP, Action.FORWARD, Action.TURN_RIGHT, Action.TURN_RIGHT)


def _env(world: World | None = None, **arguments: Any) -> WalkEnv:
    settings = {"generator": INSTANT, "size": SIZE, **arguments}
    return WalkEnv(world or tiny_world(), **settings)


@pytest.fixture
def env() -> Iterator[WalkEnv]:
    made = _env()
    yield made
    made.close()


def _assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        assert np.array_equal(a[key], b[key]), key


def _play(env: WalkEnv, actions: tuple[Any, ...] = TOUR) -> list[dict[str, np.ndarray]]:
    return [env.step(action)[0] for action in actions]


def _position(observation: dict[str, np.ndarray]) -> np.ndarray:
    return observation["pose"][:3, 3]


# -- the contract of Gymnasium ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
@pytest.mark.parametrize("task", ["free", "pointgoal", "exploration"])
def test_the_checker_of_gymnasium_finds_nothing(task: str, actions: str) -> None:
    made = gymnasium.make(
        "spatia/Walk-v0", world=tiny_world(), generator=INSTANT, size=SIZE, task=task, actions=actions
    )
    check_env(made.unwrapped)  # its warnings are errors here
    made.close()


def test_it_is_registered_by_importing_spatia_before_or_after_gymnasium() -> None:
    for order in ("import spatia, gymnasium", "import gymnasium, spatia"):
        code = f"{order}; assert 'spatia/Walk-v0' in gymnasium.registry; gymnasium.spec('spatia/PointGoal-v0')"
        assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, timeout=120).returncode == 0


def test_naming_the_module_registers_it_too() -> None:
    code = "import gymnasium; gymnasium.make('spatia:spatia/Walk-v0', world='nothing')"
    out = subprocess.run([sys.executable, "-c", code], check=False, timeout=120, capture_output=True, text=True)
    assert "UserError: expected a file, a folder or a sample" in out.stderr


def test_importing_spatia_imports_no_gymnasium() -> None:
    code = "import spatia, sys; assert not {'gymnasium', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_asking_whether_gymnasium_is_there_does_not_use_up_the_registration() -> None:
    code = (
        "import spatia, importlib.util as u; assert u.find_spec('gymnasium'); import gymnasium, sys; "
        "assert 'spatia/Walk-v0' in gymnasium.registry; "
        "assert not any(type(f).__module__.startswith('spatia') for f in sys.meta_path)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_observations_are_of_their_space(env: WalkEnv) -> None:
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert observation["rgb"].shape == (SIZE[1], SIZE[0], 3)
    assert observation["rgb"].dtype == np.uint8
    assert observation["depth"].dtype == np.float32
    assert observation["pose"].dtype == np.float64


def test_depth_is_metres_and_zero_where_nothing_is_known(env: WalkEnv) -> None:
    observation, _ = env.reset(seed=0)
    center = observation["depth"][SIZE[1] // 2, SIZE[0] // 2]
    assert center == pytest.approx(WALL_M, abs=0.06)
    away, _ = env.reset(seed=0, options={"pose": np.diag([-1.0, 1.0, -1.0, 1.0])})
    assert (away["depth"] == 0).all()


def test_a_stop_terminates_and_a_time_limit_truncates() -> None:
    made = gymnasium.make("spatia/Walk-v0", world=tiny_world(), generator="none", size=SIZE, max_episode_steps=2)
    made.reset(seed=0)
    assert made.step(Action.TURN_LEFT)[2:4] == (False, False)
    assert made.step(Action.TURN_LEFT)[2:4] == (False, True)
    made.reset(seed=0)
    assert made.step(Action.STOP)[2:4] == (True, False)
    made.close()


def test_an_episode_must_have_begun(env: WalkEnv) -> None:
    for call in (lambda: env.step(0), env.render, env.snapshot):
        with pytest.raises(gymnasium.error.ResetNeeded):
            call()


def test_an_episode_that_is_over_takes_no_action(env: WalkEnv) -> None:
    env.reset(seed=0)
    env.step(Action.STOP)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(Action.FORWARD)


def test_closing_twice_is_fine_and_then_nothing_goes_on(env: WalkEnv) -> None:
    env.reset(seed=0)
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.step(Action.FORWARD)


def test_the_picture_is_the_observation_or_of_another_size() -> None:
    small, large = _env(render_mode="rgb_array"), _env(render_mode="rgb_array", render_size=(96, 72))
    observation, _ = small.reset(seed=0)
    assert np.array_equal(small.render(), observation["rgb"])
    same, _ = large.reset(seed=0)
    assert large.render().shape == (72, 96, 3)
    _assert_same(observation, same)
    small.close()
    large.close()


def test_a_vector_of_environments_shares_one_world() -> None:
    world = tiny_world()
    before = world.content_hash()

    def make() -> gymnasium.Env:
        return gymnasium.make("spatia/PointGoal-v0", world=world, generator=INSTANT, size=SIZE, max_episode_steps=3)

    vector = gymnasium.vector.SyncVectorEnv([make, make])
    observations, _ = vector.reset(seed=[5, 5])
    for _ in range(4):  # over the end of an episode
        observations, rewards, _, _, info = vector.step(np.array([Action.FORWARD, Action.FORWARD]))
        assert np.array_equal(observations["rgb"][0], observations["rgb"][1])
        assert rewards[0] == rewards[1]
    assert info["distance_to_goal_m"].shape == (2,)
    assert world.content_hash() == before
    vector.close()


# -- actions ----------------------------------------------------------------------------------------------------------


def test_a_step_is_a_quarter_of_a_metre_and_leaves_no_speed(env: WalkEnv) -> None:
    start, _ = env.reset(seed=0)
    walked = _play(env, (Action.FORWARD, Action.TURN_LEFT, Action.LOOK_DOWN))
    offset = _position(walked[0]) - _position(start)
    assert np.linalg.norm(offset[[0, 2]]) == pytest.approx(0.25, abs=2e-3)
    assert offset[2] > 0.24
    assert np.allclose(_position(walked[2])[[0, 2]], _position(walked[0])[[0, 2]], atol=1e-9)


def test_turns_are_fifteen_degrees(env: WalkEnv) -> None:
    _, before = env.reset(seed=0)
    for action, key, sign in (
        (Action.TURN_RIGHT, "heading_rad", 1),
        (Action.TURN_LEFT, "heading_rad", -1),
        (Action.LOOK_UP, "pitch_rad", 1),
        (Action.LOOK_DOWN, "pitch_rad", -1),
    ):
        after = env.step(action)[4]
        assert after[key] - before[key] == pytest.approx(sign * np.radians(15.0), abs=1e-9)
        before = after


def test_other_step_sizes_can_be_chosen() -> None:
    made = _env(actions=DiscreteActions(forward_m=0.4, turn_rad=float(np.radians(10.0))))
    _, before = made.reset(seed=0)
    assert made.step(Action.FORWARD)[4]["path_length_m"] == pytest.approx(0.4, abs=1e-6)
    assert made.step(Action.TURN_RIGHT)[4]["heading_rad"] == pytest.approx(np.radians(10.0) + before["heading_rad"])
    made.close()


@pytest.mark.parametrize(
    ("action", "axis", "sign"), [([1, 0, 0, 0], 2, 1), ([-1, 0, 0, 0], 2, -1), ([0, 1, 0, 0], 0, 1)]
)
def test_continuous_actions_walk_in_their_direction(action: list[float], axis: int, sign: int) -> None:
    made = _env(actions="continuous")
    start, _ = made.reset(seed=0)
    end = _play(made, (np.array(action, np.float32),))[-1]
    assert (_position(end) - _position(start))[axis] * sign > 0.1
    made.close()


def test_continuous_turns_are_a_share_of_ninety_degrees_a_second() -> None:
    made = _env(actions=ContinuousActions(duration_s=0.5))
    _, before = made.reset(seed=0)
    after = made.step(np.array([0, 0, 1, 0.5], np.float32))[4]
    assert after["heading_rad"] - before["heading_rad"] == pytest.approx(np.radians(45.0))
    assert after["pitch_rad"] - before["pitch_rad"] == pytest.approx(np.radians(22.5))
    made.close()


def test_asking_for_nothing_does_not_end_a_free_walk() -> None:
    made = _env(actions="continuous")
    made.reset(seed=0)
    assert made.step(np.zeros(4, np.float32))[2] is False
    made.close()


def test_a_wall_is_felt_and_stops_the_agent() -> None:
    made = _env(generator="none")
    made.reset(seed=0)
    infos = [made.step(Action.FORWARD)[4] for _ in range(14)]
    assert not any(i["collided"] for i in infos[:9])
    assert infos[-1]["collided"]
    assert infos[-1]["path_length_m"] < WALL_M - 0.15
    assert infos[-1]["num_collisions"] == sum(i["collided"] for i in infos)
    made.close()


@pytest.mark.parametrize("action", [6, -1, "forward", None])
def test_an_action_that_there_is_not_is_refused(env: WalkEnv, action: Any) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match="forward"):
        env.step(action)


@pytest.mark.parametrize("action", [[0, 0, 0], [0, np.nan, 0, 0]])
def test_continuous_actions_are_checked(action: list[float]) -> None:
    made = _env(actions="continuous")
    made.reset(seed=0)
    with pytest.raises(ValueError, match="4 finite numbers"):
        made.step(np.array(action))
    made.close()


# -- resets and seeds -------------------------------------------------------------------------------------------------


def test_a_reset_restores_the_initial_world_exactly() -> None:
    world = tiny_world()
    made = _env(world)
    first, _ = made.reset(seed=1)
    before = (made.world.content_hash(), made.world.bank.next_id, made.world.walk.next_request_id)
    assert before[0] == world.content_hash()
    _play(made)
    assert made.world.content_hash() != before[0]
    again, info = made.reset(seed=1)
    assert (made.world.content_hash(), made.world.bank.next_id, made.world.walk.next_request_id) == before
    assert info["clips_merged"] == 0
    _assert_same(first, again)
    made.close()


def test_the_same_seed_and_actions_give_the_same_observations(env: WalkEnv) -> None:
    env.reset(seed=7)
    first, after = _play(env), env.world.content_hash()
    env.reset(seed=8)
    _play(env, TOUR[::-1])
    env.reset(seed=7)
    for a, b in zip(first, _play(env), strict=True):
        _assert_same(a, b)
    assert env.world.content_hash() == after


def test_a_new_environment_gives_the_same_observations() -> None:
    runs = []
    for _ in range(2):
        made = _env()
        made.reset(seed=7)
        runs.append(_play(made))
        made.close()
    for a, b in zip(*runs, strict=True):
        _assert_same(a, b)


def test_seeds_reach_what_is_generated(env: WalkEnv) -> None:
    seeds = []
    for seed in (1, 1, 2):
        env.reset(seed=seed)
        _play(env)
        seeds.append([e.data["seed"] for e in env.world.journal])
    assert seeds[0] == seeds[1] != seeds[2]


def test_episodes_without_a_seed_differ_but_follow_from_the_first(env: WalkEnv) -> None:
    def seeds() -> list[int]:
        out = []
        for seed in (3, None):
            env.reset(seed=seed)
            out.append(env.session.seed)
        return out

    first = seeds()
    assert first[0] != first[1]
    assert seeds() == first


def test_what_is_missing_is_there_when_the_agent_looks() -> None:
    shares = {}
    for generator in ("none", INSTANT):
        made = _env(generator=generator)
        made.reset(seed=0)
        shares[generator] = [(o["depth"] > 0).mean() for o in _play(made, (Action.TURN_LEFT,) * 6)]
        made.close()
    assert all(made > left + 0.1 for made, left in zip(shares[INSTANT], shares["none"], strict=True))


def test_a_generator_that_fails_is_told_and_the_walk_goes_on() -> None:
    world = tiny_world()
    world.walk.prompt = "raise"
    made = _env(world, generator=RAISING)
    made.reset(seed=0)
    assert made.step(Action.TURN_LEFT)[4]["clips_failed"] > 0
    assert made.step(Action.TURN_LEFT)[4]["num_actions"] == 2
    made.close()


def test_an_episode_can_begin_elsewhere(env: WalkEnv) -> None:
    pose = np.eye(4)
    pose[:3, 3] = (0.4, 0.0, 0.6)
    observation, _ = env.reset(seed=0, options={"pose": pose})
    assert np.allclose(_position(observation), pose[:3, 3])


@pytest.mark.parametrize("options", [{"pose": np.ones((4, 4))}, {"place": 1}])
def test_wrong_options_are_refused(env: WalkEnv, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pose"):
        env.reset(seed=0, options=options)


# -- going back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["free", "pointgoal", "exploration"])
def test_a_snapshot_can_be_left_in_two_directions(task: str) -> None:
    made = _env(task=task)
    made.reset(seed=2)
    _play(made, TOUR[:3])
    snapshot = made.snapshot()
    straight = [made.step(action) for action in TOUR]
    _play(made, TOUR[::-1])
    made.restore(snapshot)
    _play(made, TOUR[::-1])
    made.restore(snapshot)
    for before, again in zip(straight, [made.step(action) for action in TOUR], strict=True):
        _assert_same(before[0], again[0])
        assert before[1:4] == again[1:4]
        assert {k: v for k, v in before[4].items() if k != "goal_world"} == {
            k: v for k, v in again[4].items() if k != "goal_world"
        }
    made.close()


def test_restoring_tells_the_moment(env: WalkEnv) -> None:
    env.reset(seed=2)
    observation, _, _, _, info = env.step(Action.FORWARD)
    snapshot = env.snapshot()
    _play(env)
    again, then = env.restore(snapshot)
    _assert_same(observation, again)
    assert then == info


def test_a_snapshot_goes_on_in_another_environment_of_the_same_kind() -> None:
    world = tiny_world()
    one, two = _env(world), _env(world)
    one.reset(seed=2)
    _play(one, TOUR[:3])
    two.restore(one.snapshot())
    for a, b in zip(_play(one), _play(two), strict=True):
        _assert_same(a, b)
    one.close()
    two.close()


def test_a_snapshot_of_another_kind_is_refused(env: WalkEnv) -> None:
    other = _env(task="exploration")
    other.reset(seed=0)
    with pytest.raises(ValueError, match="snapshot"):
        env.restore(other.snapshot())
    other.close()


def test_an_episode_that_was_over_goes_on_from_before(env: WalkEnv) -> None:
    env.reset(seed=0)
    snapshot = env.snapshot()
    env.step(Action.STOP)
    env.restore(snapshot)
    assert env.step(Action.FORWARD)[4]["num_actions"] == 1


# -- worlds and arguments ---------------------------------------------------------------------------------------------


def test_the_world_that_was_given_stays_as_it_is() -> None:
    world = tiny_world()
    before = (world.content_hash(), world.walk.tick, len(world.journal), world.bank.next_id)
    made = _env(world)
    made.reset(seed=0)
    _play(made)
    made.close()
    assert (world.content_hash(), world.walk.tick, len(world.journal), world.bank.next_id) == before


def test_a_world_file_is_read_and_never_written(tmp_path: Path) -> None:
    world = tiny_world()
    path = world.save(tmp_path / "tiny.spatia")
    before = path.read_bytes()
    made = gymnasium.make("spatia/Walk-v0", world=path, generator=INSTANT, size=SIZE)
    made.reset(seed=0)
    assert made.unwrapped.world.content_hash() == world.content_hash()
    made.step(Action.TURN_LEFT)
    made.close()
    assert path.read_bytes() == before


def test_an_episodes_world_can_be_saved(tmp_path: Path, env: WalkEnv) -> None:
    env.reset(seed=0)
    _play(env)
    env.world.fork().save(tmp_path / "episode.spatia")
    assert spatia.open(tmp_path / "episode.spatia", read_only=True).content_hash() == env.world.content_hash()


@pytest.mark.slow
def test_the_truth_of_a_procedural_place_is_told() -> None:
    from spatia.generator.procedural.classes import SURFACE_CLASSES
    from spatia.generator.procedural.place import Place, PlaceSpec

    place, pinhole = Place(PlaceSpec.parse("rooms:7:day")), Pinhole.from_fov(96, 72, 1.3)
    pose = place.start_pose()
    view = place.render(pose, pinhole)
    frame = SourceFrame(view.color, view.depth_m, pinhole, pose, view.moving)
    source = Source(name="rooms", kind="sample", frames=(frame,), metric=True, note="")
    made = _env(create(source, voxel_size_m=0.04), generator="none", place="rooms:7:day", fov_rad=1.3)
    observation, info = made.reset(seed=0)
    truth = info["truth"]
    known = (observation["depth"] > 0) & (truth["depth"] > 0) & ~truth["moving"]  # depth 0 is sky
    error = np.abs(observation["depth"] - truth["depth"])[known] / truth["depth"][known]
    assert np.median(error) < 0.03
    assert np.array_equal(truth["pose"], observation["pose"])
    assert {"floor", "wall"} <= {SURFACE_CLASSES[i] for i in np.unique(truth["surface_class"])}
    assert truth["is_blocked"] is False
    walls = [made.step(Action.FORWARD)[4]["truth"]["depth"] for _ in range(2)]
    assert not np.array_equal(walls[0], walls[1])
    made.close()


@pytest.mark.slow
def test_a_sample_is_named() -> None:
    made = gymnasium.make("spatia/Walk-v0", world="garage", generator="none", size=SIZE, fov_rad=1.2)
    observation, _ = made.reset(seed=0)
    assert 0.2 < (observation["depth"] > 0).mean() <= 1.0
    assert made.unwrapped.session.pinhole.fov_x_rad == pytest.approx(1.2)
    made.close()


def test_a_name_that_is_nothing_says_what_there_is() -> None:
    with pytest.raises(UserError, match="garage"):
        WalkEnv("gaage")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "chess"}, "pointgoal"),
        ({"actions": "jump"}, "discrete"),
        ({"size": (4, 4)}, "at least 8"),
        ({"fov_rad": 4.0}, "radians"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"generator": "nobody"}, "outpaint"),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _env(**arguments)


@pytest.mark.parametrize("arguments", [{"forward_m": 0.0}, {"turn_rad": -1.0}, {"look_rad": float("nan")}])
def test_step_sizes_are_positive(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        DiscreteActions(**arguments)
