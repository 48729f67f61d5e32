//! Who serves, by OpenTelemetry's names of providers.

use penstock_config::{ApiSchema, BackendHost, BackendSpec, Engine, PoolSpec};

/// Providers that are known by their hosts though they serve OpenAI's API: what the host ends in, and their name.
const HOSTS: [(&str, &str); 10] = [
    ("api.openai.com", "openai"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.together.xyz", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("openrouter.ai", "openrouter"),
    ("api.x.ai", "x_ai"),
    ("api.cohere.ai", "cohere"),
    ("api.perplexity.ai", "perplexity"),
];

/// The model server of a pool.
pub(crate) fn of_pool(spec: &PoolSpec) -> &'static str {
    match spec.engine {
        Engine::Vllm => "vllm",
        Engine::Sglang => "sglang",
        Engine::TrtllmServe | Engine::TritonTensorrtLlm => "tensorrt_llm",
        Engine::Triton => "triton",
    }
}

/// Who is behind a backend, by its API and its host.
pub(crate) fn of_backend(spec: &BackendSpec) -> &'static str {
    match spec.api.as_ref().map_or(ApiSchema::OpenAI, |api| api.schema) {
        ApiSchema::OpenAI => {
            let Some(BackendHost::Dns(host)) = spec.endpoints.first().map(|endpoint| &endpoint.host) else {
                return "openai";
            };
            HOSTS.iter().find(|(of, _)| host.eq_ignore_ascii_case(of)).map_or("openai", |(_, name)| name)
        }
        ApiSchema::Anthropic => "anthropic",
        ApiSchema::AWSBedrock | ApiSchema::AWSAnthropic => "aws.bedrock",
        ApiSchema::AzureOpenAI => "azure.ai.openai",
        ApiSchema::GCPVertexAI | ApiSchema::GCPAnthropic => "gcp.vertex_ai",
        ApiSchema::Gemini => "gcp.gemini",
        ApiSchema::Cohere => "cohere",
    }
}
