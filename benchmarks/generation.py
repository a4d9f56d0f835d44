"""Generation stage by stage: time, tokens, arithmetic, share of the machine's peak, memory; and what each means gains.

    python benchmarks/generation.py [--preset tiny|small|5b] [--size 832x480] [--frames 81] [--steps 4] [--guidance 1]
                                    [--device cpu|cuda] [--compile] [--quick] [--json FILE]

Weights are random: speed does not depend on them. On a GPU the preset is 5b by default, and one run gives all figures:
stages, means, the authors' setting against a plain run of the same network, and the peak of every way to keep weights.
Without a GPU the preset is tiny; 5b is then only accounted for. ``--quick`` takes under 45 s on a CPU. The long form
compiles the blocks too, which takes minutes, where a C++ compiler is there.
"""

import argparse
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from comparison import Result, describe_machine, options_parser, report, within
from spatia.generator.lifting import LiftThread
from spatia.generator.spatia.accounting import Work, meta_network, meta_text, meta_vae, need_of, stages_of
from spatia.generator.spatia.config import PRESETS, TEXT_TOKENS
from spatia.generator.spatia.memory_plans import PLANS, cast_to_fp8, stream_network, stream_text
from spatia.generator.spatia.pipeline import SpatiaPipeline
from spatia.generator.spatia.sampling import guided, make_scheduler, set_steps
from spatia.generator.spatia.speed import cache_steps, compile_blocks, fuse_qkv, keep_conditions, split_qkv
from spatia.generator.spatia.tiny import tiny_pipeline, tiny_tokenizer
from spatia.generator.spatia.transformer import SpatiaTransformer3DModel
from spatia.generator.spatia.vae import decode_pieces, frames_of
from spatia.renderer.conditioning import render_scene_video
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory
from spatia.world.slam.estimators import FrameStack, make_estimator
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

PEAK_FLOPS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 311.9e12}
"""Dense bfloat16, from the makers' data sheets; other machines' peak is that of a large matrix product."""
HISTORY, GUIDANCE, CACHE_STEPS, CACHE_THRESHOLD = 9, 3.5, 12, 0.1
OVERLAP_ROUNDS = 4
LIMIT_S, LEAST_MFU, LEAST_GAIN = 3.0, 0.55, 1.5
WALK = Work(832, 480, 81, 7)
AUTHORS = Work(1248, 704, 81, 7)
GB = 1e9


@dataclass(frozen=True)
class Setting:
    """What is measured, and on what."""

    preset: str
    work: Work
    steps: int
    guidance: float
    device: torch.device
    peak_flops: float
    machine: str

    @property
    def passes(self) -> int:
        """Passes through the network of a clip."""
        return self.steps * (2 if self.guidance > 1 else 1)


def options() -> argparse.Namespace:
    """The command line."""
    parser = options_parser("Times generation stage by stage, and what each means of speed gains.")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="5b on a GPU, tiny elsewhere, if not given")
    parser.add_argument("--size", default="", help="of a frame, such as 832x480")
    parser.add_argument("--frames", type=int, help="of a round, 9 of history included")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile in the short form too")
    return parser.parse_args()


def setting_of(arguments: argparse.Namespace) -> Setting:
    """What the command line asks for."""
    device = torch.device(arguments.device)
    is_gpu = device.type == "cuda"
    preset = arguments.preset or ("5b" if is_gpu else "tiny")
    size = arguments.size or ("832x480" if preset == "5b" else "96x64")
    frames = arguments.frames or (81 if preset == "5b" else 13)
    width, height = (int(side) for side in size.split("x"))
    name = torch.cuda.get_device_name(device) if is_gpu else describe_machine()
    peak = next((flops for key, flops in PEAK_FLOPS.items() if key in name), 0.0) or measured_peak(device)
    return Setting(preset, Work(width, height, frames, 7), arguments.steps, arguments.guidance, device, peak, name)


def measured_peak(device: torch.device) -> float:
    """Operations a second of a large matrix product."""
    n, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a = torch.randn(n, n, device=device, dtype=dtype)
    return 2 * n**3 / (median_ms(lambda: done(a @ a), 5) / 1e3)


