#!/usr/bin/env bash
# The chart: lints, renders with several files of values, refuses values that do not exist, and grants no more than it says.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=$(scripts/helm.sh)
chart=helm/penstock
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

fail() {
  echo "helm-lint: $*" >&2
  exit 1
}

render() { "$helm" template penstock "$chart" --namespace penstock-system --kube-version 1.34.0 "$@"; }

for values in "$chart"/ci/*.yaml; do
  name=$(basename "$values" .yaml)
  "$helm" lint --strict --quiet "$chart" --values "$values" || fail "$values does not lint"
  render --values "$values" >"$out/$name.yaml" || fail "$values does not render"
  # What nobody meant to write: empty images, unrendered templates, missing values.
  ! grep -nE 'image: *(:|$)|\{\{|<no value>|<nil>' "$out/$name.yaml" | grep -vE 'legendFormat|summary: ' || fail "$values renders to nonsense"
done

expect() { grep -q -- "$2" "$out/$1.yaml" || fail "with ci/$1.yaml there is no: $2"; }
refuse() { ! grep -q -- "$2" "$out/$1.yaml" || fail "with ci/$1.yaml there is: $2"; }
expect default 'kind: CustomResourceDefinition'
expect default 'helm.sh/resource-policy: keep'
refuse default 'take-over-envoy-gateway'
expect default 'debug: local'
expect everything 'debug: anyone'
expect walkthrough 'take-over-envoy-gateway'
expect everything 'image: registry.example.com/llm/penstock-operator:1.2.3'
expect everything 'image: registry.example.com/llm/penstock:1.2.3'
expect everything 'kind: PodMonitor'
expect everything 'kind: PrometheusRule'
expect everything 'alert: PenstockLimitStoreAway'
expect everything 'gen-ai-metrics=OpenTelemetry,EnvoyAIGateway'
refuse default 'gen-ai-metrics'
expect everything 'grafana_dashboard: "1"'
expect everything 'audience: sts.amazonaws.com'
expect everything 'mountPath: /var/run/identity'
expect everything 'eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/models'
for kind in CustomResourceDefinition ClusterRole ServiceAccount; do refuse least "kind: $kind\$"; done

# Wildcards in roles, and writing what is only read.
for file in "$out"/*.yaml; do
  ! grep -nE '(verbs|resources|apiGroups): \[?"?\*' "$file" || fail "a role has a wildcard"
done
for values in 'replicas=3' 'dataPlane.service.type=Cloud' 'dataPlane.admin.debug=all' \
  'dataPlane.extraVolumeMounts[0].name=identity' 'dataPlane.serviceAccount.name=mine' 'operator.replicas=two' 'crds.install=some'; do
  ! render --set "$values" >/dev/null 2>&1 || fail "values.schema.json lets $values through"
done
for dashboard in "$chart"/files/dashboards/*.json; do
  python3 -m json.tool "$dashboard" >/dev/null || fail "$dashboard is no JSON"
done
echo "helm-lint: $(ls "$chart"/ci/*.yaml | wc -l) files of values"
