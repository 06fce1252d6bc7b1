"""`meg train base|vocabulary|qa`, `meg evaluate` and `meg ask`: arguments here, work in the modules they name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import InputError, unknown
from ..files import existing, read_json
from ..settings import settings
from ..stages import run_stage

TRAINING = ("mapping", "models", "qa")  # rooms whose code decides what training leaves


def _graph_arguments(parser: ArgumentParser, beside: bool = False) -> None:
    default = " (default: beside the checkpoint)" if beside else ""
    parser.add_argument("--graph", type=Path, required=not beside, help=f"folder of a built graph{default}")
    parser.add_argument("--embeddings", type=Path, required=not beside, help=f"concept embeddings of that graph{default}")


def _beside(args: Namespace) -> None:
    """Fill in the graph and the embeddings of the run that the checkpoint lies in."""
    from ..models.config import MEGConfig

    MEGConfig.load(existing(args.checkpoint, "checkpoint", "Give the meg/ folder of a run."))
    run = args.checkpoint.resolve().parent
    for name, file in (("graph", "graph"), ("embeddings", "embeddings.h5")):
        if getattr(args, name) is None:
            setattr(args, name, existing(run / file, f"--{name} was not given, and beside the checkpoint it was", f"Give --{name}."))


def _task_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--task", required=True, help="graph, medqa_usmle, pubmedqa, medmcqa, mmlu_medical")
    parser.add_argument("--data", type=Path, help="the task's file or folder (default: BASE_DATA_DIR)")
    parser.add_argument("--recipe", help="small, published or smoke (default: by the base model)")


def train_base(parser: ArgumentParser) -> None:
    """Arguments of `meg train base`."""
    parser.add_argument("--family", required=True, help="mistral, llama or me-llama")
    parser.add_argument("--graph", type=Path, required=True, help="graph whose names the LM learns to spell")
    parser.add_argument("--instructions", type=Path, required=True, help="folder of `meg kg instructions`")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--recipe", help="small or smoke")
    parser.add_argument("--model", help="a hub id or folder to use instead of training one")
    parser.set_defaults(run=_train_base)


def _train_base(args: Namespace) -> dict[str, Any]:
    from .recipes import recipe
    from .stage_base import make_base

    chosen = recipe(args.recipe, args.model)
    options = {"family": args.family, "model": args.model, "base": asdict(chosen.base), "seed": args.seed}
    inputs = {"graph": args.graph, "instructions": args.instructions}
    if args.model:  # a folder's weights are part of the fingerprint, a Hub model's commit is looked up by the stage
        inputs = {"model": Path(args.model)} if Path(args.model).is_dir() else {}

    def work(partial: Path) -> dict[str, Any]:
        return make_base(partial, args, chosen)

    manifest = run_stage("base", args.out, work, inputs=inputs, settings=options, code=("models",))
    return {"out": str(args.out), **manifest["result"], "skipped": manifest["skipped"]}


def train_vocabulary(parser: ArgumentParser) -> None:
    """Arguments of `meg train vocabulary` (phase I)."""
    parser.add_argument("--base", type=Path, required=True, help="folder of `meg train base`")
    parser.add_argument("--instructions", type=Path, required=True, help="folder of `meg kg instructions`")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--recipe", help="small, published or smoke (default: by the base model)")
    parser.add_argument("--extended", action="store_true", help="also instructions of 2 to 10 concepts")
    _graph_arguments(parser)
    parser.set_defaults(run=_train_vocabulary)


def _train_vocabulary(args: Namespace) -> dict[str, Any]:
    from .recipes import recipe
    from .stage_base import base_model

    chosen = recipe(args.recipe, base_model(args.base))
    options = {"recipe": asdict(chosen), "extended": args.extended, "seed": args.seed}
    inputs = {"base": args.base, "embeddings": args.embeddings, "graph": args.graph, "instructions": args.instructions}

    def work(partial: Path) -> dict[str, Any]:
        from .stage_train import vocabulary_stage

        return vocabulary_stage(partial, args, chosen)

    manifest = run_stage("vocabulary", args.out, work, inputs=inputs, settings=options, code=TRAINING)
    return {"out": str(args.out), **manifest["result"], "skipped": manifest["skipped"]}


def train_qa(parser: ArgumentParser) -> None:
    """Arguments of `meg train qa` (phase II)."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint to start from (phase I, or an earlier phase II)")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--control", help="no_prefix: the same training without the knowledge")
    _task_arguments(parser)
    _graph_arguments(parser)
    parser.set_defaults(run=_train_qa)


def _data(args: Namespace) -> Path:
    return args.data or Path(settings()["BASE_DATA_DIR"])


