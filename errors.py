"""The one error that means "the input was wrong": commands print it as one line and exit with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """What was given, what is allowed, what to do next, in one line."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> InputError:
    """An `InputError` for a name that is not in a closed set, with the nearest allowed name."""
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {given!r}.{hint} Choose from: {', '.join(names)}.")
