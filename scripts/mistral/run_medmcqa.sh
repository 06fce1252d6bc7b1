#!/usr/bin/env bash
# From the graph to MedMCQA: both phases, controls, evaluation, report.
FAMILY=mistral DATASET=medmcqa exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
