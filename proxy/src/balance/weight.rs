//! Weights as pingora takes them: it lays out one slot for each unit of weight, so they have to be small
//! whole numbers.

/// The most slots that a backend's weights are spread over. Enough for a share of 0.03 percent.
const SLOTS: u64 = 4096;

/// Turns the weight of each endpoint and the number of its addresses into slots for each of its
/// addresses, so that an endpoint's share does not depend on how many addresses its name has. An
/// endpoint without addresses gets none.
pub(super) fn slots(endpoints: &[(u32, usize)]) -> Vec<usize> {
    let used = || endpoints.iter().filter(|(_, addresses)| *addresses > 0);
    // In units of one address of the finest division; saturating, because a product of odd counts can
    // be huge, and only proportions matter.
    let unit = used().fold(1_u64, |unit, &(_, addresses)| lcm(unit, addresses as u64).min(1 << 32));
    let exact = |&(weight, addresses): &(u32, usize)| match addresses as u64 {
        0 => 0,
        addresses => u64::from(weight).saturating_mul(unit) / addresses,
    };
    let divisor = used().map(exact).fold(0, gcd).max(1);
    let total: u64 = used().map(|endpoint| exact(endpoint) / divisor * endpoint.1 as u64).sum();
    let scale = |slots: u64| match total {
        total if total <= SLOTS => slots,
        // No endpoint that was given a weight goes without requests.
        total => ((u128::from(slots) * u128::from(SLOTS) / u128::from(total)) as u64).max(1),
    };
    endpoints.iter().map(|endpoint| scale(exact(endpoint) / divisor) as usize).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u64, b: u64) -> u64 {
    (a / gcd(a, b)).saturating_mul(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_reduced_and_shared_among_addresses() {
        assert_eq!(slots(&[(100, 1), (300, 1)]), [1, 3]);
        assert_eq!(slots(&[(1, 1), (1, 3)]), [3, 1], "a name with three addresses gets one half too");
        assert_eq!(slots(&[(7, 2)]), [1]);
        assert_eq!(slots(&[]), [0_usize; 0]);
    }

    #[test]
    fn an_endpoint_without_addresses_takes_no_share() {
        assert_eq!(slots(&[(5, 0), (5, 2)])[1], 1);
    }

    #[test]
    fn huge_weights_fit_and_small_ones_keep_a_slot() {
        let slots = slots(&[(1_000_000, 1), (1, 1), (999_983, 7)]);
        let total: usize = slots[0] + slots[1] + slots[2] * 7;
        assert!(total <= SLOTS as usize + 8, "{slots:?}");
        assert_eq!(slots[1], 1);
        let share = slots[0] as f64 / total as f64;
        assert!((share - 0.5).abs() < 0.01, "{share}");
    }
}
