"""The command line: exit codes, where output goes, and that naming no command costs nothing."""

from __future__ import annotations

import argparse
import ast
import json
import shlex
import signal
import subprocess
import sys
import types

import pytest

from meg import __version__, cli
from meg.errors import InputError
from meg.files import whole


@pytest.fixture
def run_as(monkeypatch):
    """Make `meg probe-test ARGS` run a given function and return `cli.main`'s exit code."""

    def run(function, *words):
        module = types.ModuleType("meg_test_commands")

        def command(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--number", type=int, default=1)
            parser.set_defaults(run=function)

        module.command = command
        monkeypatch.setitem(sys.modules, "meg_test_commands", module)
        monkeypatch.setitem(cli.COMMANDS, "probe-test", ("meg_test_commands", "command", "a command of the tests"))
        return cli.main(["probe-test", *words])

    return run


def failing(error: BaseException):
    def run(args):
        raise error

    return run


def test_help_imports_no_room():
    script = (
        "import sys; from meg import cli; cli.main(['--help']); cli.main(['kg', '--help'])\n"
        "print([m for m in sys.modules if m.startswith('meg.')])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert set(ast.literal_eval(out[-1])) == {"meg.cli", "meg.errors", "meg.settings"}
    assert "meg kg build" in out[2]


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"meg {__version__}\n"


def test_no_parser_needs_a_heavy_library():
    script = (
        "import sys; from meg.cli import COMMANDS, parser_of\n"
        "for name in COMMANDS: assert parser_of(name).get_default('run'), name\n"
        "print({'torch', 'transformers', 'peft', 'sentence_transformers', 'torch_geometric', 'matplotlib', 'faiss'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (out.returncode, out.stdout) == (0, "set()\n"), out.stderr


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_and_the_common_flags(name, capsys):
    assert cli.main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert all(flag in text for flag in ("--json", "--seed", "--quiet"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kg", "bild"], "Did you mean 'kg build'?"),
        (["evalute"], "Did you mean 'evaluate'?"),
        (["kg"], "a command is needed after `meg kg`"),
        ([], "a command is needed"),
        (["report"], "RUN_DIR"),
        (["report", "x", "--speed", "3"], "--speed"),
        (["report", "x", "--seed", "three"], "--seed: 'three' is not a whole number from 0 to 4294967295"),
        (["report", "x", "--seed", "-1"], "--seed"),
        (["report", "x", "--seed", str(2**32)], "--seed: '4294967296' is not a whole number"),
        (["report", "no/such/folder"], "run folder not found: no/such/folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(words, said, capsys):
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("meg: error: ") and captured.err.count("\n") == 1
    assert said in captured.err


def test_result_as_lines_and_as_json(run_as, capsys):
    result = {"concepts": 3, "per": {"a": 1}, "rows": [{"x": 1}], "bad": float("nan")}

    def run(args):
        print("a library talks")
        return {**result, "number": args.number}

    assert run_as(run) == 0
    assert capsys.readouterr().out == "concepts: 3\nper:\n  a: 1\nrows:\n  x=1\nbad: None\nnumber: 1\n"
    assert run_as(run, "--json", "--number", "2") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {**result, "bad": None, "number": 2}
    assert "a library talks" in captured.err


def test_text_of_a_result_is_what_people_see(run_as, capsys):
    assert run_as(lambda args: {"text": "a table\n", "rows": [1]}) == 0
    assert capsys.readouterr().out == "a table\n"


def test_seed_comes_from_the_flag_or_the_settings(run_as, capsys):
    assert run_as(lambda args: {"seed": args.seed}, "--seed", str(2**32 - 1)) == 0
    assert run_as(lambda args: {"seed": args.seed}) == 0
    assert capsys.readouterr().out == f"seed: {2**32 - 1}\nseed: {int(cli.settings()['SEED'])}\n"


def test_exit_codes_of_failures(run_as, capsys, monkeypatch):
    monkeypatch.delenv("MEG_DEBUG", raising=False)
    assert run_as(failing(InputError("line 3\nis wrong"))) == 2
    assert capsys.readouterr().err == "meg: error: line 3 is wrong\n"
    assert run_as(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.startswith("meg: interrupted")
    assert run_as(failing(RuntimeError("our bug"))) == 1
    err = capsys.readouterr().err
    assert "RuntimeError: our bug" in err and "fault of MEG" in err
    monkeypatch.setenv("MEG_DEBUG", "1")
    assert run_as(failing(InputError("wrong"))) == 2
    assert "Traceback" in capsys.readouterr().err


def test_sigterm_ends_a_stage_as_ctrl_c_does(run_as, capsys, tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def run(args):
        with whole(tmp_path / "out") as partial:
            partial.write_text("half")
            signal.raise_signal(signal.SIGTERM)

    assert run_as(run) == 143
    assert capsys.readouterr().err.startswith("meg: interrupted")
    assert list(tmp_path.iterdir()) == [] and signal.getsignal(signal.SIGTERM) is before


def test_only_the_first_process_prints(run_as, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert run_as(lambda args: {"loss": 1}) == 0
    assert capsys.readouterr().out == ""


def test_a_reader_that_stops_early_is_no_error():
    program = "import sys, time; time.sleep(0.2); from meg.cli import main; sys.exit(main(['--help']))"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr
