//! The texts of `--help`, which the manual page takes over.

use std::sync::LazyLock;

/// First line of the help.
pub(super) const ABOUT: &str = "An LLM inference gateway: routes by model, picks the endpoint by its load";

/// The help's introduction.
pub(super) const LONG_ABOUT: &str = "\
Penstock is a gateway for LLM inference. It reads the model's name from the request, finds the route, picks the \
endpoint that will answer soonest by the load and the cached prompts of each model server, and relays the \
answer as it streams.

It is configured by one document, in YAML or JSON, which may change while it serves.";

/// What follows the options.
pub(super) const AFTER: &str = "\
Examples:
  penstock up http://10.0.0.1:8000 http://10.0.0.2:8000
          Serve whatever models these two servers have, on 127.0.0.1:8080
  penstock validate penstock.yaml && penstock serve penstock.yaml
          Check a document, then serve it
  penstock up http://10.0.0.1:8000 --print > penstock.yaml
          Write a document to start from
  penstock up openai anthropic http://10.0.0.1:8000
          Serve hosted APIs, with the keys of the environment, beside a server of one's own

Signals:
  SIGHUP            Read the document, certificates and keys again; with `up`, ask the model servers at once
  SIGTERM, SIGINT   Take no new requests, finish those in flight, end. A second one ends at once

Exit codes:
  0    Done, or asked to end
  64   The command line or the routing document is faulty
  69   None of the model servers given to `up` can be used, and asking again would not help
  1    Anything else, such as an address in use or a certificate that cannot be read

Environment:
  PENSTOCK_API_KEY  The key that the model servers given to `up` ask for
  OPENAI_API_KEY, OPENAI_BASE_URL and the like
                    Keys and addresses of hosted APIs given to `up`: see `penstock up --help`
  RUST_LOG          What is logged, where --log-level is not given: info, or warn,penstock_proxy=debug
  SSL_CERT_FILE, SSL_CERT_DIR
                    Authorities to trust instead of the system's, for upstreams that name none";

/// For `serve`.
pub(super) const AFTER_SERVE: &str = "\
The document is read again when it changes, also when it is replaced through a symbolic link, as \
Kubernetes does for ConfigMaps, and at SIGHUP. Requests in flight finish with what they started with. A \
faulty document leaves the running one in force; the log, the admin listener's /debug/config and the \
metrics say why.

Processes that are started with the same --handover SOCKET replace each other: a later one takes the open ports of the \
one that runs, and when it serves, that one drains and ends. No request fails.

Examples:
  penstock serve penstock.yaml
  penstock serve /etc/penstock/config.yaml --log-level warn --log-format json
  penstock serve --kubernetes penstock-my-gateway --cache-dir /var/cache/penstock
          Follow ConfigMap penstock-my-gateway-routing and what it names; needs get, list and watch of these";

/// For `validate`.
pub(super) const AFTER_VALIDATE: &str = "\
Prints all that is wrong with each document, one fault a line as FILE: PATH: MESSAGE. Exits with 64 if \
there is any. What is legal and probably not meant, such as a pool without model servers, is a warning: FILE: warning: \
PATH: MESSAGE. Files that a document names, such as certificates, are opened only with --with-files: they may \
be on another machine.

