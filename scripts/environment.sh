# Sourced by the other scripts: makes the environments that they need, once, and again when a lock file changes.
# PYTHON chooses the interpreter (3.11 or newer), REMIT_CACHE where large things shared by checkouts are kept.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cache="${REMIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/remit}"

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
give_up() { printf 'error: %s\n' "$*" >&2; exit 2; }

# find_python MINOR: a working interpreter of Python 3.MINOR or newer.
find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python3.14 \
    "$HOME"/.pyenv/versions/3.1[1-9]*/bin/python3; do
    if "$candidate" -c "import sys, venv; sys.exit(sys.version_info < (3, $1))" >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  give_up "Python 3.$1 or newer is needed; install it, or name it in PYTHON"
}

# make_environment LOCK: .venv with what the lock file pins, and this checkout in editable form.
make_environment() {
  local lock="$root/$1" stamp="$root/.venv/.made-from" want
  want="$(cat "$root/pyproject.toml" "$lock" | sha256sum | cut -d' ' -f1)"
  # The development lock includes the other one, so an environment made from it serves both.
  if [ -f "$stamp" ] && grep -q "$want" "$stamp"; then return; fi
  if [ ! -x "$root/.venv/bin/python" ]; then
    say "Making an environment in .venv …"
    "$(find_python 11)" -m venv "$root/.venv"
  fi
  say "Installing what $1 pins …"
  "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e "$root"
  echo "$want $1" >> "$stamp"
}

# make_sdk_environment: agents written with the published SDK run in an environment of their own, on Python 3.12.
make_sdk_environment() {
  export REMIT_SDK_PYTHON="$cache/sdk-0.28.4/bin/python"
  if "$REMIT_SDK_PYTHON" -c 'import agentex.types' >/dev/null 2>&1 && [ -f "$cache/sdk-0.28.4/.complete" ]; then return; fi
  local python
  python="$(PYTHON="${REMIT_PYTHON_312:-}" find_python 12)"
  say "Installing the agent SDK (over 1 GB, once) …"
  "$python" -m venv --clear "$cache/sdk-0.28.4"
  "$REMIT_SDK_PYTHON" -m pip install --quiet --disable-pip-version-check 'agentex-sdk==0.28.4'
  touch "$cache/sdk-0.28.4/.complete"
}
