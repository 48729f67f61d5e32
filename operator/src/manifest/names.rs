//! The names of what is published.

use penstock_translate::world::Key;

/// The longest name of a Service.
const MAX_BASE: usize = 63;

/// The longest value of a label.
const MAX_LABEL: usize = 63;

/// The longest name of a ConfigMap.
const MAX_NAME: usize = 253;

/// The hex digits that take the place of what was cut off.
const HASH_DIGITS: usize = 8;

/// The names of one Gateway's objects, all in its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The namespace.
    pub namespace: String,
    /// What all names begin with, and the name of the Deployment and the Service: at most 63 characters.
    pub base: String,
    /// The value of the label that names the Gateway: its name, unless that is too long for a label.
    pub label: String,
}

impl Names {
    /// Those of a Gateway.
    pub fn of(gateway: &Key) -> Self {
        // A Service's name is a DNS label, a Gateway's may have dots.
        let base = format!("penstock-{}", gateway.name);
        let is_label = !base.contains('.');
        let base = if is_label && base.len() <= MAX_BASE - RESERVED {
            base
        } else {
            shorten(&base.replace('.', "-"), &base, MAX_BASE - RESERVED)
        };
        let name = &gateway.name;
        let label = if name.len() <= MAX_LABEL { name.clone() } else { shorten(name, name, MAX_LABEL) };
        Self { namespace: gateway.namespace.clone(), base, label }
    }

    /// A part of the routing document.
    pub fn routing(&self, part: usize) -> String {
        match part {
            0 => format!("{}-routing", self.base),
            part => format!("{}-routing-{part}", self.base),
        }
    }

    /// A shard of the endpoints of a pool or backend.
    pub fn endpoints(&self, upstream: &str, shard: usize) -> String {
        let head = format!("{}-ep-", self.base);
        let tail = format!("-{shard}");
        let room = MAX_NAME - head.len() - tail.len();
        let upstream =
            if upstream.len() <= room { upstream.to_owned() } else { shorten(upstream, upstream, room) };
        format!("{head}{upstream}{tail}")
    }

    /// The Secret.
    pub fn secrets(&self) -> String {
        format!("{}-secrets", self.base)
    }
}

/// Characters of [`MAX_BASE`] that are kept free: the ReplicaSet's and the Pod's names are made from the Deployment's,
/// and a Pod's hostname has 63 characters too.
const RESERVED: usize = 17;

/// The first `max` bytes of a name of ASCII characters, the last of them a hash of `whole`.
fn shorten(name: &str, whole: &str, max: usize) -> String {
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(whole.as_bytes()));
    let room = max - HASH_DIGITS - 1;
    let head: String = name.chars().take(room).collect();
    format!("{}-{}", head.trim_end_matches(['-', '.']), &hash[..HASH_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are_of() {
        let names = Names::of(&Key::new("default", "inference-pool-with-aigwroute"));
        assert_eq!(names.base, "penstock-inference-pool-with-aigwroute");
        assert_eq!(names.routing(0), "penstock-inference-pool-with-aigwroute-routing");
        assert_eq!(names.routing(2), "penstock-inference-pool-with-aigwroute-routing-2");
        assert_eq!(names.secrets(), "penstock-inference-pool-with-aigwroute-secrets");
        assert_eq!(
            names.endpoints("default.mistral", 1),
            "penstock-inference-pool-with-aigwroute-ep-default.mistral-1"
        );
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let long = "g".repeat(253);
        let (one, two) =
            (Names::of(&Key::new("n", &*long)), Names::of(&Key::new("n", format!("{}x", &long[1..]))));
        assert!(one.base.len() <= 46 && two.base.len() <= 46, "{} {}", one.base, two.base);
        assert_ne!(one.base, two.base);
        assert_ne!(one.label, two.label);
        assert_eq!(one.label.len(), 63);
        let upstream = format!("{}.{}", "n".repeat(63), "p".repeat(253));
        let (a, b) = (one.endpoints(&upstream, 0), one.endpoints(&format!("{upstream}x"), 0));
        assert!(a.len() <= 253 && b.len() <= 253);
        assert_ne!(a, b);
        assert_ne!(Names::of(&Key::new("n", "a.b")).base, Names::of(&Key::new("n", "a-b")).base);
    }
}
