#!/usr/bin/env bash
# Starts a Kubernetes cluster without containers with Penstock in it, for people to play with; Ctrl-C ends it.
#   NAME=…        the cluster's name (play)
#   WALKTHROUGH=0 leave the walkthrough's manifests out
set -euo pipefail
cd "$(dirname "$0")/.."
name=${NAME:-play}

say() { printf '\n== %s\n' "$*"; }

say "Building Penstock"
scripts/setup.sh
cargo build --workspace --locked --bins
say "Starting the cluster $name"
testbed/tools.sh helm epp >/dev/null
log=$(mktemp)
# Its own session: Ctrl-C is for this script, which then ends the cluster in order.
testbed/cluster.sh up "$name" --nodes 2 >"$log" || { cat "$log"; exit 1; }
clean_up() {
  trap - EXIT INT TERM
  say "Ending the cluster $name"
  testbed/cluster.sh down "$name" || true
  rm -f "$log"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
eval "$(cat "$log")"

say "Installing the walkthrough's CRDs and Penstock's chart, in place of Envoy Gateway"
testbed/crds.sh | kubectl apply --server-side -f - >/dev/null
helm install penstock helm/penstock --namespace penstock-system --create-namespace \
  --set controller.takeOverEnvoyGateway=true --wait --timeout 3m
if [ "${WALKTHROUGH:-1}" = 1 ]; then
  say "Applying the walkthrough"
  kubectl apply -f testbed/e2e/manifests/nodeport-config.yaml -f examples/walkthrough/
  kubectl wait --for=condition=Programmed gateway/inference-pool-with-aigwroute --timeout=3m
  port=$(kubectl get service -l gateway.networking.k8s.io/gateway-name=inference-pool-with-aigwroute \
    -o jsonpath='{.items[0].spec.ports[0].nodePort}')
fi

say "The cluster runs until Ctrl-C. In another terminal:"
cat "$log"
cat <<TEXT
kubectl get pods -A -o wide
kubectl get gatewayclasses,gateways,inferencepools,aigatewayroutes
kubectl logs -n penstock-system deployment/penstock
testbed/cluster.sh control $name kill kube-apiserver   # and: start
TEXT
[ -z "${port:-}" ] || cat <<TEXT
curl http://$NODE_IP:$port/v1/models
curl http://$NODE_IP:$port/v1/chat/completions -H 'content-type: application/json' \\
  -d '{"model":"mistral:latest","messages":[{"role":"user","content":"Hi. Say this is a test"}]}'
TEXT
sleep infinity &
wait $!
