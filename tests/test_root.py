"""The ground layer: files written whole, stages that are skipped or run again, registries, settings, errors."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import meg
from meg import files, stages
from meg.errors import InputError, unknown
from meg.registry import Registry
from meg.settings import NAMES, settings


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_whole_file_replaces_only_on_success(tmp_path):
    out = tmp_path / "sub" / "a.txt"
    files.write_text(out, "old")
    for error in (RuntimeError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), files.whole(out) as partial:
            partial.write_text("half")
            raise error
        assert out.read_text() == "old" and names_in(out.parent) == {"a.txt"}
    files.write_text(out, "new")
    assert out.read_text() == "new" and names_in(out.parent) == {"a.txt"}


def test_whole_folder_replaces_the_old_one(tmp_path):
    out = tmp_path / "folder"
    for name in ("first", "second"):
        with files.whole(out) as partial:
            partial.mkdir()
            (partial / name).write_text(name)
    assert names_in(out) == {"second"} and names_in(tmp_path) == {"folder"}
    with pytest.raises(KeyboardInterrupt), files.whole(out) as partial:
        partial.mkdir()
        raise KeyboardInterrupt
    assert names_in(out) == {"second"} and names_in(tmp_path) == {"folder"}


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_old_folder_is_put_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, error):
    out, rename = tmp_path / "folder", Path.rename
    out.mkdir()
    (out / "old").write_text("old")

    def second_fails(self, target):
        if self.name.endswith(".partial"):
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(type(error)), files.whole(out) as partial:
        partial.mkdir()
    assert names_in(out) == {"old"} and names_in(tmp_path) == {"folder"}


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_file_that_cannot_be_opened_is_an_input_error(tmp_path, monkeypatch, error):
    (tmp_path / "a.jsonl").write_text("{}")

    def refuse(self, *args, **more):
        raise error

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=rf"a\.jsonl cannot be read: {error.strerror}"):
        list(files.read_jsonl(tmp_path / "a.jsonl"))


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        files.write_text(tmp_path / "file" / "below", "x")


def test_json_and_jsonl_round_trip_and_name_bad_lines(tmp_path):
    files.write_json(tmp_path / "a.json", {"é": [1, None]})
    assert files.read_json(tmp_path / "a.json") == {"é": [1, None]}
    files.write_jsonl(tmp_path / "a.jsonl", [{"i": 0}, {"i": 1}])
    assert list(files.read_jsonl(tmp_path / "a.jsonl")) == [(1, {"i": 0}), (2, {"i": 1})]
    (tmp_path / "bad.jsonl").write_text('{"i": 0}\n\n{"i": \n')
    with pytest.raises(InputError, match=r"bad\.jsonl:3: not valid JSON"):
        list(files.read_jsonl(tmp_path / "bad.jsonl"))
    (tmp_path / "list.jsonl").write_text("[1]\n")
    with pytest.raises(InputError, match=r"list\.jsonl:1: a JSON object is needed"):
        list(files.read_jsonl(tmp_path / "list.jsonl"))
    (tmp_path / "bad.json").write_text('{\n"a": }')
    with pytest.raises(InputError, match=r"bad\.json:2"):
        files.read_json(tmp_path / "bad.json")
    with pytest.raises(InputError, match="not found"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a folder"):
        files.read_json(tmp_path)


def test_tsv_plain_gzip_bom_and_bad_rows(tmp_path):
    text = 'id\tname\nC1\ta "quoted\nC2\tb\textra\n'
    (tmp_path / "a.tsv").write_text(text, encoding="utf-8-sig")
    (tmp_path / "b.tsv").write_bytes(gzip.compress(text.encode()))
    expected = [(2, ["C1", 'a "quoted']), (3, ["C2", "b", "extra"])]
    assert list(files.read_tsv(tmp_path / "a.tsv", ["id", "name"])) == expected
    assert list(files.read_tsv(tmp_path / "b.tsv", ["id", "name"])) == expected
    with pytest.raises(InputError, match=r"a\.tsv:1: the header must begin with head, relation"):
        list(files.read_tsv(tmp_path / "a.tsv", ["head", "relation"]))
    with pytest.raises(InputError, match=r"a\.tsv:1: 2 tab-separated fields, at least 3"):
        list(files.read_tsv(tmp_path / "a.tsv", required=3))
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(os.urandom(9000).hex().encode() * 9)[:-4000])
    with pytest.raises(InputError, match="cannot be read"):
        list(files.read_tsv(tmp_path / "cut.tsv.gz"))


class Work:
    """A stage's work that counts its runs and writes one file."""

    def __init__(self, result: str = "r", folder: bool = True) -> None:
        self.runs, self.result, self.folder = 0, result, folder

    def __call__(self, partial: Path) -> dict[str, str]:
        self.runs += 1
        (partial / "out.txt" if self.folder else partial).write_text(self.result)
        return {"result": self.result}


@pytest.mark.parametrize("folder", [True, False])
def test_stage_is_skipped_until_something_changes(tmp_path, folder):
    given, out = tmp_path / "in.txt", tmp_path / "stage.bin"
    given.write_text("one")
    work = Work(folder=folder)

    def run(**settings):
        return stages.run_stage("demo", out, work, inputs={"given": given}, settings=settings, folder=folder)

    first = run(seed=0)
    assert not first["skipped"] and first["result"] == {"result": "r"} and first["settings"] == {"seed": 0}
    assert first["seconds"] >= 0 and first["versions"]["meg"] == meg.__version__
    assert stages.manifest_path(out, folder).is_file()
    assert run(seed=0)["skipped"] and work.runs == 1
    os.utime(given, (1, 1))
    assert run(seed=0)["skipped"], "the content of the input is what counts"
    given.write_text("two")
    assert not run(seed=0)["skipped"]
    assert not run(seed=1)["skipped"] and work.runs == 3
    (out / "out.txt" if folder else out).unlink()
    assert not run(seed=1)["skipped"], "a stage whose output is gone runs again"
    (out / "out.txt" if folder else out).write_text("changed by hand")
    assert not run(seed=1)["skipped"] and work.runs == 5
    assert not stages.run_stage("demo", out, work, inputs={"given": given}, settings={"seed": 1}, folder=folder, force=True)["skipped"]


