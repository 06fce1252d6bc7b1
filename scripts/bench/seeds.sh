#!/usr/bin/env bash
# The main job over several seeds, and one table: bash scripts/bench/seeds.sh [SEED ...]     (default: 0 1 2)
#
# The graph is the same for all; concept vectors, base LM, both phases, the controls and the draw of held-out concepts
# change with the seed. Each run lies in $OUTPUT_DIR/seeds/<seed>/ and is skipped where it is complete.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/main.config"
[ $# -gt 0 ] || set -- 0 1 2
for seed in "$@"; do
  OUTPUT_DIR=$OUTPUT_DIR/seeds/$seed bash "$root/scripts/mistral/run_medqa_usmle.sh" --seed "$seed"
done
bin=$(bash "$root/scripts/_setup.sh" offline)
"$bin/python" "$root/scripts/bench/seeds.py" "${@/#/$OUTPUT_DIR/seeds/}"
