#!/usr/bin/env bash
# Builds the programs of a test cluster that this machine lacks, says which and why, and prints the folder they are in:
#   ~/.cache/penstock/testbed-HASH, named by what they are built from, so that every clone on this machine shares them.
#   tools.sh [helm] [epp] [epp-crds]     with these as well; the last is a folder
#   TESTBED_AS_IT_IS=1     builds nothing and fails if something is missing
# Cold, with 2 cores: about 8 minutes, nearly all of it Kubernetes. Warm: a second.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

etcd=$(sed -n 's#^\tgo.etcd.io/etcd/server/v3 \(v[0-9.]*\)$#\1#p' go.mod)
kubernetes=$(sed -n 's#^\tk8s.io/kubernetes \(v[0-9.]*\)$#\1#p' go.mod)
helm=v3.19.3
epp=v1.0.1

say() { printf 'testbed: %s\n' "$*" >&2; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
dir=$cache/testbed-$({ cat go.sum cmd/etcd/main.go cmd/kube/main.go; echo "$kubernetes $helm $epp"; } | sha256sum | cut -c1-12)
mkdir -p "$dir"
# Two clones that start at once build once.
exec 9>"$dir/.lock"
flock 9

if [ -n "${TESTBED_AS_IT_IS:-}" ]; then
  for program in etcd kube "$@"; do
    [ -x "$dir/$program" ] || { say "$program is missing"; exit 1; }
  done
  echo "$dir"
  exit
fi

need() {
  command -v "$1" >/dev/null && return
  say "$1 is missing: $3; installing $2"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}
[ "$(id -u)" -eq 0 ] || { say "root is needed: pods get network and mount namespaces of their own"; exit 1; }
need ip iproute2 "it makes the pods' network"
go_bin=$(../scripts/go.sh "Kubernetes, Helm and the node agent are built with it")
PATH=$go_bin:$PATH
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

if [ ! -x "$dir/etcd" ]; then
  # Debian's is too old for this Kubernetes, and until 3.4.31 etcd lost events of watches when it forgot old revisions.
  say "etcd $etcd is missing: it is the API server's store; building it"
  go build -trimpath -ldflags "-s -w" -o "$dir/etcd.new" ./cmd/etcd >&2
  mv "$dir/etcd.new" "$dir/etcd"
fi
for name in etcdctl etcdutl; do ln -sf etcd "$dir/$name"; done

if [ ! -x "$dir/kube" ]; then
  say "Kubernetes $kubernetes is missing: a cluster is made of it; building it (4 minutes with 2 cores)"
  version="-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes"
  version+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$kubernetes")"
  go build -trimpath -ldflags "-s -w $version" -o "$dir/kube.new" ./cmd/kube >&2
  mv "$dir/kube.new" "$dir/kube"
fi
for name in kube-apiserver kube-controller-manager kube-scheduler kubectl; do ln -sf kube "$dir/$name"; done

# Helm and EPP take minutes too, and not everybody needs them.
build_helm() {
  say "Helm $helm is missing: the chart is installed with it; building it"
  GOBIN=$dir go install -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$helm" "helm.sh/helm/v3/cmd/helm@$helm" >&2
}
epp_source() {
  (cd /tmp && go mod download -json "sigs.k8s.io/gateway-api-inference-extension@$epp" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
}
build_epp() {
  say "EPP $epp is missing: the walkthrough deploys it; building it"
  # In the module's own folder: `go install MODULE@VERSION` also asks which versions there are, which not every proxy tells.
  local source
  source=$(epp_source)
  (cd "$source" && go build -trimpath -ldflags "-s -w" -o "$dir/epp.new" ./cmd/epp) >&2
  mv "$dir/epp.new" "$dir/epp"
}
build_epp-crds() {
  local source
  source=$(epp_source)
  rm -rf "$dir/epp-crds.new"
  mkdir "$dir/epp-crds.new"
  cp --no-preserve=mode "$source"/config/crd/bases/*.yaml "$dir/epp-crds.new/"
  mv "$dir/epp-crds.new" "$dir/epp-crds"
}
for extra in "$@"; do
  [ -x "$dir/$extra" ] || "build_$extra"
done

# Our own, by the hash of its own sources: it changes more often than all the above.
own=$dir/testbed-$(find cmd/testbed internal -name '*.go' -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-12)
if [ ! -x "$own" ]; then
  go build -trimpath -ldflags "-s -w" -o "$own.new" ./cmd/testbed >&2
  mv "$own.new" "$own"
fi
echo "$dir" "$own"
