#!/usr/bin/env bash
# Four models behind one address: builds, starts model servers and the gateway, sends the walkthrough's requests, and two
# that a provider with another API answers.
#
#   ONCE=1                          end after the requests, non-zero if any was wrong
#   REDIS=1                         two gateways that share a limit in a real Redis, too
#   PROFILE=release                 build optimised binaries, which takes several times as long
#   LLM_D_INFERENCE_SIM=PATH        run this program as the vLLM servers instead of penstock-sim
#   AI_GATEWAY_TESTUPSTREAM=PATH    and this one as the test upstreams
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LLAMA=meta-llama/Llama-3.1-8B-Instruct
readonly CLAUDE=eu.anthropic.claude-sonnet-4-5
readonly READY_SECONDS=60

main() {
  scripts/setup.sh
  build
  work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-demo.XXXXXX")
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  choose_ports
  start_model_servers
  start_gateway
  requests
  pools
  explain
  [ "${REDIS:-0}" != 1 ] || scripts/demo-shared.sh "$bin" "$work" "$LLAMA" "${llama_ports[0]}"
  [ "$wrong" -eq 0 ] || fail "$wrong of the requests went wrong"
  if [ "${ONCE:-0}" = 1 ]; then
    headline "All six requests were answered as they should be"
  else
    stay_up
  fi
}

# --- what runs ----------------------------------------------------------------------------------------------

build() {
  local profile=${PROFILE:-dev} folder
  case $profile in dev) folder=debug ;; *) folder=$profile ;; esac
  headline "Building penstock and penstock-sim (profile $profile; the first build takes some minutes)"
  # The third package is not built. With it, dependencies have the features that they have in the whole workspace, and
  # are not compiled a second time for the tests.
  cargo build --locked --profile "$profile" -p penstock-proxy -p penstock-sim -p penstock-perf --bin penstock --bin penstock-sim
  bin=${CARGO_TARGET_DIR:-target}/$folder
}

# The ports of the example where they are free, else any.
choose_ports() {
  local ports
  ports=$(python3 scripts/demo.py ports 8001 8002 8003 8011 8012 8013 8021 8080 9901 8031)
  # shellcheck disable=SC2206 # numbers, to be split
  ports=($ports)
  llama_ports=("${ports[@]:0:3}") mistral_ports=("${ports[@]:3:3}") plain_port=${ports[6]}
  gateway=127.0.0.1:${ports[7]} admin=127.0.0.1:${ports[8]} bedrock_port=${ports[9]}
}

start_model_servers() {
  local i simulator=${LLM_D_INFERENCE_SIM:-$bin/penstock-sim}
  headline "Starting eight model servers"
  note "three vLLM servers of $LLAMA: $(basename "$simulator"), ports ${llama_ports[*]}"
  for i in 0 1 2; do
    # The arguments and the environment of the walkthrough's Deployment; POD_IP is for the real one's KV cache.
    start "vllm-$i" env POD_NAME="vllm-llama3-8b-instruct-$i" NAMESPACE=default POD_IP=127.0.0.1 "$simulator" \
      --model "$LLAMA" --port "${llama_ports[i]}" --max-loras 2 --lora-modules '{"name": "food-review-1"}'
  done
  simulator=${AI_GATEWAY_TESTUPSTREAM:-$bin/penstock-sim}
  note "three Mistral servers and a plain service: $(basename "$simulator"), ports ${mistral_ports[*]} $plain_port"
  for i in 0 1 2; do
    start "mistral-$i" env TESTUPSTREAM_ID=test LISTENER_PORT="${mistral_ports[i]}" "$simulator"
  done
  start plain env TESTUPSTREAM_ID=test LISTENER_PORT="$plain_port" "$simulator"
  note "AWS Bedrock's API: penstock-sim, port $bedrock_port"
  start bedrock "$bin/penstock-sim" --model "$CLAUDE" --port "$bedrock_port"
  for i in 0 1 2; do
    await "vllm-$i" "http://127.0.0.1:${llama_ports[i]}/health"
    await "mistral-$i" "http://127.0.0.1:${mistral_ports[i]}/health"
  done
  await plain "http://127.0.0.1:$plain_port/health"
  await bedrock "http://127.0.0.1:$bedrock_port/health"
}

