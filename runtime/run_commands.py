"""What each command does."""

import json
import sys
import time

from ..generator.registry import check_generator_name, generator_names
from ..input.script import action_poses, parse_actions
from ..saves.sources import read_trajectory
from . import commands
from .errors import UserError
from .headless import TRACKED_FILE, Rollout, prepare_output, run_rollout, select_frames
from .path_rounds import shortfalls
from .persistence import damage_text
from .progress import progress_bar
from .record import Recording
from .replay import run_replay
from .resuming import VIDEO_FILE, WORLD_FILE, find_unfinished, key_of
from .sources import make_world
from .world import Progress, World
from .world import open as open_world

WORLD_SUFFIX = ".spatia"


def check_generator(name: str) -> None:
    """Refuse an unknown generator before anything is loaded; an empty name means the source's own.

    Raises:
        UserError: There is no such generator.
    """
    if not name:
        return
    try:
        check_generator_name(name)
    except ValueError:
        names = " | ".join(generator_names())
        raise UserError(f"--generator {names}", repr(name), "name one of these, or MODULE:CLASS of your own") from None


def is_world_file(source: str) -> bool:
    """True for the path of a saved world."""
    return source.endswith(WORLD_SUFFIX)


def rollout(command: commands.Rollout) -> int:
    """``spatia rollout``."""
    ways = [w for w in (command.path, command.actions or None, command.replay) if w is not None]
    if len(ways) != 1:
        raise UserError("one of --path, --actions and --replay", f"{len(ways)} of them", "give exactly one")
    check_generator(command.generator)
    size = commands.parse_size(command.size)
    prepare_output(command.out)
    path = None if command.path is None else read_trajectory(command.path)
    try:
        actions = parse_actions(command.actions) if command.actions else []
    except ValueError as error:
        raise UserError("--actions such as w-20,right-10", str(error).replace("\n", " "), "see docs/cli.md") from None
    recording = None if command.replay is None else Recording.read(command.replay)
    key = "" if recording is not None else key_of(command)
    found = find_unfinished(command.out, key)
    with progress_bar("opening") as report:
        started = time.perf_counter()
        if found is None:
            world = _world_of(command, report)
        else:
            world = open_world(command.out / WORLD_FILE)
            print(f"going on from frame {found.next_frame} of what was left in {command.out}", file=sys.stderr)
        opened_s = time.perf_counter() - started
        if recording is not None:
            run_replay(command, world, recording, report)
            print(command.out / VIDEO_FILE)
            return 0
        start = world.walk.world_T_camera if found is None else found.world_T_start
        poses = action_poses(actions, start, world.info.up_world) if path is None else path
        poses = select_frames(poses, command.frames)
        size = (size or world.default_size) if found is None else found.size
        job = Rollout(
            poses, command.out, size, command.generator, command.seed, command.quality, opened_s, key, found,
            in_rounds=path is not None,
        )  # fmt: skip
        facts = run_rollout(world, job, report)
    for line in shortfalls(facts):
        print(line, file=sys.stderr)
    print(command.out / VIDEO_FILE)
    return 0


def _world_of(command: commands.Rollout, report: Progress) -> World:
    if is_world_file(command.source):
        _refuse_source_options(command)
        world = open_world(command.source, read_only=True)
        if world.damage:
            print(damage_text(world), file=sys.stderr)
        if command.prompt:
            world.walk.prompt = command.prompt
        return world
    options = {name: getattr(command, name) for name in commands.SOURCE_OPTIONS}
    return make_world(
        command.source,
        options,
        seed=command.seed or 0,
        prompt=command.prompt,
        progress=report,
        sheet=command.out / TRACKED_FILE,
    )


def _refuse_source_options(command: commands.Rollout | commands.Walk) -> None:
    given = [n for n in commands.SOURCE_OPTIONS if getattr(command, n) is not None]
    if given:
        raise UserError(f"no --{given[0]} with a saved world", f"--{given[0]}", "leave it out")


def info(command: commands.Info) -> int:
    """``spatia info``."""
    from .persistence import describe

    facts = describe(command.world)
    if command.json:
        print(json.dumps(facts, indent=2))
        return 0
    width = max(len(k) for k in facts)
    for key, value in facts.items():
        text = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key.replace('_', ' '):<{width}}  {text}")
    return 0


def export(command: commands.Export) -> int:
    """``spatia export``."""
    from ..saves.exports import export_world
    from .path_video import FORMAT, write_path_video

    with progress_bar("opening") as report:
        world = open_world(command.world, read_only=True)
        if command.format == FORMAT:
            write_path_video(world, command.out, progress=lambda share: report("drawing", share))
            print(command.out)
            return 0
        export_world(
            command.out,
            world.memory.snapshot(),
            keyframes=world.bank.keyframes,
            format_name=command.format,
            metric=world.info.is_metric,
            progress=lambda share: report("writing", share),
        )
    print(command.out)
    return 0


def walk(command: commands.Walk) -> int:
    """``spatia walk``."""
    check_generator(command.generator)
    size = commands.parse_size(command.size)
    limit = commands.parse_bytes(command.memory_limit)
    from .walk import run_walk

    return run_walk(command, size, limit)


def bench(command: commands.Bench) -> int:
    """``spatia bench``."""
    from .bench import run_bench

    return run_bench(command)
