#!/usr/bin/env bash
# The one runner behind scripts/<family>/*.sh: a job is a list of `meg` commands, each skipped when nothing changed.
#
#   FAMILY=mistral DATASET=medqa_usmle bash scripts/_run.sh [flags]     flags: see usage() below
#
# Paths and names come from main.config; the environment wins over it. Results: $OUTPUT_DIR/<family>/<job>/.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
set -a
MEG_ROOT=${MEG_ROOT:-$root}
. "$root/main.config"
set +a

usage() {
  cat <<TXT
usage: bash scripts/FAMILY/JOB.sh [flags]
  --source KIND:PATH  build the graph from this source; may be repeated (default: sample:, the small graph in the package)
  --graph DIR         use this built graph instead of building one
  --recipe NAME       recipe of the training stages
  --seed N            seed of everything random (default: $SEED)
  --controls LIST     what replaces the prefix in the evaluation: all (default), or some of none,zero,noise,shuffled joined by commas
  --dry-run           print the commands, run nothing
environment: MODEL (Hub id or folder of the base model; unset: a small one is trained here), NPROC, BASE_DATA_DIR, OUTPUT_DIR,
CKPT_DIR, LOGS_DIR, SEED; see main.config
TXT
}
fail() { echo "run: error: $*" >&2; exit 2; }

sources=() graph= recipe=() controls= dry=
while [ $# -gt 0 ]; do
  case $1 in --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
  case $1 in
    -h | --help) usage && exit 0 ;;
    --dry-run) dry=1 && shift && continue ;;
    --source | --graph | --recipe | --seed | --controls)
      [ -n "${2:-}" ] || fail "$1 needs a value. See --help." ;;
    *) fail "unknown argument $1. Allowed: --source --graph --recipe --seed --controls --dry-run --help." ;;
  esac
  case $1 in
    --source) sources+=("$2") ;;
    --graph) graph=$2 ;;
    --recipe) recipe=(--recipe "$2") ;;
    --seed) SEED=$2 ;;
    --controls) controls=$2 ;;
  esac
  shift 2
done
[ -n "${FAMILY:-}" ] && [ -n "${DATASET:-}" ] || fail "FAMILY and DATASET are not set. Start one of scripts/*/*.sh instead."
[ ${#sources[@]} = 0 ] || [ -z "$graph" ] || fail "--source and --graph exclude each other: build a graph, or use one."
case $NPROC in '' | *[!0-9]* | 0) fail "NPROC=$NPROC: a number of processes, 1 or more, is needed." ;; esac
case $SEED in
  *[!0-9]* | ???????????*) fail "SEED=$SEED: a whole number from 0 to 4294967295 is needed." ;;
  *) [ "$SEED" -le 4294967295 ] || fail "SEED=$SEED: a whole number from 0 to 4294967295 is needed." ;;
esac
[ ! -d "$MODEL" ] || MODEL=$(CDPATH='' cd -- "$MODEL" && pwd)

R=$OUTPUT_DIR/$FAMILY/$DATASET
embeddings=$R/embeddings.h5
evaluated=() # --task T of every evaluation of this job, for the report

show() { printf '+' && printf ' %q' "$@" && echo; }

meg() { # print one command and run it
  if [ "$NPROC" -gt 1 ] && { [ "$1 $2" = "train vocabulary" ] || [ "$1 $2" = "train qa" ]; }; then
    set -- torchrun --nproc_per_node "$NPROC" -m meg.cli "$@"
  else
    set -- meg "$@"
    [ "$2" != train ] || local -x CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0} # one training process, one GPU
  fi
  show "$@"
  [ -n "$dry" ] || "$bin/$1" "${@:2}"
}
trained() { meg "$@" ${recipe[@]+"${recipe[@]}"} --seed "$SEED"; } # a command with a recipe and a seed
learn() { trained train qa --graph "$graph" --embeddings "$embeddings" "$@"; }
measure() { # measure TASK [flags]
  evaluated+=(--task "$1")
  trained evaluate --graph "$graph" --embeddings "$embeddings" --task "$@"
}

