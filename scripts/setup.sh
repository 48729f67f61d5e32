#!/usr/bin/env bash
# Installs what building and running Penstock needs and this machine lacks; says what and why. Debian or Ubuntu.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "root or sudo is needed to run: $*"
  fi
}

install_packages() {
  command -v apt-get >/dev/null || die "this script knows apt-get only; install by hand: $*"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# A command, the package that has it, and why it is needed.
missing=()
need() {
  command -v "$1" >/dev/null && return
  say "$1 is missing: $3; installing $2"
  missing+=("$2")
}
need cc build-essential "jemalloc, ring and zstd are partly C"
need make build-essential "jemalloc builds with make"
need cmake cmake "builds C parts of the dependencies"
need curl curl "the demo sends its requests with it"
need python3 python3 "the demo prints tables with it"
need git git "the version names the commit"
[ ${#missing[@]} -eq 0 ] || install_packages ca-certificates "${missing[@]}"

if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
  PATH="$HOME/.cargo/bin:$PATH"
fi
if ! command -v cargo >/dev/null; then
  say "Rust is missing; installing rustup, which brings the toolchain that rust-toolchain.toml pins"
  if apt-cache show rustup >/dev/null 2>&1; then
    install_packages rustup
  else
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none --profile minimal
    die "Rust is installed; open a new shell (or: . \"\$HOME/.cargo/env\") and run make again"
  fi
fi

channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
if ! cargo --version 2>/dev/null | grep -q " $channel "; then
  say "installing the pinned Rust toolchain $channel"
  rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt
fi
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy --toolchain "$channel"
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt --toolchain "$channel"
