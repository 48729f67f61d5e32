#!/usr/bin/env bash
# Prints the path of Helm in exactly this version, and builds it first where it is missing (minutes, once a machine).
set -euo pipefail
version=3.19.3
cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
# The test cluster builds the same one.
for helm in "$cache/tools/helm-$version/bin/helm" "$cache"/testbed-*/helm; do
  if [ -x "$helm" ] && [[ $("$helm" version --template '{{.Version}}' 2>/dev/null) == "v$version"* ]]; then
    echo "$helm"
    exit 0
  fi
done
go_bin=$("$(dirname "$0")/go.sh" "Helm $version, which checks the chart, is built with it")
PATH=$go_bin:$PATH
echo "setup: helm $version is missing: it checks the chart; building it into $cache/tools" >&2
root=$cache/tools/helm-$version
GOBIN=$root/bin CGO_ENABLED=0 go install -trimpath \
  -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=v$version" "helm.sh/helm/v3/cmd/helm@v$version" >&2
echo "$root/bin/helm"
