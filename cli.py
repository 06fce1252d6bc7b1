"""The command `meg`: one table of commands, each imported only when it is named.

A command is a function `name(parser)` in its room: it adds the arguments and sets `run=callable(args) -> dict`.
Exit codes: 0 done, 2 the input was wrong, 1 our fault, 130 interrupted, 143 told to end (SIGTERM). Idea of the table: litgpt `__main__.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .errors import InputError, unknown
from .settings import settings

COMMANDS: dict[str, tuple[str, str, str]] = {
    "kg build": (".kg.commands", "build", "read sources into one graph folder"),
    "kg stats": (".kg.commands", "stats", "count what a graph holds"),
    "kg show": (".kg.commands", "show", "one concept: names, definition, triplets"),
    "kg instructions": (".kg.commands", "instructions", "write phase I instructions and questions from a graph"),
    "kg embed": (".kg.training_commands", "embed", "train concept embeddings on a graph"),
    "kg evaluate": (".kg.training_commands", "evaluate", "link prediction on held-out triplets"),
    "kg neighbors": (".kg.commands", "neighbors", "nearest concepts by embedding"),
    "kg export": (".kg.commands", "export", "concept embeddings as h5, npy, tsv or word2vec"),
    "link": (".kg.commands", "link", "find the concepts in texts"),
    "train base": (".qa.commands", "train_base", "make the base model ready (or train the small one)"),
    "train vocabulary": (".qa.commands", "train_vocabulary", "phase I: concept vectors into the model's space"),
    "train qa": (".qa.commands", "train_qa", "phase II: question answering with a prefix"),
    "evaluate": (".qa.commands", "evaluate", "accuracy with intervals and controls"),
    "ask": (".qa.commands", "ask", "answer one question"),
    "report": (".qa.report", "report", "tables and plots of a run folder"),
    "doctor": (".qa.doctor", "doctor", "what this machine has and what will run on it"),
}


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what is half written goes."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `InputError`, so that they look like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would have printed."""
        raise InputError(f"{message.rstrip('.')}. See `{self.prog} --help`.")


def overview(group: str = "") -> str:
    """The help text of `meg` or of one group of commands (`kg`, `train`)."""
    rows = {name: entry[2] for name, entry in COMMANDS.items() if not group or name.split()[0] == group}
    width = max(map(len, rows))
    lines = [f"  meg {name:<{width}}  {text}" for name, text in rows.items()]
    common = "Every command takes --help, --json, --seed N and --quiet. `meg --version` prints the version."
    return "\n".join([f"usage: meg {group or 'COMMAND'} ...", "", *lines, "", common])


def find(words: Sequence[str]) -> tuple[str, list[str]]:
    """(command, its arguments) of a command line; two-word commands first."""
    for size in (2, 1):
        name = " ".join(words[:size])
        if len(words) >= size and name in COMMANDS:
            return name, list(words[size:])
    in_group = any(name.startswith(f"{words[0]} ") for name in COMMANDS)
    given = " ".join(words[:2]) if in_group and not words[1].startswith("-") else words[0]
    raise unknown("command", given, COMMANDS)


def seed(text: str) -> int:
    """A seed, as argparse reads it: every random generator in use takes 0 to 2**32 - 1."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def parser_of(name: str) -> Parser:
    """Import the room of a command and build its parser."""
    module, function, text = COMMANDS[name]
    parser = Parser(prog=f"meg {name}", description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    getattr(importlib.import_module(module, __package__), function)(parser)
    default = settings()["SEED"]
    common = parser.add_argument_group("common")
    common.add_argument("--json", action="store_true", help="one JSON document on stdout, everything else on stderr")
    common.add_argument("--seed", type=seed, default=default, help=f"seed of everything random (default {default})")
    common.add_argument("--quiet", action="store_true", help="print warnings and the result only")
    return parser


def plain(value: Any) -> Any:
    """`value` as strict JSON can hold it: arrays as lists, paths as text, nan and infinities as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def readable(result: dict[str, Any], indent: str = "") -> Iterator[str]:
    """The lines of a result for people; a result with the key "text" is that text."""
    if not indent and "text" in result:
        yield str(result["text"]).rstrip("\n")
        return
    for key, value in result.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from readable(value, indent + "  ")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield f"{indent}{key}:"
            yield from (f"{indent}  {', '.join(f'{k}={v}' for k, v in item.items())}" for item in value)
        else:
            yield f"{indent}{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"


def _run(words: Sequence[str]) -> None:
    name, rest = find(words)
    args = parser_of(name).parse_args(rest)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING, force=True)
    first = os.environ.get("RANK", "0") == "0"  # under torchrun only the first process speaks
    logging.getLogger("meg").setLevel(logging.INFO if first and not args.quiet else logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        result = plain(args.run(args) or {})
    if args.json:
        result.pop("text", None)
    if first and (args.json or result):
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) if args.json else "\n".join(readable(result)), flush=True)


def _terminate(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the cleaning short
    raise Terminated


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated` (in the main thread, the only one that may say so)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    try:
        if words[:1] == ["--version"]:
            print(f"meg {__version__}", flush=True)
        elif words and (words[0] in ("-h", "--help", "help") or (words[0] in groups and words[1:2] in (["-h"], ["--help"]))):
            print(overview(words[0] if words[0] in groups else ""), flush=True)
        elif not words or (words[0] in groups and len(words) == 1):
            raise InputError(f"a command is needed after `meg{''.join(f' {word}' for word in words)}`. See `meg --help`.")
        else:
            with _ended_by_sigterm():
                _run(words)
        return 0
    except InputError as error:
        if os.environ.get("MEG_DEBUG") == "1":
            traceback.print_exc()
        print(f"meg: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse ends --help this way
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt as stop:
        print("meg: interrupted; the unfinished stage left nothing behind.", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print("meg: this is a fault of MEG, not of your input. Please report it with the lines above.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
