#!/usr/bin/env bash
# Sends the requests of docs/access.md and docs/limits.md to a gateway with examples/multi-tenant.yaml and checks each answer's status.
#
#   examples/multi-tenant/requests.sh [http://127.0.0.1:8080]
set -euo pipefail
gateway=${1:-http://127.0.0.1:8080}
search='authorization: Bearer sk-example-search-published-do-not-use'
assist='x-api-key: sk-example-assist-published-do-not-use'
token=$(cat "$(dirname "$0")/token")
alice="authorization: Bearer $token"
chat='{"model":"llama-3.1-8b","messages":[{"role":"user","content":"Hello"}],"max_tokens":4}'
message='{"model":"nonesuch","max_tokens":4,"messages":[{"role":"user","content":"Hello"}]}'
embedding='{"model":"text-embedding-3-small","input":"Hello"}'
trial=${chat/llama-3.1-8b/trial-70b}
session="x-session: $$-$RANDOM"
wrong=0

# $1 what it shows, $2 the status that it should have, $3 the path, then curl's arguments.
ask() {
  local what=$1 expected=$2 path=$3 status
  shift 3
  status=$(curl -s -o "$answer" -D "$answer.head" -w '%{http_code}' --max-time 10 "$gateway$path" "$@")
  printf '%s %s\n' "$status" "$what"
  grep -iE '^(www-authenticate|retry-after|x-ratelimit-remaining-[a-z]+):' "$answer.head" | sed 's/^/    /' || true
  head -c 400 "$answer" | sed 's/^/    /'
  echo
  [ "$status" = "$expected" ] || { echo "    it should be $expected" && wrong=$((wrong + 1)); }
}

answer=$(mktemp)
trap 'rm -f "$answer" "$answer.head"' EXIT

ask "nothing is shown" 401 /v1/chat/completions -d "$chat"
ask "a key that nobody has" 401 /v1/chat/completions -H 'authorization: Bearer sk-wrong' -d "$chat"
ask "a key, and a model that is its consumer's" 200 /v1/chat/completions -H "$search" -d "$chat"
ask "a model that is not" 403 /v1/chat/completions -H "$search" -d "${chat/llama-3.1-8b/gpt-oss-20b}"
ask "the models of that consumer" 200 /v1/models -H "$search"
ask "those of another, who shows a key as Anthropic's libraries do" 200 /v1/models -H "$assist"
ask "refused in the form of Anthropic's API" 403 /v1/messages -H "$assist" -d "$message"
ask "embeddings are for one team" 200 /v1/embeddings -H "$search" -d "$embedding"
ask "and for no other, whatever its models" 403 /v1/embeddings -H "$assist" -d "$embedding"
ask "a name and a password" 200 /v1/chat/completions -u dashboard:published-do-not-use -d "$chat"
ask "a wrong password" 401 /v1/chat/completions -u dashboard:guess -d "$chat"
ask "a token" 200 /v1/embeddings -H "$alice" -d "$embedding"
ask "a token that somebody changed" 401 /v1/embeddings -H "${alice/.t7uU/.t7uV}" -d "$embedding"
ask "a model on trial, an administrator" 200 /v1/chat/completions -H "$alice" -H "$session" -d "$trial"
ask "a model on trial, somebody else" 403 /v1/chat/completions -u dashboard:published-do-not-use -d "$trial"
ask "the second try of three a minute" 200 /v1/chat/completions -H "$alice" -H "$session" -d "$trial"
ask "the third" 200 /v1/chat/completions -H "$alice" -H "$session" -d "$trial"
ask "the fourth" 429 /v1/chat/completions -H "$alice" -H "$session" -d "$trial"
ask "other sessions have tries of their own" 200 /v1/chat/completions -H "$alice" -H "$session-b" -d "$trial"
[ "$wrong" -eq 0 ] || { echo "$wrong answers are not what they should be" >&2 && exit 1; }
