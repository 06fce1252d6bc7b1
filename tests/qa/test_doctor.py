"""The doctor: what it finds, and that it is fast and refuses what cannot work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from meg import cli
from meg.errors import InputError
from meg.qa import doctor


def test_findings_of_this_machine():
    found = doctor.examine("llama")
    assert found["threads"] >= 1 and found["memory_gib"] > 0 and found["gpus"]
    assert found["recipe"] == "small" and "small llama model" in found["base"]
    assert set(found["data"]) == set(doctor.FOLDERS)


def test_wrong_family_and_recipe():
    with pytest.raises(InputError, match="Did you mean 'mistral'"):
        doctor.examine("mistrall")
    with pytest.raises(InputError, match="unknown recipe 'tiny'"):
        doctor.examine("llama", recipe="tiny")


def test_controls_and_seed_are_checked(capsys):
    assert doctor.examine("llama", controls="none,zero")["recipe"] == "small"
    with pytest.raises(InputError, match="unknown control 'nose'"):
        doctor.examine("llama", controls="none,nose")
    assert cli.main(["doctor", "--controls", "zeros"]) == 2 and "'zeros'" in capsys.readouterr().err
    assert cli.main(["doctor", "--seed", "x"]) == 2 and "--seed" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no_such_model"):
        doctor.examine("llama", str(tmp_path / "no_such_model"))


def test_output_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    assert doctor.room(tmp_path / "not" / "yet" / "there") >= 0
    assert not (tmp_path / "not").exists()
    monkeypatch.setattr(doctor.os, "access", lambda *args: False)
    with pytest.raises(InputError, match="cannot write to"):
        doctor.room(tmp_path)


def test_without_a_model_nothing_heavy_is_imported():
    script = (
        "import sys; from meg.cli import main; main(['doctor', '--json', '--controls', 'none'])\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.endswith("}\nset()\n")
