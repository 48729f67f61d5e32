#!/usr/bin/env bash
# Runs real SDKs, in exact versions, against the gateway in front of simulated providers: `clients.sh [CLIENT…]`, such as
# `clients.sh openai`. They are installed below target/clients, about 1 GB, once for each change of the lists of versions.
#   PROFILE=release   run optimised binaries
#   SUITE=node        only the SDKs for Node.js; or python, or claude (Claude Code)
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'clients: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# Is done anew where what it was made from has changed; a folder that is not complete has no mark.
installed() { [ "$(cat "$1/installed-from" 2>/dev/null)" = "$2" ]; }
sum() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

install_python() {
  local from
  from="$(python3 --version) $(sum scripts/clients/requirements.txt)"
  installed "$python" "$from" && return
  say "installing the SDKs for Python into $python"
  rm -rf "$python"
  python3 -m venv "$python" || die "python3 has no venv: install it (Debian: python3-venv)"
  # All that they need is in the list, so nothing is chosen here.
  "$python/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
    -r scripts/clients/requirements.txt
  echo "$from" >"$python/installed-from"
}

install_node() {
  local from
  command -v npm >/dev/null || die "npm is missing: it installs the SDKs for Node.js; install Node.js 20 or later"
  from="$(node --version) $(sum scripts/clients/package.json scripts/clients/package-lock.json)"
  installed "$node" "$from" && return
  say "installing the SDKs for Node.js into $node"
  rm -rf "$node"
  mkdir -p "$node"
  cp scripts/clients/package.json scripts/clients/package-lock.json "$node"
  npm ci --prefix "$node" --silent --no-audit --no-fund
  echo "$from" >"$node/installed-from"
}

profile=${PROFILE:-dev}
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
python=$target/clients/python node=$target/clients/node
mkdir -p "$target/clients"
suites=()
case ${SUITE:-} in
  '') suites=(python node claude) ;;
  python | node | claude) suites=("$SUITE") ;;
  *) die "SUITE is none of python, node and claude: $SUITE" ;;
esac
# The whole workspace, as the tests have it, so that nothing is compiled a second time with fewer features.
cargo build --workspace --bins --locked --quiet --profile "$profile"
arguments=()
for suite in "${suites[@]}"; do
  case $suite in python) install_python ;; *) install_node ;; esac
  arguments+=(--suite "$suite")
done
exec python3 scripts/clients/run.py --bin "$target/$folder" --python "$python/bin/python" --node "$node" \
  "${arguments[@]}" "$@"
