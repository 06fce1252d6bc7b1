#!/usr/bin/env bash
# The checkpoint of run_medqa_usmle.sh on the medical subjects of MMLU.
FAMILY=mistral DATASET=mmlu_medical_from_medqa exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