def clock_s() -> float:
    """Time of the wall where a GPU works, of the processor elsewhere: a busy machine then changes little."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def median_ms(run: Callable[[], Any], repeats: int) -> float:
    """Median milliseconds after one untimed call."""
    run()
    times = []
    for _ in range(repeats):
        start = clock_s()
        run()
        times.append(clock_s() - start)
    return 1e3 * float(np.median(times))


def done(value: Any) -> Any:
    """The value when the device has finished it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return value


COMPILERS = ("c++", "g++", "clang++")
RANDOM_BLOCK = 1 << 20
"""Weights in main memory repeat so many random numbers: drawing billions takes minutes, and speed is the same."""


def has_compiler() -> bool:
    """Whether torch can compile for a CPU here."""
    return any(shutil.which(name) for name in COMPILERS)


def filled(module: nn.Module, device: torch.device, dtype: torch.dtype | None) -> Any:
    """A module of the meta device with random weights; ``dtype`` None keeps the types."""
    generator = torch.Generator(device).manual_seed(0)
    made: dict[int, nn.Parameter] = {}
    for name, parameter in list(module.named_parameters(remove_duplicate=False)):
        owner, _, leaf = name.rpartition(".")
        if id(parameter) in made:  # one tensor under two names, such as the text encoder's embedding
            setattr(module.get_submodule(owner), leaf, made[id(parameter)])
            continue
        kind = dtype or parameter.dtype
        value = torch.empty(parameter.shape, device=device, dtype=torch.float32 if parameter.ndim < 2 else kind)
        if parameter.ndim < 2:
            value = value.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0).to(kind)
        elif device.type == "cpu" and value.numel() > RANDOM_BLOCK:
            block = torch.empty(RANDOM_BLOCK, dtype=kind).normal_(0.0, 0.02, generator=generator)
            value = block.repeat(-(-value.numel() // RANDOM_BLOCK))[: value.numel()].view(value.shape)
        else:
            value.normal_(0.0, 0.02, generator=generator)
        made[id(parameter)] = nn.Parameter(value, requires_grad=False)
        setattr(module.get_submodule(owner), leaf, made[id(parameter)])
    return module.eval()


def pipeline_of(setting: Setting) -> SpatiaPipeline:
    """The preset with random weights; without a text encoder where it is too large for the machine."""
    if setting.preset == "tiny":
        return tiny_pipeline().to(setting.device)
    dtype = None if setting.device.type == "cuda" else torch.float32
    network = filled(meta_network.__wrapped__(setting.preset), setting.device, dtype)
    vae = filled(meta_vae.__wrapped__(setting.preset), setting.device, dtype)
    text = filled(meta_text.__wrapped__(setting.preset), setting.device, dtype) if dtype is None else None
    return SpatiaPipeline(tiny_tokenizer() if text is not None else None, text, vae, network, make_scheduler())


def text_row(setting: Setting) -> Result:
    """Time of a text encoder that is too large for this machine: one of its layers, by their number."""
    sizes = PRESETS[setting.preset].text
    one = replace(sizes, num_layers=1, vocab_size=TEXT_TOKENS)
    with torch.device("meta"):
        encoder = UMT5EncoderModel(UMT5Config(**one.as_arguments()))
    encoder = filled(encoder, setting.device, torch.float32)
    ids = torch.arange(TEXT_TOKENS, device=setting.device)[None] % TEXT_TOKENS
    with torch.no_grad():
        layer_s = median_ms(lambda: done(encoder(ids).last_hidden_state), 1) / 1e3
    value, flops = layer_s * sizes.num_layers, stages_of(setting.preset, setting.work.padded).text.flops
    share = flops / value / setting.peak_flops
    note = f"{sizes.num_layers} times one layer; {flops / 1e12:.3g} TFLOP, {share:.1%} of the peak"
    return Result("text", "s", value, None, note, None, None, setting.machine)


def pictures(work: Work, count: int) -> np.ndarray:
    """(count, H, W, 3) uint8 noise, soft as pictures are."""
    small = np.random.default_rng(0).integers(0, 256, (count, work.height // 8, work.width // 8, 3), dtype=np.uint8)
    return small.repeat(8, 1).repeat(8, 2)


@dataclass
class Stopwatch:
    """Seconds by stage."""

    seconds: dict[str, float]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        done(None)
        start = time.perf_counter()
        yield
        done(None)
        self.seconds[name] = time.perf_counter() - start


def run_round(pipeline: SpatiaPipeline, setting: Setting) -> dict[str, float]:
    """Make one later round as the worker does; seconds by stage."""
    watch = Stopwatch({})
    stack = make_round(pipeline, setting, watch)
    with watch.stage("estimate"):
        estimate_round(stack)
    return watch.seconds


def estimate_round(stack: FrameStack) -> None:
    """Depth of a round's frames, without weights: the longest part of lifting it."""
    make_estimator("multiview").estimate(stack, SpatialMemory(0.05).snapshot())


def make_round(pipeline: SpatiaPipeline, setting: Setting, watch: Stopwatch) -> FrameStack:
    """Make one later round up to its frames."""
    work = setting.work.padded
    dim = PRESETS[setting.preset].network.text_dim
    embedded = torch.randn(1, 512, dim, device=setting.device, dtype=pipeline.transformer.dtype)
    if pipeline.text_encoder is not None:
        with watch.stage("text"):
            embedded = pipeline.encode_text("a quiet kitchen")
    points = np.random.default_rng(0).uniform((-2, -2, 1), (2, 2, 4), (100_000, 3)).astype(np.float32)
    poses = np.repeat(np.eye(4)[None], work.num_frames, 0)
    pinhole = Pinhole.from_fov(work.width, work.height, 1.2)
    with watch.stage("condition"):
        scene = render_scene_video(points, np.full((len(points), 3), 128, np.uint8), poses, pinhole)
    began = [0.0]
    start = time.perf_counter()
    made: Any = pipeline(
        prompt_embeds=embedded,
        negative_prompt_embeds=embedded,
        history=pictures(work, HISTORY),
        references=list(pictures(work, work.num_references)),
        scene_video=scene.color,
        coverage=scene.coverage,
        height=work.height,
        width=work.width,
        num_frames=work.num_frames,
        num_inference_steps=setting.steps,
        guidance_scale=setting.guidance,
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="latent",
        callback_on_start=lambda: began.__setitem__(0, done(time.perf_counter())),
    )
    done(None)
    watch.seconds |= {"encode": began[0] - start, "denoise": time.perf_counter() - began[0]}
    frames, start = [], time.perf_counter()
    for piece in decode_pieces(pipeline.vae, made.latents):
        frames.append(frames_of(piece))
        watch.seconds.setdefault("first frames", done(time.perf_counter()) - start)
    watch.seconds["decode"] = time.perf_counter() - start
    poses[:, 0, 3] = np.linspace(0, 0.5, len(poses))
    return FrameStack(np.concatenate(frames), None, None, None, None, poses, pinhole)


def overlap_rows(pipeline: SpatiaPipeline, setting: Setting, repeats: int) -> list[Result]:
    """A round with the one before it being lifted on the worker's second thread, and one after the other, in turns."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for k in range(2 * repeats):
        start = time.perf_counter()
        rounds_in_a_row(pipeline, setting, is_overlapped=bool(k % 2))
        times[bool(k % 2)].append((time.perf_counter() - start) / OVERLAP_ROUNDS)
    apart, beside = (float(np.median(times[key])) for key in (False, True))
    note = f"one after the other; median of {repeats} each, by the wall's clock"
    name = "a round, the one before it lifted beside"
    return [Result(name, "s", beside, apart, note, apart / beside, None, setting.machine)]


def rounds_in_a_row(pipeline: SpatiaPipeline, setting: Setting, *, is_overlapped: bool) -> None:
    """Make and lift some rounds, each lifted beside the next or before it."""
    lifting = LiftThread()
    for _ in range(OVERLAP_ROUNDS):
        stack = make_round(pipeline, setting, Stopwatch({}))
        lifting.wait(lambda: None)
        lifting.start(lambda stack=stack: estimate_round(stack))
        if not is_overlapped:
            lifting.wait(lambda: None)
    lifting.wait(lambda: None)


def stage_rows(setting: Setting, seconds: dict[str, float]) -> list[Result]:
    """Time of every stage, and of those of the model their arithmetic and share of the peak."""
    stages, work = stages_of(setting.preset, setting.work.padded), setting.work
    controls = 2 + (HISTORY + work.num_references) / work.num_frames
    flops = {
        "text": stages.text.flops,
        "encode": controls * stages.encode.flops,
        "denoise": setting.passes * stages.denoise.flops,
        "decode": stages.decode.flops,
    }
    where = f"{setting.preset}, {work}, {setting.steps} steps, guidance {setting.guidance:g}"
    rows = []
    for name, value in seconds.items():
        note = where if name == "condition" else ""
        if name in flops:
            note = f"{flops[name] / 1e12:.3g} TFLOP, {flops[name] / value / setting.peak_flops:.1%} of the peak"
        rows.append(Result(name, "s", value, None, note, None, None, setting.machine))
    both, mfu = seconds["denoise"] + seconds["decode"], flops["denoise"] / seconds["denoise"] / setting.peak_flops
    rows.append(Result("tokens", "", work.num_tokens, None, "of the main blocks", None, None, setting.machine))
    if setting.preset == "5b" and work == WALK and setting.passes == 4:
        rows.append(within("denoise + decode", "s", both, LIMIT_S, setting.machine))
        rows.append(within("MFU of denoising", "", mfu, LEAST_MFU, setting.machine, at_most=False))
        rest = sum(value for name, value in seconds.items() if name not in ("estimate", "first frames"))
        rows.append(within("all but the estimator (stretch)", "s", rest, LIMIT_S, setting.machine))
    peak = torch.cuda.max_memory_allocated() if setting.device.type == "cuda" else 1024 * maximum_resident_kib()
    rows.append(Result("peak memory", "GB", peak / GB, None, "GPU or process", None, None, setting.machine))
    return rows


def maximum_resident_kib() -> int:
    """Of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def network_inputs(network: Any, work: Work, seed: int = 0) -> dict[str, Any]:
    """Arguments of one pass in the middle of sampling."""
    sizes, work = network.config, work.padded
    latents, rows, columns = (work.num_frames - 1) // 4 + 1, work.height // 16, work.width // 16
    device, dtype = network.device, network.dtype
    generator = torch.Generator(device).manual_seed(seed)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=dtype)

    timestep = torch.full((1, work.num_references + latents), 700.0, device=device)
    timestep[:, : work.num_references + 3] = 0
    return {
        "hidden_states": randn(1, sizes.in_channels, work.num_references + latents, rows, columns),
        "timestep": timestep,
        "encoder_hidden_states": randn(1, 512 if device.type == "cuda" else 32, sizes.text_dim),
        "control_hidden_states": randn(1, sizes.control_channels, latents, rows, columns),
        "num_reference_frames": work.num_references,
    }


def narrow_network() -> Any:
    """As deep as ``small``, but narrow, so that a CPU measures it in seconds."""
    sizes = replace(PRESETS["small"].network, num_attention_heads=4, ffn_dim=768, text_dim=64)
    with torch.device("meta"):
        network = SpatiaTransformer3DModel(**sizes.as_arguments())
    return filled(network, torch.device("cpu"), torch.float32)


@torch.no_grad()
def sequential(network: Any, inputs: dict[str, Any], negative: torch.Tensor) -> torch.Tensor:
    """Guided velocity of the clip by two passes, one after the other."""
    told = network(**inputs).sample.float()
    other = network(**inputs | {"encoder_hidden_states": negative}).sample.float()
    return done(guided(told, other, GUIDANCE)[:, :, inputs["num_reference_frames"] :])


@torch.no_grad()
def batched(network: Any, twice: dict[str, Any]) -> torch.Tensor:
    """The same by one pass over a batch of two."""
    both = network(**twice).sample.float()
    return done(guided(both[:1], both[1:], GUIDANCE)[:, :, twice["num_reference_frames"] :])


def doubled(inputs: dict[str, Any], negative: torch.Tensor) -> dict[str, Any]:
    """Inputs of both passes as one batch."""
    out = {k: torch.cat((v, v)) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
    return out | {"encoder_hidden_states": torch.cat((inputs["encoder_hidden_states"], negative))}


def difference(made: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative error of a velocity."""
    return float((made - exact).norm() / exact.norm())


def means_rows(network: Any, work: Work, setting: Setting, *, compiles: bool, repeats: int) -> list[Result]:
    """Gain and difference of each means, against two eager passes in which everything is computed anew."""
    dtype = network.dtype
    inputs, negative = network_inputs(network, work), network_inputs(network, work, 1)["encoder_hidden_states"]
    twice, rows = doubled(inputs, negative), []

    def plain() -> torch.Tensor:
        return sequential(network, inputs, negative)

    exact = plain()
    plain_ms = median_ms(plain, repeats)

    def add(name: str, run: Callable[[], torch.Tensor] = plain) -> None:
        error, ours_ms = difference(run(), exact), median_ms(run, repeats)
        note = f"plain; velocity differs by {error:.1e}"
        rows.append(Result(name, "ms", ours_ms, plain_ms, note, plain_ms / ours_ms, None, setting.machine))

    with keep_conditions(network):
        add("kept conditions")
    add("batched guidance", lambda: batched(network, twice))
    fuse_qkv(network)
    add("fused q, k, v")
    split_qkv(network)
    rows += cache_rows(network, inputs, negative, setting)
    if compiles:
        compile_blocks(network)
        add("torch.compile")
    cast_to_fp8(network, dtype)
    add("fp8 weights, compiled" if compiles else "fp8 weights")
    return rows


@torch.no_grad()
def cache_rows(network: Any, inputs: dict[str, Any], negative: torch.Tensor, setting: Setting) -> list[Result]:
    """Step cache over a short sampling: velocities are compared at the latents of the exact run."""
    scheduler, references = make_scheduler(), inputs["num_reference_frames"]
    latents = inputs["hidden_states"].clone()
    still = inputs["timestep"] == 0
    exact, visited = [], []
    start = clock_s()
    for timestep in set_steps(scheduler, CACHE_STEPS, setting.device):
        told = inputs | {"hidden_states": latents, "timestep": torch.where(still, 0.0, timestep.float())}
        velocity = sequential(network, told, negative)
        visited.append(told)
        exact.append(velocity)
        step: Any = scheduler.step
        moved = step(velocity.to(latents.dtype), timestep, latents[:, :, references:], return_dict=False)[0]
        latents = torch.cat((latents[:, :, :references], moved), dim=2)
    plain_ms = 1e3 * (clock_s() - start)
    with keep_conditions(network), cache_steps(network, CACHE_THRESHOLD) as cache:
        start = clock_s()
        made = [sequential(network, told, negative) for told in visited]
        cached_ms = 1e3 * (clock_s() - start)
    worst = max(difference(a, b) for a, b in zip(made, exact, strict=True))
    share = 0.0 if cache is None else cache.num_cached / cache.num_steps
    note = f"plain; {share:.0%} of passes cached, velocity differs by {worst:.1e} at most"
    gain = plain_ms / cached_ms
    name = f"step cache {CACHE_THRESHOLD:g}, {CACHE_STEPS} steps"
    return [Result(name, "ms", cached_ms, plain_ms, note, gain, None, setting.machine)]


def plan_rows(setting: Setting, *, measures: bool) -> list[Result]:
    """Memory of every way to keep the real weights; by accounting, on a GPU also at its peak."""
    limits = {"encoder": 24.0, "group": 12.0}
    rows = []
    for plan in PLANS.values():
        need = need_of("5b", plan, WALK)
        name = f"5b, {plan.name}: memory by accounting, {WALK}"
        if plan.name in limits:
            rows.append(within(name, "GB", need.gpu_bytes / GB, limits[plan.name], setting.machine))
        else:
            rows.append(Result(name, "GB", need.gpu_bytes / GB, None, "", None, None, setting.machine))
        if measures:
            rows.append(
                Result(
                    f"5b, {plan.name}: peak",
                    "GB",
                    peak_of(plan.name, setting) / GB,
                    None,
                    "",
                    None,
                    None,
                    setting.machine,
                )
            )
    return rows


def peak_of(plan_name: str, setting: Setting) -> float:
    """Bytes at the GPU's peak counter in one round with one step, weights kept as a plan says."""
    plan, cpu = PLANS[plan_name], torch.device("cpu")
    network = filled(meta_network.__wrapped__("5b"), cpu if plan.is_fp8 else setting.device, None)
    if plan.is_fp8:
        cast_to_fp8(network, torch.bfloat16)
        network.to(cpu if plan.is_network_streamed else setting.device)
    if plan.is_network_streamed:
        stream_network(network, setting.device)
    text = filled(meta_text.__wrapped__("5b"), cpu if plan.is_text_streamed else setting.device, None)
    if plan.is_text_streamed:
        stream_text(text, setting.device)
    vae = filled(meta_vae.__wrapped__("5b"), setting.device, None)
    torch.cuda.reset_peak_memory_stats()
    one_step = Setting("5b", WALK, 1, 1.0, setting.device, setting.peak_flops, setting.machine)
    run_round(SpatiaPipeline(tiny_tokenizer(), text, vae, network, make_scheduler()), one_step)
    return float(torch.cuda.max_memory_allocated())


def authors_rows(network: Any, setting: Setting) -> list[Result]:
    """A step of the authors' setting: plain, and with all exact means and the step cache's share left out."""
    inputs, negative = network_inputs(network, AUTHORS), network_inputs(network, AUTHORS, 1)["encoder_hidden_states"]
    plain = median_ms(lambda: sequential(network, inputs, negative), 3)
    fuse_qkv(network)
    compile_blocks(network)
    twice = doubled(inputs, negative)
    times = {}
    with keep_conditions(network):
        times["batched"] = median_ms(lambda: batched(network, twice), 3)
        times["sequential"] = median_ms(lambda: sequential(network, inputs, negative), 3)
    best = min(times, key=lambda name: times[name])
    note = f"plain: eager, two passes; ours compiled, fused, kept, {best}"
    ratio = plain / times[best]
    return [Result(f"authors' step, {AUTHORS}", "ms", times[best], plain, note, ratio, LEAST_GAIN, setting.machine)]


def main() -> None:
    """Measure and report."""
    arguments = options()
    if arguments.device == "cpu":
        torch.set_num_threads(1)  # small tensors are slower on several threads, much slower on a busy machine
    setting = setting_of(arguments)
    is_gpu, is_large = setting.device.type == "cuda", setting.preset == "5b"
    rows: list[Result] = []
    if is_gpu or not is_large:
        pipeline = pipeline_of(setting)
        pipeline.set_progress_bar_config(disable=True)
        if is_gpu:
            run_round(pipeline, setting)  # chooses kernels
            torch.cuda.reset_peak_memory_stats()
        rows += stage_rows(setting, run_round(pipeline, setting))
        if pipeline.text_encoder is None:
            rows.append(text_row(setting))
        if is_gpu or setting.preset == "tiny" or not arguments.quick:
            rows += overlap_rows(pipeline, setting, 3 if is_gpu or setting.preset == "tiny" else 1)
        work = setting.work if is_gpu else Work(160, 96, 13, 3)
        network = pipeline.transformer if is_gpu else narrow_network()
        compiles = is_gpu or ((arguments.compile or not arguments.quick) and has_compiler())
        if not compiles and not arguments.quick:
            sys.stderr.write(f"torch.compile is not measured: none of {', '.join(COMPILERS)} is here\n")
        repeats = 3 if arguments.quick else 7
        del pipeline
        rows += means_rows(network, work, setting, compiles=compiles, repeats=repeats)
        del network
    if is_gpu and is_large:
        rows += authors_rows(filled(meta_network.__wrapped__("5b"), setting.device, None), setting)
    rows += plan_rows(setting, measures=is_gpu and is_large)
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
