#!/usr/bin/env bash
# Used by the Dockerfiles: `cross.sh tools ARCH` installs what compiling for ARCH (amd64 or arm64) takes,
# `cross.sh build ARCH CRATE BINARY` compiles it and puts it into /out.
set -euo pipefail

case $2 in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) echo "no build for $2: amd64 and arm64 are known" >&2; exit 64 ;;
esac
target=$machine-unknown-linux-gnu
gcc=$machine-linux-gnu-gcc

case $1 in
  tools)
    # ring, zstd and jemalloc are partly C.
    packages=(cmake make)
    if [ "$(dpkg --print-architecture)" = "$2" ]; then
      packages+=(gcc g++ libc6-dev)
    else
      packages+=("gcc-${machine/_/-}-linux-gnu" "g++-${machine/_/-}-linux-gnu" "libc6-dev-$2-cross")
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
    rustup target add "$target"
    ;;
  build)
    variable=${target//-/_}
    if command -v "$gcc" >/dev/null; then
      export "CC_$variable=$gcc" "CXX_$variable=$machine-linux-gnu-g++"
      export "CARGO_TARGET_${variable^^}_LINKER=$gcc"
    fi
    cargo build --release --locked --target "$target" -p "$3" --bin "$4"
    install -D "target/$target/release/$4" "/out/$4"
    ;;
  *) echo "usage: $0 tools|build ARCH [CRATE BINARY]" >&2; exit 64 ;;
esac
