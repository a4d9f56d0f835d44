"""How far the network in bfloat16 is from float32: relative error of one velocity, random weights.

    python benchmarks/bf16_drift.py [--quick] [--json FILE]

Rows are arithmetic: what is shipped, the stream between blocks in bfloat16, and all weights in bfloat16 as well.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from comparison import Result, describe_machine, parse_options, report
from spatia.generator.spatia.config import PRESETS, NetworkConfig
from spatia.generator.spatia.transformer import FLOAT32_PARTS, SpatiaTransformer3DModel

NUM_REFERENCES = 2
ROWS = {
    "shipped: float32 stream, norms, tables, time": (True, FLOAT32_PARTS),
    "float32 stream, all weights bfloat16": (True, ()),
    "bfloat16 stream": (False, FLOAT32_PARTS),
    "bfloat16 stream, all weights bfloat16": (False, ()),
}


def sizes() -> Iterator[tuple[str, NetworkConfig]]:
    """Networks to try: as deep as the real one, but narrow."""
    small = replace(PRESETS["small"].network, text_dim=256)
    yield "10 layers", small
    yield "30 layers", replace(small, num_layers=30, control_layers=PRESETS["5b"].network.control_layers)


def inputs(config: NetworkConfig) -> dict[str, torch.Tensor]:
    """A forward pass with references and a clean first frame."""
    generator = torch.Generator().manual_seed(0)
    timestep = torch.full((1, 7), 500.0)
    timestep[:, : NUM_REFERENCES + 1] = 0
    return {
        "hidden_states": torch.randn(1, config.in_channels, 7, 8, 12, generator=generator),
        "timestep": timestep,
        "encoder_hidden_states": torch.randn(1, 20, config.text_dim, generator=generator),
        "control_hidden_states": torch.randn(1, config.control_channels, 5, 8, 12, generator=generator),
    }


@torch.no_grad()
def velocity(config: NetworkConfig, *, float32_stream: bool, float32_parts: tuple[str, ...] | None) -> torch.Tensor:
    """One velocity of the clip; ``None`` keeps every weight in float32."""
    torch.manual_seed(0)
    network = SpatiaTransformer3DModel(**config.as_arguments()).eval()
    network.float32_stream = float32_stream
    for name, parameter in network.named_parameters():
        if float32_parts is not None and not any(part in name for part in float32_parts):
            parameter.data = parameter.data.to(torch.bfloat16)
    made = network(**inputs(config), num_reference_frames=NUM_REFERENCES).sample.float()
    return made[:, :, NUM_REFERENCES:]


def main() -> None:
    """Measure and report."""
    options, machine = parse_options((__doc__ or "").splitlines()[0]), describe_machine()
    results = []
    for name, config in sizes():
        exact = velocity(config, float32_stream=True, float32_parts=None)
        for row, (float32_stream, parts) in ROWS.items():
            made = velocity(config, float32_stream=float32_stream, float32_parts=parts)
            drift = 100.0 * float((made - exact).norm() / exact.norm())
            results.append(Result(f"{name}, {row}: drift", "%", drift, None, "", None, None, machine))
        if options.quick:
            break
    report(results, options.json)


if __name__ == "__main__":
    main()
