//! Stand-ins for the pool types of the configuration crate.

use std::{net::SocketAddr, sync::Arc};

/// The model server's kind; decides which metric names are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Engine {
    /// vLLM.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    TrtllmServe,
    /// Triton with any backend.
    Triton,
    /// Triton with the TensorRT-LLM backend.
    TritonTensorrtLlm,
}

/// A pool of model servers.
#[derive(Debug, Clone)]
pub struct PoolSpec {
    /// The pool's name.
    pub name: Arc<str>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSpec>,
}

/// One endpoint of a pool.
#[derive(Debug, Clone)]
pub struct EndpointSpec {
    /// Address that requests are sent to.
    pub address: SocketAddr,
    /// Address of the metrics page.
    pub metrics_address: SocketAddr,
    /// Name to show, such as `namespace/pod`.
    pub name: Arc<str>,
    /// The model server's kind.
    pub engine: Engine,
}
