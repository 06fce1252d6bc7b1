#!/usr/bin/env bash
# Makes the Python environment ready and prints its bin folder on stdout; everything else goes to stderr.
#
#   bash scripts/_setup.sh EXTRAS        EXTRAS: extras of pyproject.toml, such as offline or offline,dev
#
# An active environment (VIRTUAL_ENV) is used as it is, with the torch it has; otherwise .venv in the repository,
# made with PYTHON (default: the first Python >= 3.11 found) and the exact versions of constraints.txt.
# A second call takes milliseconds: a stamp in the environment holds the checksum of what was installed.
set -euo pipefail
extras=${1:-offline}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
env=${VIRTUAL_ENV:-$root/.venv}
stamp=$env/.meg-setup
wanted=$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum)

say() { echo "setup: $*" >&2; }
fail() { echo "setup: error: $*" >&2; exit 2; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

installed() { # is what is installed this very checkout, with at least these extras?
  [ -f "$stamp" ] && [ -x "$env/bin/meg" ] || return 1
  local checksum have place extra
  { read -r checksum && read -r have && read -r place; } <"$stamp" || return 1
  [ "$checksum" = "$wanted" ] && [ "$place" = "$root" ] || return 1
  for extra in ${extras//,/ }; do case ",$have," in *",$extra,"*) ;; *) return 1 ;; esac; done
}

if ! installed; then
  if [ -n "${VIRTUAL_ENV:-}" ]; then
    new_enough "$env/bin/python" || fail "the active environment $env has no Python >= 3.11. Activate another one, or none."
  elif ! { [ -x "$env/bin/python" ] && "$env/bin/python" -m pip --version >/dev/null 2>&1; }; then
    python=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
      if new_enough "$candidate"; then python=$candidate && break; fi
    done
    [ -n "$python" ] || fail "Python >= 3.11 is needed and ${PYTHON:-python3} is not one. Name one: PYTHON=/path/to/python3.12 bash $0"
    say "$env is made with $(command -v "$python")"
    "$python" -m venv --clear "$env" >&2 || fail "$python cannot make an environment. On Debian and Ubuntu its venv package is a separate one."
  fi
  pins=$root/constraints.txt
  if [ -n "${VIRTUAL_ENV:-}" ] && "$env/bin/python" -m pip show -q torch 2>/dev/null; then
    say "the torch of $env is kept"
    pins=$(mktemp) && trap 'rm -f "$pins"' EXIT
    grep -v '^torch==' "$root/constraints.txt" >"$pins"
  fi
  say "packages are installed into $env (minutes, the first time)"
  "$env/bin/python" -m pip install --quiet -c "$pins" -e "$root[$extras]" >&2 || fail "pip could not install the packages; its reason is above."
  found=$(cd "$env" && bin/python -c 'import meg; print(meg.__file__)')
  [ "$found" -ef "$root/__init__.py" ] || fail "import meg finds $found, not this checkout. Remove that copy from $env and run this again."
  printf '%s\n' "$wanted" "$extras" "$root" >"$stamp"
  say "ready ($found)"
fi
echo "$env/bin"
