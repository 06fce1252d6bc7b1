"""The scripts: small, complete, and the same job for every family; no test here installs or trains anything."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import meg
from meg.cli import COMMANDS, parser_of

ROOT = Path(meg.__file__).parent
FAMILIES = ("mistral", "llama", "me-llama")
JOBS = {
    "train_meg_umls": "umls",
    "train_meg_umls_extended": "umls_extended",
    "run_medqa_usmle": "medqa_usmle",
    "run_pubmedqa": "pubmedqa",
    "run_medmcqa": "medmcqa",
    "run_eval_mmlu_medical_from_medqa": "mmlu_medical_from_medqa",
    "run_eval_mmlu_medical_from_medmcqa": "mmlu_medical_from_medmcqa",
    "run_pubmedqa_baseline": "pubmedqa_baseline",
}
PHASE_1 = ["doctor", "kg build", "kg instructions", "kg embed", "train base", "train vocabulary"]
STUDY = ["train qa", "train qa", "evaluate"]
NAMES = ("MODEL", "NPROC", "SEED", "BASE_DATA_DIR", "OUTPUT_DIR", "CKPT_DIR", "LOGS_DIR", "MEG_ROOT", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES")


def start(script: Path, *flags: str, cwd: Path, **names: str) -> subprocess.CompletedProcess[str]:
    """Run a script with only the named settings in the environment."""
    env = {key: value for key, value in os.environ.items() if key not in NAMES} | names
    return subprocess.run(["bash", str(script), *flags], capture_output=True, text=True, cwd=cwd, env=env, timeout=60)


def job(family: str, name: str) -> Path:
    return ROOT / "scripts" / family / f"{name}.sh"


def commands(out: str) -> list[list[str]]:
    """The words of every printed command, without the launcher."""
    lines = [shlex.split(line[2:]) for line in out.splitlines() if line.startswith("+ ")]
    return [words[words.index("meg.cli") + 1 :] if words[0] == "torchrun" else words[1:] for words in lines]


def stages(out: str) -> list[str]:
    found = []
    for words in commands(out):
        two = " ".join(words[:2])
        found.append(two if two in COMMANDS else words[0])
    return found


def flag(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


def test_every_family_has_every_job():
    found = {path.relative_to(ROOT / "scripts") for path in (ROOT / "scripts").glob("*/*.sh") if path.parent.name != "bench"}
    assert found == {Path(family, f"{name}.sh") for family in FAMILIES for name in JOBS}


@pytest.mark.parametrize("family", FAMILIES)
def test_scripts_are_data(family):
    for name, dataset in JOBS.items():
        text = job(family, name).read_text()
        assert len(text.splitlines()) <= 5
        assert re.search(rf"FAMILY={family} DATASET={dataset} exec bash", text)
        assert os.access(job(family, name), os.X_OK)


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("family", FAMILIES)
def test_dry_run_from_any_folder_prints_commands_that_parse(family, name, tmp_path):
    done = start(job(family, name), "--dry-run", cwd=tmp_path, OUTPUT_DIR=str(tmp_path / "my runs"))
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    for stage, words in zip(stages(done.stdout), commands(done.stdout), strict=True):
        args = parser_of(stage).parse_args(words[len(stage.split()) :])
        assert callable(args.run)


def test_without_data_the_graphs_own_questions_take_their_place(tmp_path):
    out = start(job("mistral", "run_medqa_usmle"), "--dry-run", cwd=tmp_path, BASE_DATA_DIR=str(tmp_path), OUTPUT_DIR="runs").stdout
    assert stages(out) == [*PHASE_1, *STUDY, "report"]
    train, control, evaluate = commands(out)[6:9]
    run = "runs/mistral/medqa_usmle"
    assert flag(train, "--task") == "graph" and flag(train, "--out") == f"{run}/meg" and flag(train, "--checkpoint") == f"{run}/phase1"
    assert flag(control, "--control") == "no_prefix" and flag(control, "--checkpoint") == f"{run}/phase1"
    assert flag(evaluate, "--trained") == f"no_prefix={flag(control, '--out')}" and flag(evaluate, "--controls") == "all"
    assert f"no files of medqa_usmle under {tmp_path}/qa/medqa" in out


def test_with_data_the_small_model_reads_the_graph_first(tmp_path):
    (tmp_path / "qa/medqa").mkdir(parents=True)
    out = start(job("llama", "run_medqa_usmle"), "--dry-run", cwd=tmp_path, BASE_DATA_DIR=str(tmp_path), OUTPUT_DIR="runs").stdout
    assert stages(out) == [*PHASE_1, *STUDY, *STUDY, "report"]
    words = commands(out)
    assert [flag(w, "--task") for w in words[6:12]] == ["graph"] * 3 + ["medqa_usmle"] * 3
    run = "runs/llama/medqa_usmle"
    assert flag(words[6], "--out") == f"{run}/reading" == flag(words[9], "--checkpoint")
    assert flag(words[9], "--out") == f"{run}/meg" == flag(words[11], "--checkpoint")
    assert flag(words[7], "--checkpoint") == f"{run}/phase1"
    assert flag(words[10], "--checkpoint") == f"{run}/controls/graph_no_prefix" == flag(words[7], "--out")
    assert words[12] == ["report", run, "--task", "graph", "--task", "medqa_usmle"]


def test_a_model_of_the_users_goes_from_phase_1_to_the_task(tmp_path):
    (tmp_path / "qa/pubmedqa").mkdir(parents=True)
    out = start(job("llama", "run_pubmedqa"), "--dry-run", cwd=tmp_path, BASE_DATA_DIR=str(tmp_path), MODEL="hub/some-model").stdout
    assert stages(out) == [*PHASE_1, *STUDY, "report"]
    words = commands(out)
    assert flag(words[0], "--model") == flag(words[4], "--model") == "hub/some-model"
    assert [flag(w, "--task") for w in words[6:9]] == ["pubmedqa"] * 3
    assert flag(words[6], "--checkpoint").endswith("/phase1") and flag(words[7], "--checkpoint").endswith("/phase1")
    assert words[9][2:] == ["--task", "pubmedqa"]


def test_a_models_folder_is_made_absolute(tmp_path):
    (tmp_path / "my model").mkdir()
    out = start(job("llama", "train_meg_umls"), "--dry-run", cwd=tmp_path, MODEL="my model").stdout
    assert flag(commands(out)[0], "--model") == flag(commands(out)[4], "--model") == str(tmp_path / "my model")


def test_baseline_never_gets_a_prefix(tmp_path):
    (tmp_path / "qa/pubmedqa").mkdir(parents=True)
    out = start(job("mistral", "run_pubmedqa_baseline"), "--dry-run", cwd=tmp_path, BASE_DATA_DIR=str(tmp_path)).stdout
    trained = [words for words in commands(out) if words[:2] == ["train", "qa"]]
    assert len(trained) == 2 and all(flag(words, "--control") == "no_prefix" for words in trained)
    assert all(flag(words, "--controls") == "none" for words in commands(out) if words[0] == "evaluate")


def test_training_jobs_stop_at_phase_1(tmp_path):
    out = start(job("me-llama", "train_meg_umls"), "--dry-run", cwd=tmp_path).stdout
    assert stages(out) == PHASE_1
    extended = start(job("me-llama", "train_meg_umls_extended"), "--dry-run", cwd=tmp_path).stdout
    assert stages(extended) == PHASE_1 and "--extended" in commands(extended)[-1]


def test_flags_reach_the_stages(tmp_path):
    script = job("mistral", "run_medqa_usmle")
    flags = ("--source", "tsv:a b.tsv", "--source=sample:", "--recipe", "smoke", "--seed=3", "--controls", "none,zero")
    words = commands(start(script, "--dry-run", *flags, cwd=tmp_path).stdout)
    assert words[1][2:4] == ["tsv:a b.tsv", "sample:"]
    assert all(flag(w, "--recipe") == "smoke" for w in words if w[0] in ("train", "evaluate"))
    assert all(flag(w, "--seed") == "3" for w in words if w[0] in ("train", "evaluate") or w[1] in ("embed", "instructions"))
    assert flag(words[8], "--controls") == flag(words[0], "--controls") == "none,zero"
    assert flag(words[0], "--seed") == "3" and flag(words[0], "--recipe") == "smoke"
    out = start(script, "--dry-run", "--graph", "my graph", cwd=tmp_path, SEED="5").stdout
    assert "kg build" not in stages(out)
    assert all(flag(w, "--graph") == "my graph" for w in commands(out) if "--graph" in w)
    assert flag(commands(out)[-2], "--seed") == "5"


def test_several_processes_train_under_torchrun(tmp_path):
    out = start(job("mistral", "run_medqa_usmle"), "--dry-run", cwd=tmp_path, NPROC="4").stdout
    launched = [line.split()[1:5] for line in out.splitlines() if "train qa" in line or "train vocabulary" in line]
    assert launched == [["torchrun", "--nproc_per_node", "4", "-m"]] * 3
    assert out.count("torchrun") == 3


@pytest.mark.parametrize(
    ("flags", "names", "said"),
    [
        (["--graf", "x"], {}, "unknown argument --graf"),
        (["x"], {}, "unknown argument x"),
        (["--seed"], {}, "--seed needs a value"),
        (["--source", "sample:", "--graph", "g"], {}, "exclude each other"),
        ([], {"NPROC": "two"}, "NPROC=two"),
        (["--seed", "-1"], {}, "SEED=-1: a whole number"),
        (["--seed", "4294967296"], {}, "SEED=4294967296: a whole number"),
        ([], {"SEED": "99999999999999999999"}, "SEED=9999"),
    ],
)
def test_bad_flags_exit_2_before_anything_is_set_up(flags, names, said, tmp_path):
    done = start(job("mistral", "run_medqa_usmle"), *flags, cwd=tmp_path, **names)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_evaluation_job_names_the_run_it_needs(tmp_path):
    done = start(job("mistral", "run_eval_mmlu_medical_from_medqa"), cwd=tmp_path, OUTPUT_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "Run scripts/mistral/run_medqa_usmle.sh first" in done.stderr
    (tmp_path / "mistral/medqa_usmle/controls/graph_no_prefix").mkdir(parents=True)
    (tmp_path / "mistral/medqa_usmle/meg").mkdir()
    names = {"OUTPUT_DIR": str(tmp_path), "BASE_DATA_DIR": str(tmp_path / "no data")}
    done = start(job("mistral", "run_eval_mmlu_medical_from_medqa"), cwd=tmp_path, **names)
    assert done.returncode == 2 and "no MMLU files" in done.stderr
    out = start(job("mistral", "run_eval_mmlu_medical_from_medqa"), "--dry-run", cwd=tmp_path, OUTPUT_DIR=str(tmp_path)).stdout
    assert stages(out) == ["evaluate", "report"] and commands(out)[1][2:] == ["--task", "mmlu_medical"]
    assert flag(commands(out)[0], "--trained") == f"no_prefix={tmp_path}/mistral/medqa_usmle/controls/graph_no_prefix"


@pytest.fixture
def fake_environment(tmp_path):
    """An active environment whose `meg` prints its arguments and fails as told, already set up as far as _setup.sh can see."""
    env = tmp_path / "env"
    (env / "bin").mkdir(parents=True)
    (env / "bin/meg").write_text(
        '#!/usr/bin/env bash\necho "ran $1 $2 GPU=${CUDA_VISIBLE_DEVICES:-all}"\n[ "$1 $2" != "$FAIL_AT" ] || exit 3\n'
    )
    (env / "bin/meg").chmod(0o755)
    sums = subprocess.run(
        "cat pyproject.toml constraints.txt | cksum", shell=True, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (env / ".meg-setup").write_text(f"{sums}offline\n{ROOT}\n")
    return {
        "VIRTUAL_ENV": str(env),
        "OUTPUT_DIR": str(tmp_path / "runs"),
        "LOGS_DIR": str(tmp_path / "logs"),
        "BASE_DATA_DIR": str(tmp_path),
    }


def test_stages_run_in_order_and_are_logged(fake_environment, tmp_path):
    done = start(job("llama", "run_medmcqa"), cwd=tmp_path, FAIL_AT="", **fake_environment)
    assert done.returncode == 0, done.stderr
    ran = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert ran == ["doctor", "kg", "kg", "kg", "train", "train", "train", "train", "evaluate", "report"]
    assert (tmp_path / "logs/llama-medmcqa.log").read_text() == done.stdout


def test_without_torchrun_a_training_stage_uses_one_gpu(fake_environment, tmp_path):
    torchrun = Path(fake_environment["VIRTUAL_ENV"], "bin/torchrun")
    torchrun.write_text('#!/usr/bin/env bash\necho "launched GPU=${CUDA_VISIBLE_DEVICES:-all}"\n')
    torchrun.chmod(0o755)

    def seen(**names: str) -> list[str]:
        out = start(job("llama", "train_meg_umls"), cwd=tmp_path, FAIL_AT="", **fake_environment, **names).stdout
        return [line.split("GPU=")[1] for line in out.splitlines() if "GPU=" in line]

    assert seen() == ["all"] * 4 + ["0"] * 2  # doctor and the three commands about the graph, then the base and phase I
    assert seen(CUDA_VISIBLE_DEVICES="2,3") == ["2,3"] * 6
    assert seen(NPROC="2") == ["all"] * 4 + ["0", "all"]


def test_a_failing_stage_ends_the_run_with_its_exit_code(fake_environment, tmp_path):
    done = start(job("llama", "run_medmcqa"), cwd=tmp_path, FAIL_AT="kg embed", **fake_environment)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith("ran kg embed")


def test_setup_names_the_python_it_needs(tmp_path):
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin/old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "scripts/_setup.sh"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = start(tmp_path / "scripts/_setup.sh", "offline", cwd=tmp_path, PYTHON=str(old))
    assert done.returncode == 2 and done.stdout == ""
    assert "Python >= 3.11 is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_the_test_command_and_stops_at_a_failure():
    text = (ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in text and "bash scripts/test.sh" in text
    assert "set -euo pipefail" in (ROOT / "scripts/test.sh").read_text()
