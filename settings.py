"""`main.config` as Python sees it: bash reads the file, so both see the same values."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

CONFIG = Path(__file__).with_name("main.config")
NAMES = (
    "MEG_ROOT", "BASE_DATA_DIR", "OUTPUT_DIR", "CKPT_DIR", "LOGS_DIR", "MODEL", "NPROC", "SEED", "WANDB_ENTITY", "WANDB_PROJECT",
)  # fmt: skip


@functools.cache
def _from_bash() -> dict[str, str]:
    script = 'set -a; . "$1"; env -0'
    out = subprocess.run(["bash", "-c", script, "bash", str(CONFIG)], capture_output=True, check=True).stdout
    pairs = (line.split("=", 1) for line in out.decode("utf-8", "surrogateescape").split("\0") if "=" in line)
    return {key: value for key, value in pairs if key in NAMES}


def settings() -> dict[str, str]:
    """The values of `main.config` (see `NAMES`); the environment wins over the file."""
    if all(name in os.environ for name in NAMES):
        return {name: os.environ[name] for name in NAMES}
    return _from_bash()
