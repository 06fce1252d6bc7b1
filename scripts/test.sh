#!/usr/bin/env bash
# The tests, in the environment that the jobs use: bash scripts/test.sh [arguments of pytest]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(bash "$root/scripts/_setup.sh" offline,dev)
cd "$root" && exec "$bin/python" -m pytest "$@"
