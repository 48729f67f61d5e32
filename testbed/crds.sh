#!/usr/bin/env bash
# Prints the CRDs that the walkthrough installs, as one YAML stream: Gateway API and Envoy Gateway from the latter's
# chart, InferencePool and InferenceObjective of gateway-api-inference-extension v1.0.1, Envoy AI Gateway.
#   testbed/crds.sh | kubectl apply --server-side -f -
# The first two come from their Go modules. Envoy AI Gateway's are taken from ../shared where it lies beside the
# project; otherwise from our own chart, which ships the kinds that we read.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export GOFLAGS=-mod=mod

module() { (cd /tmp && go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'); }
envoy=$(module github.com/envoyproxy/gateway@v1.8.0)
gie=$(module sigs.k8s.io/gateway-api-inference-extension@v1.0.1)
aigateway=("$here"/../../shared/crds/aigateway/*.yaml)
[ -e "${aigateway[0]}" ] || aigateway=("$here"/../helm/penstock/files/crds/aigateway.envoyproxy.io_*.yaml)

for file in "$envoy"/charts/gateway-helm/charts/crds/crds/*.yaml "$envoy"/charts/gateway-helm/charts/crds/crds/generated/*.yaml \
  "$gie"/config/crd/bases/*.yaml "${aigateway[@]}"; do
  echo "---"
  cat "$file"
done
