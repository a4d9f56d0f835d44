"""Spoilt files: every reader reads them or says what is wrong, within bounded time and memory.

The long form (``SPATIA_SOAK=1``) feeds a million inputs, which takes some 20 minutes; the short one some hundred.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spatia.saves.codec import ChunkDecodeError, decode_chunk, encode_chunk
from spatia.tests.fuzz import run
from spatia.tests.fuzz.mutations import MAX_GROWTH, mutated
from spatia.tests.fuzz.targets import Target, as_bytes, spoilt_chunk
from spatia.tests.saves.worlds import make_chunk

NUM_INPUTS = 1_000_000 if os.environ.get("SPATIA_SOAK") else 400


@pytest.mark.timeout(3 * 3600 if os.environ.get("SPATIA_SOAK") else 120)
def test_no_reader_crashes_hangs_or_takes_too_much_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spatia.tests.fuzz.run", "--inputs", str(NUM_INPUTS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[:1]
    facts = json.loads(done.stdout)
    assert facts["inputs"] == NUM_INPUTS
    assert len(facts["tried"]) > 10


def _ends_the_program(data: bytes, _: Path) -> None:
    if len(data) > 40:
        os.kill(os.getpid(), signal.SIGKILL)


def _takes_memory(data: bytes, _: Path) -> None:
    bytearray(2 * run.MEMORY_LIMIT)


@pytest.mark.parametrize(("read", "reason"), [(_ends_the_program, "ended the program"), (_takes_memory, "MemoryError")])
def test_what_a_reader_cannot_cope_with_is_kept_and_the_rest_is_fed(
    read: Callable[[bytes, Path], object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.tempfile, "tempdir", str(tmp_path))
    target = Target("bad", 1, [bytes(40)], read, (), as_bytes)
    tally, inputs = run.Tally(), [(target, (0, number)) for number in range(30)]
    while (fed := tally.total) < len(inputs):
        assert run._batch(tally, inputs[fed:], tmp_path / "input") > fed
    assert tally.tried["bad"] == len(inputs)
    assert 0 < len(tally.finds) <= len(inputs)
    assert all(reason in find for find in tally.finds)
    kept = Path(tally.finds[0].rsplit(" ", 1)[1])
    assert kept.read_bytes() in {run.spoilt(*given) for given in inputs}


def test_a_seed_gives_the_same_input_again() -> None:
    data = bytes(range(200))
    first, again, other = (mutated(data, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_inputs_stay_small() -> None:
    rng = np.random.default_rng(0)
    assert max(len(mutated(b"1,2" * 100, rng, is_text=True)) for _ in range(500)) <= 300 + MAX_GROWTH


def test_spoilt_chunks_get_past_the_checksum() -> None:
    data, rng = encode_chunk(make_chunk((0, 0, 0), num_points=50)), np.random.default_rng(1)
    reasons = []
    for _ in range(100):
        try:
            decode_chunk(spoilt_chunk(data, rng))
        except ChunkDecodeError as error:
            reasons.append(str(error))
    assert sum("checksum" in reason for reason in reasons) < 50
    assert len(set(reasons)) > 3
