"""Files of these tests lie in memory where the machine has room for that: waiting for a disk is no part of them.

The long form (``SPATIA_SOAK=1``) takes the disk.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _temporary_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.access(IN_MEMORY, os.W_OK) and not os.environ.get("SPATIA_SOAK"):
        monkeypatch.setattr(tempfile, "tempdir", str(IN_MEMORY))


@pytest.fixture
def tmp_path(_temporary_files_in_memory: None) -> Iterator[Path]:
    """A folder of the test's own, which is removed."""
    with tempfile.TemporaryDirectory(prefix="spatia-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()
