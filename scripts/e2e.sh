#!/usr/bin/env bash
# The end-to-end tests in a cluster without containers: testbed/e2e. Arguments go to `go test`: -run TestWeights
#   E2E_AGAIN=2        run what failed up to twice more, each time in a new cluster, and fail only if it fails each time
#   E2E_CLUSTER=NAME   use this cluster, which runs already and has Penstock installed, and leave it as it is
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
cargo build --workspace --locked --bins
read -r bin testbed < <(testbed/tools.sh helm epp)
[ -n "${testbed:-}" ] || exit 1
export TESTBED=$testbed TESTBED_BIN=$bin
export TESTBED_TARGET=${TESTBED_TARGET:-$(realpath "${CARGO_TARGET_DIR:-target}")/debug}
export TESTBED_IMAGES=$PWD/testbed/images.json
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
PATH=$(scripts/go.sh):$PATH
cd testbed
go vet -trimpath ./cmd/testbed ./internal/... ./e2e
go test -trimpath ./internal/...
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { go test -trimpath -count=1 -timeout 30m -v ./e2e "$@" 2>&1 | tee "$log"; }
# What failed, once more at the end: what a test shows of its namespace is long.
what_failed() {
  printf '\n== What failed\n'
  grep -E '^ *--- FAIL|^    [a-z_]+_test\.go:[0-9]+: ' "$log" | grep -v ': kubectl ' | grep -B 20 -e '--- FAIL' | cut -c 1-600
}
run "$@" && exit
what_failed
for again in $(seq "${E2E_AGAIN:-0}"); do
  failed=$(sed -n 's/^--- FAIL: \([A-Za-z0-9_]*\).*/\1/p' "$log" | paste -sd '|')
  [ -n "$failed" ] || exit 1
  printf '\n== Once more (%s): %s\n' "$again" "$failed"
  if run -run "^($failed)\$"; then
    printf '\n== %s failed and passed when run again: that is a fault somewhere, see above\n' "$failed"
    exit
  fi
  what_failed
done
exit 1
