#!/usr/bin/env bash
# From the graph to PubMedQA: both phases, controls, evaluation, report.
FAMILY=me-llama DATASET=pubmedqa exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
