"""How the generator is set up: from the environment, since it is made without arguments in the worker. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..requests import Effort
from .catalogue import models_folder
from .config import SamplingConfig, SpeedOptions

PREFIX = "SPATIA_"
SPEED_WORDS = ("batch", "compile", "qkv", "cache")
MEMORY_PLANS = ("whole", "encoder", "fp8", "group")
"""See ``memory_plans``, which needs torch."""


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """What the generator needs to know.

    Attributes:
        preset: Sizes: "5b" with the authors' weights, "tiny" with random ones. From ``SPATIA_PRESET``.
        models: Folder of all models. From ``SPATIA_MODELS``.
        sampling: Steps and guidance. From ``SPATIA_STEPS``, ``SPATIA_GUIDANCE`` and ``SPATIA_SAMPLER``.
        is_sampling_fixed: Steps and guidance hold whatever effort a request names: one of these two variables is set.
        device: "cuda", "cpu", or "auto" for the first that is there. From ``SPATIA_DEVICE``.
        control: "points" draws memory as the model was trained on, "scene" takes the scene video as it is. From
            ``SPATIA_CONTROL``.
        memory: How weights are kept: the name of one of ``memory_plans.PLANS``, or "auto" for the quickest that fits.
            From ``SPATIA_MEMORY``.
        speed: Means that make a clip cheaper. From ``SPATIA_SPEED``: some of "batch", "compile", "qkv" and "cache=0.1",
            with commas between.
        is_lora_fused: LoRA in the weights instead of at run time. From ``SPATIA_LORA``: "fused" or "runtime".
    """

    preset: str
    models: Path
    sampling: SamplingConfig = SamplingConfig()  # noqa: RUF009 - frozen
    device: str = "auto"
    control: str = "points"
    is_lora_fused: bool = False
    memory: str = "auto"
    speed: SpeedOptions = SpeedOptions()  # noqa: RUF009 - frozen
    is_sampling_fixed: bool = False

    def sampling_of(self, effort: Effort | None) -> SamplingConfig:
        """Steps and guidance of a clip that may take this effort."""
        if effort is None or self.is_sampling_fixed:
            return self.sampling
        return replace(self.sampling, num_steps=effort.num_steps, guidance=effort.guidance)


def settings_from(environment: Mapping[str, str]) -> GeneratorSettings:
    """Read the settings.

    Raises:
        ValueError: A variable says something that cannot be; the message names it.
    """
    default = SamplingConfig()
    return GeneratorSettings(
        preset=_choice(environment, "PRESET", ("5b", "tiny"), "5b"),
        models=models_folder(environment),
        sampling=SamplingConfig(
            num_steps=int(_number(environment, "STEPS", default.num_steps, 1)),
            guidance=_number(environment, "GUIDANCE", default.guidance, 0),
            sampler=_choice(environment, "SAMPLER", ("uni_pc", "euler"), default.sampler),
        ),
        device=_choice(environment, "DEVICE", ("auto", "cuda", "cpu"), "auto"),
        control=_choice(environment, "CONTROL", ("points", "scene"), "points"),
        memory=_choice(environment, "MEMORY", ("auto", *MEMORY_PLANS), "auto"),
        speed=speed_of(environment.get(PREFIX + "SPEED", "")),
        is_sampling_fixed=any(environment.get(PREFIX + name) for name in ("STEPS", "GUIDANCE")),
        is_lora_fused=_choice(environment, "LORA", ("runtime", "fused"), "runtime") == "fused",
    )


def speed_of(text: str) -> SpeedOptions:
    """The means that a text names.

    Raises:
        ValueError: An unknown word, or a threshold that is no number above 0.
    """
    words = {word.strip().partition("=")[0]: word.partition("=")[2] for word in text.split(",") if word.strip()}
    unknown = [word for word, value in words.items() if word not in SPEED_WORDS or bool(value) != (word == "cache")]
    if unknown:
        raise ValueError(
            f"{PREFIX}SPEED: expected some of {', '.join(SPEED_WORDS)}, cache as in cache=0.1, got {text!r}"
        )
    threshold = _number({PREFIX + "SPEED": words["cache"]}, "SPEED", 0.0, 1e-6) if "cache" in words else 0.0
    return SpeedOptions("batch" in words, "compile" in words, "qkv" in words, threshold)


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    value = environment.get(PREFIX + name) or default
    if value not in choices:
        raise ValueError(f"{PREFIX}{name}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def _number(environment: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environment.get(PREFIX + name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not value >= least:
        raise ValueError(f"{PREFIX}{name}: expected a number of {least} or more, got {text!r}")
    return value
