#!/usr/bin/env bash
# From the graph to MedMCQA: both phases, controls, evaluation, report.
FAMILY=me-llama DATASET=medmcqa exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