def test_changed_code_of_a_room_makes_a_stage_stale(tmp_path, monkeypatch):
    room, work = tmp_path / "package" / "kg", Work()
    (room / "below").mkdir(parents=True)
    (room / "below" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(stages, "__file__", str(tmp_path / "package" / "stages.py"))

    def skipped() -> bool:
        stages.code_digest.cache_clear()
        return stages.run_stage("demo", tmp_path / "out", work, code=("kg",))["skipped"]

    try:
        assert not skipped() and skipped()
        (room / "table.tsv").write_text("not code")
        assert skipped()
        (room / "below" / "a.py").write_text("x = 2\n")
        assert not skipped() and skipped()
        (room / "below" / "a.py").rename(room / "b.py")
        assert not skipped()
    finally:
        stages.code_digest.cache_clear()


def test_stage_hashes_input_folders_without_their_manifest(tmp_path):
    made, work = tmp_path / "made", Work()
    stages.run_stage("first", made, Work())
    stages.run_stage("second", tmp_path / "out", work, inputs={"made": made})
    stages.run_stage("first", made, Work(), force=True)
    stages.run_stage("second", tmp_path / "out", work, inputs={"made": made})
    assert work.runs == 1
    stages.run_stage("first", made, Work("other"), force=True)
    stages.run_stage("second", tmp_path / "out", work, inputs={"made": made})
    assert work.runs == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_stage_leaves_what_was_there(tmp_path, error):
    out = tmp_path / "stage"

    def broken(partial: Path) -> None:
        (partial / "half.txt").write_text("half")
        raise error

    with pytest.raises(error):
        stages.run_stage("demo", out, broken)
    assert names_in(tmp_path) == set()
    stages.run_stage("demo", out, Work())
    with pytest.raises(error):
        stages.run_stage("demo", out, broken, settings={"seed": 1})
    assert names_in(tmp_path) == {"stage"} and names_in(out) == {"out.txt", "manifest.json"}
    assert stages.run_stage("demo", out, Work())["skipped"]


def test_ctrl_c_in_a_running_stage_leaves_nothing(tmp_path):
    script = (
        "import signal, sys, time; from pathlib import Path; from meg.stages import run_stage\n"
        "def work(partial):\n"
        "    (partial / 'half').write_text('x'); print('started', flush=True); time.sleep(30)\n"
        "run_stage('demo', sys.argv[1], work)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(2)
    _, err = process.communicate(timeout=20)
    assert process.returncode != 0 and "KeyboardInterrupt" in err
    assert names_in(tmp_path) == set()


def test_stage_without_its_input_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="input 'graph' of stage 'demo' not found"):
        stages.run_stage("demo", tmp_path / "out", Work(), inputs={"graph": tmp_path / "none"})


def test_damaged_manifest_means_run_again(tmp_path):
    work = Work()
    stages.run_stage("demo", tmp_path / "out", work)
    (tmp_path / "out/manifest.json").write_text("{")
    assert not stages.run_stage("demo", tmp_path / "out", work)["skipped"] and work.runs == 2


def test_registry_scans_its_package_once_and_suggests(tmp_path, monkeypatch):
    package = tmp_path / "meg_demo_things"
    package.mkdir()
    (package / "__init__.py").write_text("from meg.registry import Registry\nTHINGS = Registry('thing', 'meg_demo_things')\n")
    (package / "one.py").write_text("from . import THINGS\n@THINGS.register('one')\ndef one(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import meg_demo_things

    things = meg_demo_things.THINGS
    assert "meg_demo_things.one" not in sys.modules
    assert things.names() == list(things) == ["one"] and things["one"]() == 1
    with pytest.raises(InputError, match=r"unknown thing 'onne'\. Did you mean 'one'\? Choose from: one\."):
        things["onne"]


def test_registry_refuses_two_objects_under_one_name():
    things: Registry[object] = Registry("thing", "meg")
    things.register("a")(len)
    things.register("a")(len)
    with pytest.raises(ValueError, match="two thing entries are called 'a'"):
        things.register("a")(max)


def test_unknown_without_a_near_name_has_no_suggestion():
    assert str(unknown("task", "zzz", ["b", "a"])) == "unknown task 'zzz'. Choose from: a, b."


def test_settings_environment_wins_over_the_file(tmp_path):
    script = "import json; from meg.settings import settings; print(json.dumps(settings()))"

    def read(**names: str) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if key not in NAMES} | names
        return json.loads(subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout)

    root = Path(meg.__file__).parent
    assert read()["BASE_DATA_DIR"] == f"{root}/data" and set(read()) == set(NAMES)
    changed = read(MEG_ROOT="/else where", SEED="4")
    assert changed["BASE_DATA_DIR"] == "/else where/data" and changed["SEED"] == "4"
    assert set(settings()) == set(NAMES)


def test_main_config_is_flat():
    lines = (Path(meg.__file__).parent / "main.config").read_text().splitlines()
    assigned = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    assert [name for name, _ in assigned] == list(NAMES)
    assert all(value.startswith(f"${{{name}:-") for name, value in assigned)
