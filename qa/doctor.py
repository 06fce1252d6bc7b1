"""`meg doctor`: what this machine has, which data it finds, and what the next job would therefore run.

Without a model nothing heavy is imported. With one, access, size and memory are checked before hours are spent.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ..errors import InputError, unknown
from ..settings import settings
from ..stages import versions

FOLDERS = ("qa/medqa", "qa/pubmedqa", "qa/medmcqa", "qa/mmlu", "kg/umls", "kg/merged", "kge", "el", "text")


def gpus() -> list[str]:
    """One line for each GPU that the driver lists; empty without one."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (subprocess.SubprocessError, OSError):
        return []
    return [line.strip() for line in found.splitlines() if line.strip()]


def threads() -> int:
    """Processor threads that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Main memory in GiB."""
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def room(folder: Path) -> float:
    """GiB free where `folder` is or will be made.

    Raises:
        InputError: nothing can be written there.
    """
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise InputError(f"cannot write to {there}. Set OUTPUT_DIR to a folder that can be written.")
    return round(shutil.disk_usage(there).free / 2**30, 1)


def examine(family: str, model: str | None = None, recipe: str | None = None, controls: str = "all") -> dict[str, Any]:
    """The findings; an `InputError` where the job that is asked for cannot work.

    Raises:
        InputError: unknown family, recipe or control, no access to the model, too little memory for it, no place to write.
    """
    from ..models.families import FAMILIES
    from .controls import chosen as chosen_controls
    from .recipes import recipe as recipe_of

    if family not in FAMILIES:
        raise unknown("family", family, FAMILIES)
    chosen = recipe_of(recipe, model)
    if controls != "all":
        chosen_controls(controls)
    names = settings()
    data = Path(names["BASE_DATA_DIR"])
    found: dict[str, Any] = {
        "platform": platform.platform(terse=True),
        "versions": versions(),
        "threads": threads(),
        "memory_gib": memory(),
        "gpus": gpus() or ["none"],
        "disk_free_gib": room(Path(names["OUTPUT_DIR"])),
        "data": {name: str(data / name) if (data / name).is_dir() else "not found" for name in FOLDERS},
        "base": model or f"a small {family} model, trained here and kept under {names['CKPT_DIR']}",
        "recipe": chosen.name,
        "runs": f"{names['OUTPUT_DIR']}/{family}/",
    }
    if model:
        from ..models.base import check_base

        found["base_check"] = check_base(model) or "ok"
    return found


def doctor(parser: argparse.ArgumentParser) -> None:
    """Arguments of `meg doctor`."""
    parser.add_argument("--family", default="mistral", help="model family of the job (default: mistral)")
    parser.add_argument("--model", help="Hub id or folder of the base model (default: MODEL of main.config, or the small one)")
    parser.add_argument("--recipe", help="recipe of the training stages")
    parser.add_argument("--controls", default="all", help="controls of the evaluation, as `meg evaluate` takes them")
    parser.set_defaults(run=lambda args: examine(args.family, args.model or settings()["MODEL"] or None, args.recipe, args.controls))
