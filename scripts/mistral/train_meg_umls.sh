#!/usr/bin/env bash
# Graph, concept embeddings and phase I on the preferred names of the concepts.
FAMILY=mistral DATASET=umls exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
