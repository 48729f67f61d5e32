#!/usr/bin/env bash
# Prints a folder with what Envoy Gateway's examples of external authorization need, from its Go module: `manifests`, the
# examples' folder as it is published, and `go`, which stands in for Go's own in the image golang: it is the program that the
# example has in a ConfigMap and would compile within the pod, where there is no network. Apache License 2.0; kept in the cache.
#   --manifests   only prints the folder with the examples, and builds nothing
set -euo pipefail
readonly VERSION=v1.9.1
export GOFLAGS=-mod=mod
module=$(cd /tmp && go mod download -json "github.com/envoyproxy/gateway@$VERSION" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
examples=$module/examples/kubernetes
[ -f "$examples/ext-auth-grpc-service.yaml" ] || { echo "ext-auth: github.com/envoyproxy/gateway@$VERSION has no examples" >&2; exit 1; }
if [ "${1:-}" = --manifests ]; then
  echo "$examples"
  exit 0
fi

folder=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/ext-auth-$VERSION
if [ ! -x "$folder/go" ]; then
  echo "testbed: building Envoy Gateway's example of a server for external authorization" >&2
  source=$(mktemp -d)
  trap 'rm -rf "$source"' EXIT
  # The files of the first ConfigMap: keys with two spaces before them, and text with nine.
  awk -v to="$source/" '/^---/ && seen { exit } /^kind: ConfigMap/ { seen = 1 }
    match($0, /^  [a-z.]+: \|$/) { file = to substr($1, 1, length($1) - 1); next }
    file { print substr($0, 10) >file }' "$examples/ext-auth-grpc-service.yaml"
  # The pod says `go run . FLAGS`.
  printf 'package main\n\nimport "os"\n\nfunc init() { os.Args = append(os.Args[:1], os.Args[3:]...) }\n' >"$source/stand_in.go"
  mkdir -p "$folder"
  (cd "$source" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -o "$folder/go.new" .)
  mv "$folder/go.new" "$folder/go"
fi
echo "$folder"