start_gateway() {
  local config=$work/penstock.yaml
  provider
  sed -e "s/127\.0\.0\.1:8080/$gateway/" \
    -e "s/:8001\"/:${llama_ports[0]}\"/;s/:8002\"/:${llama_ports[1]}\"/;s/:8003\"/:${llama_ports[2]}\"/" \
    -e "s/:8011\"/:${mistral_ports[0]}\"/;s/:8012\"/:${mistral_ports[1]}\"/;s/:8013\"/:${mistral_ports[2]}\"/" \
    -e "s/port: 8021/port: $plain_port/" \
    -e "/^routes:/r $work/route.yaml" -e "/^pools:/r $work/pool.yaml" -e "/^backends:/r $work/backend.yaml" \
    examples/walkthrough.yaml >"$config"
  printf 'admin:\n  address: %s\n' "$admin" >>"$config"
  headline "Starting the gateway on http://$gateway, admin pages on http://$admin"
  note "$bin/penstock serve --config $config"
  start gateway "$bin/penstock" serve --config "$config"
  await gateway "http://$admin/readyz"
  await_scrapes
}

# What the demo adds to the example: a provider with another API, for a model of its own and in place of a pool without
# servers.
provider() {
  printf '[default]\naws_access_key_id = AKIADEMO\naws_secret_access_key = demo\n' >"$work/aws"
  cat >"$work/route.yaml" <<EOF
  - name: provider
    rules:
      - name: claude
        models: ["$CLAUDE"]
        targets:
          - {backend: bedrock}
      - name: scaled-to-zero
        models: [scaled-to-zero]
        targets:
          - {pool: scaled-to-zero, priority: 0}
          - {backend: bedrock, priority: 1, modelOverride: "$CLAUDE"}
EOF
  cat >"$work/pool.yaml" <<EOF
  - name: scaled-to-zero
    endpoints: []
EOF
  cat >"$work/backend.yaml" <<EOF
  - name: bedrock
    endpoints: [{host: 127.0.0.1, port: $bedrock_port}]
    api: {schema: AWSBedrock}
    credential: {file: $work/aws, aws: {region: eu-central-1}}
EOF
}

# Starts a program whose output goes to files named after it; clean_up ends it.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.out" 2>"$work/$name.err" &
  pids[$name]=$!
}
declare -A pids=()

# Waits until a server answers 200 or has ended.
await() {
  local name=$1 url=$2 deadline=$((SECONDS + READY_SECONDS))
  until curl -sf -o /dev/null --max-time 2 "$url"; do
    kill -0 "${pids[$name]}" 2>/dev/null || ended "$name"
    [ "$SECONDS" -lt "$deadline" ] || fail "$name is not ready after $READY_SECONDS s ($url)" "$name"
    sleep 0.1
  done
}

ended() {
  local code=0
  wait "${pids[$1]}" || code=$?
  unset "pids[$1]"
  fail "$1 ended before it was ready, with exit code $code" "$1"
}

# Waits until the gateway knows the load of the servers that report it.
await_scrapes() {
  local deadline=$((SECONDS + READY_SECONDS))
  until curl -sf --max-time 2 "http://$admin/debug/pools" | python3 scripts/demo.py scraped vllm-llama3-8b-instruct; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the gateway has no metrics of the vLLM servers" gateway
    sleep 0.1
  done
}

