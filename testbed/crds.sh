#!/usr/bin/env bash
# Prints the CRDs that the walkthrough installs, as one YAML stream: Gateway API and Envoy Gateway from the latter's
# chart, InferencePool and InferenceObjective of gateway-api-inference-extension v1.0.1, Envoy AI Gateway.
#   testbed/crds.sh | kubectl apply --server-side -f -
# The first two come from their Go modules. Envoy AI Gateway's have no module with them: AIGATEWAY_CRDS names a folder of
# them; without it, those of our own chart stand in, which ships the kinds that we read.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export GOFLAGS=-mod=mod

module() { (cd /tmp && go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'); }
envoy=$(module github.com/envoyproxy/gateway@v1.8.0)
gie=$(module sigs.k8s.io/gateway-api-inference-extension@v1.0.1)
if [ -n "${AIGATEWAY_CRDS:-}" ]; then
  aigateway=("$AIGATEWAY_CRDS"/*.yaml)
else
  echo "crds: AIGATEWAY_CRDS is not set, so Penstock's own definitions stand in for Envoy AI Gateway's" >&2
  aigateway=("$here"/../helm/penstock/files/crds/aigateway.envoyproxy.io_*.yaml)
fi

for file in "$envoy"/charts/gateway-helm/charts/crds/crds/*.yaml "$envoy"/charts/gateway-helm/charts/crds/crds/generated/*.yaml \
  "$gie"/config/crd/bases/*.yaml "${aigateway[@]}"; do
  echo "---"
  cat "$file"
done
