"""A progress bar that also serves a log: often on a terminal, every ten seconds where the output is piped, never with --quiet."""

from __future__ import annotations

import logging
import sys
from typing import Any

log = logging.getLogger("meg")


def bar(total: int, what: str) -> Any:
    """A tqdm bar of `total` steps called `what`."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, disable=not log.isEnabledFor(logging.INFO), mininterval=0.2 if sys.stderr.isatty() else 10)
