//! What a peek may spend, and how it hashes.

/// Bounds and hashing parameters of one peek.
///
/// Every bound is enforced while the body arrives: what exceeds it is refused at the byte that does, with
/// the limit named in the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of one prefix block in bytes of raw prompt. Default [`Options::BLOCK_BYTES`]; 0 turns prefix
    /// hashing off.
    pub block_bytes: usize,
    /// Blocks hashed at most; what follows is scanned but not hashed. Default [`Options::MAX_BLOCKS`].
    pub max_blocks: usize,
    /// Seed of the chain of block hashes. Chosen once a process, at random, so that nobody outside can
    /// construct prompts whose blocks collide. Default 0, which is for tests.
    pub seed: u64,
    /// Longest model name in bytes of UTF-8, after escapes were resolved. Default
    /// [`Options::MAX_MODEL_BYTES`].
    pub max_model_bytes: usize,
    /// Deepest nesting of a JSON body, the outermost object being 1. Default [`Options::MAX_DEPTH`]; values
    /// above [`Options::MAX_DEPTH_CEILING`] count as that.
    pub max_depth: usize,
    /// Most bytes that a body under `Content-Encoding` may decode to. Default
    /// [`Options::MAX_DECODED_BYTES`].
    pub max_decoded_bytes: u64,
    /// How many times its own size such a body may decode to, beyond 256 KiB that are free. Default
    /// [`Options::MAX_DECODED_RATIO`].
    pub max_decoded_ratio: u32,
}

impl Options {
    /// 256 bytes: about 64 tokens, the smallest block that an endpoint picker's prefix cache works with.
    pub const BLOCK_BYTES: usize = 256;
    /// 2,048 blocks: half a megabyte of prompt, about 128 Ki tokens.
    pub const MAX_BLOCKS: usize = 2_048;
    /// 256 bytes: twice the longest name seen on model hubs, and short enough for a header.
    pub const MAX_MODEL_BYTES: usize = 256;
    /// 256 levels: tool schemas reach 30; model servers give up between 128 and 1,000.
    pub const MAX_DEPTH: usize = 256;
    /// The bracket stack is a fixed bit set of this many levels, so that no body can make it grow.
    pub const MAX_DEPTH_CEILING: usize = 1_024;
    /// 64 MiB: the gateway's default for a body that is not encoded.
    pub const MAX_DECODED_BYTES: u64 = 64 * 1024 * 1024;
    /// 200 times: source code and prose have 3 to 10, prompts that repeat themselves 20 to 100, bombs 1,000 and more.
    pub const MAX_DECODED_RATIO: u32 = 200;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_bytes: Self::BLOCK_BYTES,
            max_blocks: Self::MAX_BLOCKS,
            seed: 0,
            max_model_bytes: Self::MAX_MODEL_BYTES,
            max_depth: Self::MAX_DEPTH,
            max_decoded_bytes: Self::MAX_DECODED_BYTES,
            max_decoded_ratio: Self::MAX_DECODED_RATIO,
        }
    }
}
