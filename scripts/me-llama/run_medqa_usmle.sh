#!/usr/bin/env bash
# From the graph to MedQA-USMLE: both phases, controls, evaluation, report.
FAMILY=me-llama DATASET=medqa_usmle exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
