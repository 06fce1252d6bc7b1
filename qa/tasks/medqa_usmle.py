"""MedQA-USMLE, four options (Jin et al. 2020, https://arxiv.org/abs/2009.13081), in its own jsonl files."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...files import read_jsonl
from . import TASKS, Split, hashed_part, lettered


@TASKS.register("medqa_usmle")
def read(data: Path, split: str, seed: int) -> Split:
    """`data`: a jsonl file, a folder with {train,dev,test}.jsonl, or a data root with qa/medqa/US/4_options."""
    folder = next((f for f in (data / "qa/medqa/US/4_options", data / "US/4_options") if f.is_dir()), data)
    if data.is_file():
        return Split([lettered(row, f"{data}:{n}") for n, row in read_jsonl(data)], f"the file {data.name} as it is")
    if (folder / f"{split}.jsonl").is_file() and (split == "dev" or (folder / "train.jsonl").is_file()):
        path = folder / f"{split}.jsonl"
        return Split([lettered(row, f"{path}:{n}") for n, row in read_jsonl(path)], f"official {split} file")
    path = folder / "dev.jsonl"
    if not path.is_file():
        raise InputError(f"no MedQA files in {folder}: train.jsonl and test.jsonl, or at least dev.jsonl, are needed.")
    questions = [lettered(row, f"{path}:{n}") for n, row in read_jsonl(path)]
    rule = f"official train and test files are absent: dev.jsonl split 3:1 into train and test by a hash of the question with seed {seed}"
    return Split([q for q in questions if hashed_part(q, seed) == split], rule)