Examples:
  penstock validate penstock.yaml
  penstock validate examples/*.yaml
  generate | penstock validate -";

/// For `explain`.
pub(super) const AFTER_EXPLAIN: &str = "\
Tells who the caller is taken for, which route takes the request, what each limit of a policy has left for it, who refuses it \
or who serves it. Nothing is sent to a model server, and nothing is counted. The gateway's admin listener is asked, which \
answers connections from its own machine only unless admin.debug says otherwise.

Examples:
  penstock explain --model gpt-4o
  penstock explain --model gpt-4o --header @key.txt
          key.txt has `authorization: Bearer KEY`
  penstock explain request.json --path /v1/messages --admin 127.0.0.1:9901 --format json";

/// For `cost`.
pub(super) const AFTER_COST: &str = "\
Costs are those of the routing document's prices when the requests were served. Requests whose model had no price then cost \
nothing in these sums, and are counted as `without price`. Days are those of UTC. Lines that are no request's, such as those of \
the gateway's own log, are passed over, and standard error says how many.

Examples:
  penstock cost access.log
  penstock cost --by month,consumer --format csv access.log > bill.csv
  zcat access.log.*.gz | penstock cost --by model --since 2026-11-01 --until 2026-11-30 -
  kubectl logs -l gateway.networking.k8s.io/gateway-name=models --tail=-1 | penstock cost -";

/// For `up`.
pub(super) const AFTER_UP: &str = "\
Each server is asked for its /v1/models, and models that the same servers have share a pool. Clients see what the \
servers say of their models, such as max_model_len. While all servers have the same models, requests that name none \
go to them too: /health, /docs, files, batches, and whatever else they offer. A name that stands for several addresses is several endpoints.

The servers are asked again every few seconds, and at SIGHUP at once: one that is started later, and an adapter that is \
loaded later, are served then. A server that does not answer now keeps its place, and gets no requests meanwhile.

A key for protected servers comes from --api-key-file, from PENSTOCK_API_KEY or from --api-key. It is shown to all \
servers, for their lists and with every request, whoever sent that.

A hosted API is given by its name. Requests get the key of the environment, and are translated where the client speaks \
another API. A model that the provider lists is served by its name and as PROVIDER/MODEL, such as openai/gpt-5. Names of \
a provider's own form are served though it does not list them: gpt-… and the like of openai, claude-… of anthropic, \
gemini-… of gemini, VENDOR.MODEL of bedrock. Of a name that several have, servers come first, then names with \
PROVIDER/, then the providers in their order. Hosted APIs are asked again every five minutes, and at SIGHUP. With \
--print, the document names a file PROVIDER.key for each key, to be written by you.

Variables of hosted APIs:
  openai      OPENAI_API_KEY, OPENAI_BASE_URL
  anthropic   ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL
  gemini      GEMINI_API_KEY or GOOGLE_API_KEY, GOOGLE_GEMINI_BASE_URL
  bedrock     AWS_REGION or AWS_DEFAULT_REGION; AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID with
              AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or what a workload's identity is known by
              (AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, AWS_CONTAINER_CREDENTIALS_FULL_URI…);
              AWS_ENDPOINT_URL_BEDROCK_RUNTIME; in BEDROCK_MODELS, the models to be listed, and to be served as
              bedrock/MODEL too
  azure       AZURE_OPENAI_ENDPOINT; AZURE_OPENAI_API_KEY, or AZURE_TENANT_ID and AZURE_CLIENT_ID with
              AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, or a managed identity's IDENTITY_ENDPOINT;
              AZURE_OPENAI_API_VERSION; in AZURE_OPENAI_DEPLOYMENTS, the deployments, which Azure lists for no key
  cohere      COHERE_API_KEY or CO_API_KEY, COHERE_BASE_URL
  mistral, groq, deepseek, together, fireworks, openrouter, xai
              NAME_API_KEY, NAME_BASE_URL

Examples:
  penstock up openai anthropic http://10.0.0.1:8000
  penstock up http://10.0.0.1:8000 http://10.0.0.2:8000
  penstock up vllm.models.svc:8000 --listen 0.0.0.0:8080
  penstock up http://10.0.0.1:8000 --model mistral:latest=http://10.0.0.9:11434
  penstock up https://models.example.com --api-key-file key.txt";

/// For `keys`.
pub(super) const AFTER_KEYS: &str = "\
The gateway stores digests of keys (SHA-256), never the keys: who reads its configuration cannot ask in anybody's name.

Examples:
  penstock keys new --consumer search
  penstock keys digest --consumer search < search.key >> keys";

/// For `keys new`.
pub(super) const AFTER_KEYS_NEW: &str = "\
A key is its prefix and 43 letters and digits of the system's randomness, which is 256 bits. Standard output has the key \
and nothing else; what to write into the configuration is on standard error. To change a consumer's key without a failed \
request, give it both digests, wait until its clients have the new key, then remove the old digest.

Examples:
  penstock keys new --consumer search
          Make a key, and show what to write into the routing document
  penstock keys new --quiet | tee search.key | penstock keys digest --consumer search >> keys
          Keep the key in one file, and its digest in the file that the gateway reads
  penstock keys new --quiet | tr -d '\\n' | vault kv put -mount=secret search key=-
          Hand the key on without its line break; nobody sees it
  penstock keys new --quiet | tr -d '\\n' | kubectl create secret generic keys --from-file=search=/dev/stdin
          A Secret for a SecurityPolicy's apiKeyAuth
  made=$(penstock keys new --quiet --format json)
          Key and digest in one object, for jq -r .key and jq -r .digest";

/// For `keys digest`.
pub(super) const AFTER_KEYS_DIGEST: &str = "\
The key is read from standard input, up to its end; line breaks there are no part of it. It cannot be given as an \
argument: a machine's other users can list those of every process, shells keep them in their history, and build logs \
print them.

Any key that clients have already will do, so that they need no new one. It has to be one that cannot be guessed: whoever \
sees the digest of a short one can try.

Examples:
  penstock keys digest < search.key
  penstock keys digest --consumer search < search.key >> keys
          A line for the file that a policy names in authentication.apiKey.file
  vault kv get -mount=secret -field=key search | penstock keys digest";

/// For `schema`.
pub(super) const AFTER_SCHEMA: &str = "\
An editor with a YAML language server reads the schema from a comment on the document's first line:
  # yaml-language-server: $schema=penstock.schema.json

Examples:
  penstock schema > penstock.schema.json
  penstock schema --format markdown | less";

/// For `completions`.
pub(super) const AFTER_COMPLETIONS: &str = "\
Examples:
  penstock completions bash > /etc/bash_completion.d/penstock
  penstock completions zsh > \"${fpath[1]}/_penstock\"
  penstock completions fish > ~/.config/fish/completions/penstock.fish";

/// The version, with the commit where the build was told of one in `PENSTOCK_COMMIT`.
pub(super) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        match option_env!("PENSTOCK_COMMIT") {
            Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
            _ => version.to_owned(),
        }
    });
    &VERSION
}