prepare() { # graph, instructions, concept embeddings, base model and phase I; $@: more flags of phase I
  local model=() check=()
  [ -z "$MODEL" ] || model=(--model "$MODEL")
  [ -z "$controls" ] || check=(--controls "$controls")
  trained doctor --family "$FAMILY" ${model[@]+"${model[@]}"} ${check[@]+"${check[@]}"}
  if [ -z "$graph" ]; then
    [ ${#sources[@]} -gt 0 ] || sources=(sample:)
    graph=$R/graph
    meg kg build "${sources[@]}" --out "$graph"
  fi
  meg kg instructions --graph "$graph" --out "$R/instructions" --seed "$SEED"
  meg kg embed --graph "$graph" --encoder graphsage --out "$embeddings" --seed "$SEED"
  trained train base --family "$FAMILY" ${model[@]+"${model[@]}"} --graph "$graph" --instructions "$R/instructions" --out "$R/base"
  trained train vocabulary --base "$R/base" --graph "$graph" --embeddings "$embeddings" --instructions "$R/instructions" --out "$R/phase1" "$@"
}

study() { # study TASK FROM CONTROL_FROM TO [--data PATH]: phase II on a task, its control without a prefix, and the evaluation
  local task=$1 from=$2 control_from=$3 to=$4 without=$R/controls/$1_no_prefix
  shift 4
  if [ -n "${BASELINE:-}" ]; then
    learn --checkpoint "$from" --task "$task" "$@" --control no_prefix --out "$to"
    measure "$task" --checkpoint "$to" "$@" --controls "${controls:-none}" --out "$R/evaluation/$task"
  else
    learn --checkpoint "$from" --task "$task" "$@" --out "$to"
    learn --checkpoint "$control_from" --task "$task" "$@" --control no_prefix --out "$without"
    measure "$task" --checkpoint "$to" "$@" --controls "${controls:-all}" --trained "no_prefix=$without" --out "$R/evaluation/$task"
  fi
}

answer() { # answer TASK FOLDER: the whole path to a checkpoint that answers a task's questions, whose files are in FOLDER
  local data=$BASE_DATA_DIR/qa/$2 from=$R/phase1 control_from=$R/phase1 reading=$R/meg
  prepare
  [ ! -d "$data" ] || reading=$R/reading
  if [ -z "$MODEL" ] || [ ! -d "$data" ]; then
    study graph "$from" "$control_from" "$reading" --data "$R/instructions"
    from=$reading control_from=$R/controls/graph_no_prefix
  fi
  if [ -d "$data" ]; then
    study "$1" "$from" "$control_from" "$R/meg"
  else
    echo "no files of $1 under $data: questions generated from the graph take their place"
  fi
  meg report "$R" "${evaluated[@]}"
}

ready() { # ready RUN: is there a checkpoint of another run to evaluate? Asked before anything is set up
  [ ${#sources[@]} = 0 ] || fail "--source has no meaning here: the graph is that of the $1 run. Use --graph if that run did."
  [ -n "$dry" ] || [ -d "$OUTPUT_DIR/$FAMILY/$1/meg" ] ||
    fail "no checkpoint at $OUTPUT_DIR/$FAMILY/$1/meg. Run scripts/$FAMILY/run_$1.sh first."
  [ -n "$dry" ] || [ -d "$BASE_DATA_DIR/qa/mmlu/test" ] ||
    fail "no MMLU files. Put the medical <subject>_test.csv files into $BASE_DATA_DIR/qa/mmlu/test, or set BASE_DATA_DIR."
}

transfer() { # transfer RUN: the checkpoint of another run on the medical subjects of MMLU
  local run=$OUTPUT_DIR/$FAMILY/$1 with=() control
  graph=${graph:-$run/graph} embeddings=$run/embeddings.h5
  for control in graph_no_prefix "$1_no_prefix"; do # the later one is the nearer one
    [ ! -d "$run/controls/$control" ] || with=(--trained "no_prefix=$run/controls/$control")
  done
  measure mmlu_medical --checkpoint "$run/meg" --controls "${controls:-all}" ${with[@]+"${with[@]}"} --out "$R/evaluation/mmlu_medical"
  meg report "$R" "${evaluated[@]}"
}

job() {
  case $DATASET in
    umls) prepare ;;
    umls_extended) prepare --extended ;;
    medqa_usmle) answer medqa_usmle medqa ;;
    pubmedqa | medmcqa) answer "$DATASET" "$DATASET" ;;
    pubmedqa_baseline) BASELINE=1 answer pubmedqa pubmedqa ;;
    mmlu_medical_from_medqa) transfer medqa_usmle ;;
    mmlu_medical_from_medmcqa) transfer medmcqa ;;
    *) fail "unknown DATASET $DATASET." ;;
  esac
}

case $DATASET in
  mmlu_medical_from_medqa) ready medqa_usmle ;;
  mmlu_medical_from_medmcqa) ready medmcqa ;;
esac
if [ -n "$dry" ]; then
  job
else
  bin=$(bash "$root/scripts/_setup.sh" offline)
  mkdir -p "$LOGS_DIR" 2>/dev/null || fail "cannot make $LOGS_DIR. Set LOGS_DIR to a folder that can be written."
  job 2>&1 | tee -ai "$LOGS_DIR/$FAMILY-$DATASET.log"
fi
