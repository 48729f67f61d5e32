#!/usr/bin/env bash
# A Kubernetes cluster without containers; builds what it needs first. See README.md.
#   testbed/cluster.sh up NAME [--nodes N]   start it and print the exports for a shell
#   testbed/cluster.sh down NAME             end it and remove every trace
#   eval "$(testbed/cluster.sh env NAME)"    use its kubectl, helm and KUBECONFIG
#   testbed/cluster.sh list | run | control …
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
read -r dir testbed < <("$here/tools.sh" helm)
[ -n "${testbed:-}" ] || exit 1
# Where the images' programs come from: a debug build, unless told otherwise.
target=${TESTBED_TARGET:-${CARGO_TARGET_DIR:-$here/../target}/debug}
TESTBED_BIN=$dir TESTBED_TARGET=$target TESTBED_IMAGES=${TESTBED_IMAGES:-$here/images.json} exec "$testbed" "$@"
