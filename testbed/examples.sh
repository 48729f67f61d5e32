#!/usr/bin/env bash
# Prints the folder with Envoy AI Gateway's examples as they are published, from its Go module: v1.0.0, the newest that
# Go's module proxies hand out (v1.1.0 has the same for providers). They are under the Apache License 2.0, and nothing of
# them is kept here.
set -euo pipefail
export GOFLAGS=-mod=mod
dir=$(cd /tmp && go mod download -json github.com/envoyproxy/ai-gateway@v1.0.0 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -d "$dir/examples" ] || { echo "examples: the module github.com/envoyproxy/ai-gateway@v1.0.0 has no examples" >&2; exit 1; }
echo "$dir/examples"
