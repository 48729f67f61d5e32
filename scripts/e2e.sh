#!/usr/bin/env bash
# The end-to-end tests in a cluster without containers: testbed/e2e. Arguments go to `go test`: -run TestWeights
#   E2E_CLUSTER=NAME   use this cluster, which runs already and has Penstock installed, and leave it as it is
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh e2e
cargo build --workspace --locked --bins
read -r bin testbed < <(testbed/tools.sh helm epp)
[ -n "${testbed:-}" ] || exit 1
export TESTBED=$testbed TESTBED_BIN=$bin
export TESTBED_TARGET=${TESTBED_TARGET:-$(realpath "${CARGO_TARGET_DIR:-target}")/debug}
export TESTBED_IMAGES=$PWD/testbed/images.json
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
PATH=$(scripts/go.sh):$PATH
TESTBED_EXT_AUTH=$(testbed/ext-auth.sh)
export TESTBED_EXT_AUTH
cd testbed
go vet -trimpath ./cmd/testbed ./internal/... ./e2e
go test -trimpath ./internal/...
# What failed, once more at the end: what a test shows of its namespace is long.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test -trimpath -count=1 -timeout 30m -v ./e2e "$@" 2>&1 | tee "$log" || {
  printf '\n== What failed\n'
  grep -E '^ *--- FAIL|^    [a-z_]+_test\.go:[0-9]+: ' "$log" | grep -v ': kubectl ' | grep -B 20 -e '--- FAIL' | cut -c 1-600
  exit 1
}
