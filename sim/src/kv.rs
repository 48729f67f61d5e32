//! The block KV cache: which prefix blocks are held, which are in use, and which go first.
//!
//! As in vLLM, a block in use is pinned, a block out of use stays until its room is needed, and the least
//! recently used goes first; of one prompt, the tail before the head, since a head serves more prompts.

use rustc_hash::FxHashMap;

const NONE: u32 = u32::MAX;

/// Block KV cache of one server.
#[derive(Debug)]
pub struct KvCache {
    capacity: usize,
    nodes: Vec<Node>,
    vacant: Vec<u32>,
    index: FxHashMap<u64, u32>,
    /// Ends of the list of unpinned blocks: the next to go, and the last to.
    oldest: u32,
    newest: u32,
    pinned: usize,
    anonymous: usize,
}

#[derive(Debug)]
struct Node {
    hash: u64,
    pins: u32,
    older: u32,
    newer: u32,
}

impl KvCache {
    /// An empty cache of `capacity` blocks.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            nodes: Vec::new(),
            vacant: Vec::new(),
            index: FxHashMap::default(),
            oldest: NONE,
            newest: NONE,
            pinned: 0,
            anonymous: 0,
        }
    }

    /// How many blocks from the start are held, and how many of these nobody pins.
    #[must_use]
    pub fn match_prefix(&self, hashes: &[u64]) -> (usize, usize) {
        let mut unpinned = 0;
        for (depth, hash) in hashes.iter().enumerate() {
            match self.index.get(hash) {
                None => return (depth, unpinned),
                Some(node) if self.nodes[*node as usize].pins == 0 => unpinned += 1,
                Some(_) => {}
            }
        }
        (hashes.len(), unpinned)
    }

    /// Blocks in use: pinned, or without a hash yet.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.pinned + self.anonymous
    }

    /// Share of the blocks in use, 0 to 1.
    #[must_use]
    pub fn usage(&self) -> f64 {
        if self.capacity == 0 { 0.0 } else { self.in_use() as f64 / self.capacity as f64 }
    }

    /// Pins the blocks of a prompt, adding those that are missing, and returns them for [`KvCache::unpin`].
    /// The caller has made sure that there is room.
    #[must_use]
    pub fn pin(&mut self, hashes: &[u64]) -> Vec<u32> {
        hashes.iter().map(|hash| self.pin_one(*hash)).collect()
    }

    /// Lets go of blocks, which stay held until their room is needed.
    pub fn unpin(&mut self, blocks: &[u32]) {
        for block in blocks.iter().rev() {
            let node = &mut self.nodes[*block as usize];
            node.pins -= 1;
            if node.pins == 0 {
                self.pinned -= 1;
                self.link(*block);
            }
        }
    }

    /// Takes `blocks` that hold no full prefix block: a prompt's end, an answer that grows.
    pub fn take(&mut self, blocks: usize) {
        self.anonymous += blocks;
        while self.index.len() + self.anonymous > self.capacity && self.evict() {}
    }

    /// Gives back what [`KvCache::take`] took.
    pub fn give_back(&mut self, blocks: usize) {
        self.anonymous -= blocks;
    }

    /// Keeps blocks for reuse that no one has pinned: a finished answer's.
    pub fn keep(&mut self, hashes: &[u64]) {
        let blocks = self.pin(hashes);
        self.unpin(&blocks);
    }

    fn pin_one(&mut self, hash: u64) -> u32 {
        if let Some(&block) = self.index.get(&hash) {
            if self.nodes[block as usize].pins == 0 {
                self.unlink(block);
                self.pinned += 1;
            }
            self.nodes[block as usize].pins += 1;
            return block;
        }
        if self.index.len() + self.anonymous >= self.capacity {
            self.evict();
        }
        let node = Node { hash, pins: 1, older: NONE, newer: NONE };
        let block = match self.vacant.pop() {
            Some(block) => {
                self.nodes[block as usize] = node;
                block
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.index.insert(hash, block);
        self.pinned += 1;
        block
    }

    fn evict(&mut self) -> bool {
        let block = self.oldest;
        if block == NONE {
            return false;
        }
        self.unlink(block);
        self.index.remove(&self.nodes[block as usize].hash);
        self.vacant.push(block);
        true
    }

    /// Makes a block the last to go.
    fn link(&mut self, block: u32) {
        let newest = std::mem::replace(&mut self.newest, block);
        let node = &mut self.nodes[block as usize];
        (node.older, node.newer) = (newest, NONE);
        match newest {
            NONE => self.oldest = block,
            newest => self.nodes[newest as usize].newer = block,
        }
    }

    fn unlink(&mut self, block: u32) {
        let Node { older, newer, .. } = self.nodes[block as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(cache: &mut KvCache, hashes: &[u64]) {
        let blocks = cache.pin(hashes);
        cache.unpin(&blocks);
    }

    #[test]
    fn a_prefix_is_found_up_to_its_first_gap() {
        let mut cache = KvCache::new(8);
        served(&mut cache, &[1, 2, 3]);
        assert_eq!(cache.match_prefix(&[1, 2, 9, 3]), (2, 2));
        let _pins = cache.pin(&[1]);
        assert_eq!(cache.match_prefix(&[1, 2, 3]), (3, 2));
    }

    #[test]
    fn the_least_recent_prompt_goes_first_and_its_tail_before_its_head() {
        let mut cache = KvCache::new(6);
        served(&mut cache, &[1, 2, 3]);
        served(&mut cache, &[4, 5, 6]);
        served(&mut cache, &[7]);
        assert_eq!(cache.match_prefix(&[1, 2, 3]).0, 2);
        assert_eq!(cache.match_prefix(&[4, 5, 6]).0, 3);
        served(&mut cache, &[1]);
        served(&mut cache, &[8, 9]);
        assert_eq!(cache.match_prefix(&[1]).0, 1);
        assert_eq!(cache.match_prefix(&[4, 5, 6]).0, 2);
    }

    #[test]
    fn what_is_pinned_stays() {
        let mut cache = KvCache::new(4);
        let pins = cache.pin(&[1, 2]);
        served(&mut cache, &[3, 4]);
        cache.take(2);
        assert_eq!(cache.match_prefix(&[1, 2]).0, 2);
        assert_eq!(cache.match_prefix(&[3]).0, 0);
        assert!((cache.usage() - 1.0).abs() < 1e-9);
        cache.give_back(2);
        cache.unpin(&pins);
        assert_eq!(cache.in_use(), 0);
    }

    #[test]
    fn shared_blocks_count_once() {
        let mut cache = KvCache::new(4);
        let first = cache.pin(&[1, 2]);
        let second = cache.pin(&[1, 2]);
        assert_eq!(cache.in_use(), 2);
        cache.unpin(&first);
        assert_eq!(cache.in_use(), 2);
        cache.unpin(&second);
        assert_eq!(cache.in_use(), 0);
    }

    proptest::proptest! {
        #[test]
        fn never_more_blocks_than_it_has(prompts in proptest::collection::vec(proptest::collection::vec(0_u64..40, 0..6), 0..60)) {
            let mut cache = KvCache::new(18);
            let mut pins = std::collections::VecDeque::new();
            for mut prompt in prompts {
                prompt.sort_unstable();
                prompt.dedup();
                pins.push_back(cache.pin(&prompt));
                if pins.len() > 2 {
                    cache.unpin(&pins.pop_front().unwrap());
                }
                proptest::prop_assert!(cache.index.len() + cache.anonymous <= 18);
                proptest::prop_assert!(cache.in_use() <= cache.index.len());
            }
            while let Some(blocks) = pins.pop_front() {
                cache.unpin(&blocks);
            }
            proptest::prop_assert_eq!(cache.in_use(), 0);
        }
    }
}