def _data_inputs(args: Namespace) -> dict[str, Path]:
    """What of the data decides the stage's result: the given path, or the task's own folder under BASE_DATA_DIR."""
    from .tasks import TASKS

    TASKS[args.task]  # an unknown task is refused before any file is read
    root = _data(args)
    return {"data": next((p for p in (root / "questions", root / "qa" / args.task.split("_")[0]) if p.is_dir()), root)}


def _checkpoint_recipe(args: Namespace) -> Any:
    from ..models.config import MEGConfig
    from .recipes import recipe

    config = MEGConfig.load(args.checkpoint)
    return recipe(args.recipe, None if config.adapter == "full" else config.base)


def _train_qa(args: Namespace) -> dict[str, Any]:
    from ..models.config import CONTROLS

    if args.control is not None and args.control not in CONTROLS:
        raise unknown("control", args.control, CONTROLS)
    chosen = _checkpoint_recipe(args)
    options = {"recipe": asdict(chosen), "task": args.task, "control": args.control, "seed": args.seed}
    inputs = {"checkpoint": args.checkpoint, "embeddings": args.embeddings, "graph": args.graph, **_data_inputs(args)}

    def work(partial: Path) -> dict[str, Any]:
        from .stage_train import questions_stage

        return questions_stage(partial, args, chosen, _data(args))

    manifest = run_stage(f"questions {args.task}", args.out, work, inputs=inputs, settings=options, code=TRAINING)
    return {"out": str(args.out), **manifest["result"], "skipped": manifest["skipped"]}


def evaluate(parser: ArgumentParser) -> None:
    """Arguments of `meg evaluate`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder")
    parser.add_argument(
        "--out", type=Path, help="folder for results.json and predictions.jsonl (default: evaluation/TASK beside the checkpoint)"
    )
    parser.add_argument("--controls", default="all", help="comma-separated swap controls, or all (default), or '' for none of them")
    parser.add_argument("--trained", action="append", default=[], metavar="NAME=DIR", help="a checkpoint trained without the knowledge")
    parser.add_argument("--split", default="test", choices=("train", "dev", "test"), help="split of the task (default test)")
    parser.add_argument("--limit", type=float, help="number of questions, or a share below 1, drawn with the seed")
    _task_arguments(parser)
    _graph_arguments(parser, beside=True)
    parser.set_defaults(run=_evaluate)


def _evaluate(args: Namespace) -> dict[str, Any]:
    from ..models.config import MEGConfig
    from .controls import chosen as chosen_controls
    from .report_tables import terminal

    controls = chosen_controls(args.controls)
    _beside(args)
    trained = {}
    for item in args.trained:
        name, _, folder = item.partition("=")
        if not (name and folder):
            raise InputError(f"--trained {item!r}: NAME=DIR is needed, for example no_prefix=controls/no_prefix.")
        if MEGConfig.load(folder).control != name:
            raise InputError(
                f"--trained {item}: that checkpoint was not trained as the control {name!r}. Use `meg train qa --control {name}`."
            )
        trained[name] = Path(folder)
    if args.limit is not None and not 0 < args.limit < float("inf"):
        raise InputError(f"--limit is {args.limit}; a number of questions, or a share between 0 and 1, is needed.")
    recipe = _checkpoint_recipe(args)
    out = args.out or args.checkpoint.parent / "evaluation" / args.task
    options = {
        "recipe": asdict(recipe),
        "task": args.task,
        "controls": controls,
        "split": args.split,
        "limit": args.limit,
        "seed": args.seed,
    }
    inputs = {"checkpoint": args.checkpoint, "embeddings": args.embeddings, "graph": args.graph, **_data_inputs(args)}
    inputs |= {f"trained:{name}": folder for name, folder in trained.items()}

    def work(partial: Path) -> dict[str, Any]:
        from .stage_evaluate import evaluation_stage

        return evaluation_stage(partial, args, recipe, _data(args), controls, trained)

    run_stage(f"evaluate {args.task}", out, work, inputs=inputs, settings=options, code=("kg", *TRAINING))
    results = read_json(out / "results.json")
    return {**results, "text": terminal(results)}


def ask(parser: ArgumentParser) -> None:
    """Arguments of `meg ask`."""
    parser.add_argument("question", help="a question; write it before --options")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder")
    parser.add_argument(
        "--options",
        nargs="+",
        help="answer options; without them the answer is generated, which the small model of the scripts cannot do well",
    )
    _graph_arguments(parser, beside=True)
    parser.set_defaults(run=_ask)


def _ask(args: Namespace) -> dict[str, Any]:
    from .asking import ask_once

    _beside(args)
    return ask_once(args)