clean_up() {
  local code=$?
  trap - EXIT INT TERM
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  # The gateway drains; whoever has not ended by then is not asked again.
  local deadline=$((SECONDS + 5))
  while [ ${#pids[@]} -gt 0 ] && kill -0 "${pids[@]}" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
  [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  case $code in
    0 | 130 | 143) rm -rf "$work" ;; # done, or asked to end
    *) note "logs are in $work" >&2 ;;
  esac
  exit "$code"
}

# --- what is shown ------------------------------------------------------------------------------------------

wrong=0
readonly JSON='content-type: application/json'

requests() {
  local hello='"messages":[{"role":"user","content":"Hi. Say this is a test"}]'
  headline "1. A model of the vLLM pool"
  ask vllm pool/vllm-llama3-8b-instruct "$LLAMA" -d "{\"model\":\"$LLAMA\",$hello}"
  headline "2. A model of the Mistral pool, whose servers report no metrics"
  ask testupstream pool/mistral mistral:latest -d "{\"model\":\"mistral:latest\",$hello}"
  headline "3. A model of a plain service"
  ask testupstream backend/envoy-ai-gateway-basic-testupstream some-cool-self-hosted-model \
    -d "{\"model\":\"some-cool-self-hosted-model\",$hello}"
  headline "4. A stream, with a prompt long enough to be cached"
  long=$work/long-prompt.json
  python3 scripts/demo.py long-prompt "$LLAMA" >"$long"
  ask stream pool/vllm-llama3-8b-instruct "$LLAMA" -N -d "@$long"
  headline "5. A model of a provider with another API: translated, and signed for AWS"
  ask bedrock backend/bedrock "$CLAUDE" -d "{\"model\":\"$CLAUDE\",$hello}"
  headline "6. A model whose pool has no servers: the provider takes over"
  ask bedrock backend/bedrock scaled-to-zero -d "{\"model\":\"scaled-to-zero\",$hello}"
}

# Sends one request and shows what came back and where it went; counts it when that is not what it should be.
# $1 kind of upstream, $2 pool or backend, $3 model, then curl's arguments.
ask() {
  local kind=$1 upstream=$2 model=$3 answer=$work/answer status
  shift 3
  local command=(curl -sS "http://$gateway/v1/chat/completions" -H "$JSON" "$@")
  show "${command[@]}"
  status=$("${command[@]}" --max-time 60 -D "$answer.head" -o "$answer.body" -w '%{http_code}') || status="none"
  python3 scripts/demo.py answer --status "$status" --answer "$answer" --access-log "$work/gateway.out" \
    --admin "$admin" --kind "$kind" --upstream "$upstream" --model "$model" || wrong=$((wrong + 1))
}

pools() {
  headline "Pools and backends, as the gateway sees them"
  show curl -s "http://$admin/debug/pools"
  curl -sSf "http://$admin/debug/pools" | python3 scripts/demo.py pools
}

explain() {
  headline "Where would the same long prompt go, and why? (nothing is sent)"
  show curl -s "http://$admin/debug/pick" -d "@$long"
  curl -sSf "http://$admin/debug/pick" -d "@$long" | python3 scripts/demo.py pick
}

stay_up() {
  headline "The gateway stays up until Ctrl-C. Things to try in another terminal:"
  try "which models there are" curl -s "http://$gateway/v1/models"
  try "another question" curl -sN "http://$gateway/v1/chat/completions" -H "$JSON" \
    -d "{\"model\":\"$LLAMA\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"
  try "a model that nobody has" curl -s "http://$gateway/v1/chat/completions" -H "$JSON" -d '{"model":"nobody-has-this"}'
  try "a vLLM server dies; then look at the pools, and ask again" kill -9 "${pids[vllm-0]}"
  try "the admin pages; /debug/pools, /debug/config and /metrics are three of them" curl -s "http://$admin/"
  try "the access log" tail -f "$work/gateway.out"
  try "the configuration; it is read again when it changes" vi "$work/penstock.yaml"
  wait "${pids[gateway]}" || true
  fail "the gateway ended" gateway
}

try() {
  printf '\n   # %s\n   ' "$1"
  shift
  show "$@"
}

headline() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }

# A command line as a person would type it.
show() {
  local word line=''
  for word in "$@"; do
    case $word in
      *[!A-Za-z0-9_./:@%+=,-]*) line+=" '$word'" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '$%s\n' "$line"
}

# Says what went wrong, with the end of a program's log, and ends.
fail() {
  printf '\ndemo: %s\n' "$1" >&2
  if [ $# -gt 1 ]; then
    local file
    for file in "$work/$2.err" "$work/$2.out"; do
      [ ! -s "$file" ] || { printf -- '--- the end of %s\n' "$file" >&2 && tail -n 20 "$file" >&2; }
    done
  fi
  exit 1
}

main
