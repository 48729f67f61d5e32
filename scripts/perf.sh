#!/usr/bin/env bash
# Measures gateways side by side: `perf.sh headline`, `full` or `smoke`. More arguments go to `penstock-perf compare`.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:?headline, full or smoke}
shift
PENSTOCK_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
export PENSTOCK_COMMIT
cargo build --release --locked --quiet -p penstock-perf -p penstock-proxy -p penstock-gates --bins
perf=target/release/penstock-perf

case $mode in
  smoke)
    "$perf" upstream --count 1 >target/perf-upstream.log &
    upstream=$!
    trap 'kill "$upstream" 2>/dev/null || true' EXIT
    until grep -q listening target/perf-upstream.log; do sleep 0.1; done
    url=http://$(sed -n 's/^listening on //p' target/perf-upstream.log)
    "$perf" load "$url" --concurrency 8 --requests 2000 --warmup 0s --html target/perf-load.html
    "$perf" load "$url" --stream --rate 200 --duration 2s --output-tokens 20
    kill "$upstream"
    "$perf" compare --scenarios smoke --repeats 1 --duration 1s --peer direct,bare-pingora,penstock \
      --out target/perf/smoke "$@"
    "$perf" simulate --workload shared-prefix --policy least-request --policy p2c --requests 2000
    ;;
  headline)
    # LiteLLM and SGLang's router are left to the full run, so that this one ends within ten minutes.
    [[ " $* " == *" --peer"* ]] || set -- --peer direct,nginx,haproxy,envoy,bare-pingora,penstock,envoy-epp "$@"
    "$perf" compare --scenarios headline "$@"
    ;;
  full)
    "$perf" compare --scenarios full "$@"
    ;;
  *)
    echo "perf.sh: $mode is none of headline, full and smoke" >&2
    exit 64
    ;;
esac
