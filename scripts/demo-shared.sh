#!/usr/bin/env bash
# Two gateways, one limit, and a real Redis in which they share it: together they admit exactly what it allows.
# `make demo REDIS=1` runs it after the requests of the demo.
#
#   demo-shared.sh BIN FOLDER MODEL PORT    binaries, a folder for files, and a model server
set -euo pipefail
bin=$1 work=$2 model=$3 server=$4
readonly LIMIT=25 REQUESTS=60 READY_SECONDS=30

main() {
  command -v redis-server >/dev/null || fail "there is no redis-server: scripts/setup.sh installs it"
  # shellcheck disable=SC2207 # numbers, to be split
  ports=($(python3 scripts/demo.py ports 6399 8090 8091 9910 9911))
  trap clean_up EXIT
  redis-server --port "${ports[0]}" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis.out" 2>&1 &
  pids+=($!)
  gateway 1 "${ports[1]}" "${ports[3]}"
  gateway 2 "${ports[2]}" "${ports[4]}"
  printf '\n== 7. Two gateways share a limit of %s requests an hour in Redis, and are sent %s\n' "$LIMIT" "$REQUESTS"
  ask
}

pids=()

# $1 its number, $2 its port, $3 that of its admin pages
gateway() {
  cat >"$work/shared-$1.yaml" <<EOF
apiVersion: penstock.dev/v1alpha1
kind: RoutingConfig
metadata: {name: shared}
limitStore: {redis: {addresses: ["127.0.0.1:${ports[0]}"], deadline: 500ms}, onFailure: Closed}
policies:
  - name: everybody
    limits: [{name: requests-an-hour, amount: $LIMIT, window: {sliding: 1h}}]
listeners:
  - {name: http, address: "127.0.0.1:$2", policies: [everybody]}
admin: {address: "127.0.0.1:$3"}
routes:
  - name: models
    rules: [{name: chat, models: ["$model"], targets: [{pool: servers}]}]
pools:
  - {name: servers, endpoints: [{address: "127.0.0.1:$server"}]}
EOF
  "$bin/penstock" serve --config "$work/shared-$1.yaml" >"$work/shared-$1.out" 2>"$work/shared-$1.err" &
  pids+=($!)
  local deadline=$((SECONDS + READY_SECONDS))
  until curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$3/readyz"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "gateway $1 is not ready: $(tail -n 3 "$work/shared-$1.err")"
    sleep 0.1
  done
}

# By turns, so that both have leases; what one gives back after two seconds, the other may have.
ask() {
  local admitted=0 refused=0 status i body="{\"model\":\"$model\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"
  for ((i = 0; i < REQUESTS; i++)); do
    status=$(curl -s -o /dev/null -w '%{http_code}' --max-time 30 -H 'content-type: application/json' -d "$body" \
      "http://127.0.0.1:${ports[1 + i % 2]}/v1/chat/completions") || true
    case $status in
      200) admitted=$((admitted + 1)) ;;
      429) refused=$((refused + 1)) && sleep 0.1 ;;
      *) fail "a request was answered with $status" ;;
    esac
  done
  printf '   %s were admitted, %s refused (429)\n' "$admitted" "$refused"
  [ "$admitted" -eq "$LIMIT" ] || fail "$LIMIT should have been admitted"
}

clean_up() {
  local code=$?
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  exit "$code"
}

fail() {
  printf 'demo: %s\n' "$1" >&2
  exit 1
}

main
