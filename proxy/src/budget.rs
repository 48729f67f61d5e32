//! Retry budgets: retries may not multiply the load on upstreams that fail because they are overloaded.

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many seconds of the minimum rate, and of traffic, a budget can save up.
const RESERVE_SECONDS: u32 = 10;

/// One retry, in the unit in which the balance is kept.
const RETRY: u64 = 1_000_000;

/// Allows a share of a rule's requests to be tried again, and a minimum rate whatever the traffic
/// (as in Finagle's retry budget: a token bucket that requests fill and retries empty).
#[derive(Debug)]
pub(crate) struct RetryBudget {
    per_request: u64,
    per_second: u64,
    capacity: u64,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    balance: u64,
    refilled: Instant,
}

impl RetryBudget {
    /// Allows `percent` retries for each hundred requests, and `min_per_second` of them in any case.
    pub(crate) fn new(percent: u32, min_per_second: u32) -> Self {
        let per_request = u64::from(percent) * RETRY / 100;
        let per_second = u64::from(min_per_second) * RETRY;
        // Enough for a burst of failures after quiet time, however little traffic there was before.
        let capacity = (per_second + per_request * 100) * u64::from(RESERVE_SECONDS);
        let account = Account { balance: per_second * u64::from(RESERVE_SECONDS), refilled: Instant::now() };
        Self { per_request, per_second, capacity, account: Mutex::new(account) }
    }

    /// Counts a request.
    pub(crate) fn deposit(&self) {
        if self.per_request == 0 {
            return;
        }
        let mut account = self.account.lock();
        account.balance = (account.balance + self.per_request).min(self.capacity);
    }

    /// Takes one retry; `false` when none is left.
    pub(crate) fn withdraw(&self) -> bool {
        let now = Instant::now();
        let mut account = self.account.lock();
        let elapsed = now.saturating_duration_since(account.refilled);
        account.refilled = now;
        let earned = u128::from(self.per_second) * elapsed.as_micros() / 1_000_000;
        let earned = u64::try_from(earned).unwrap_or(self.capacity);
        account.balance = account.balance.saturating_add(earned).min(self.capacity);
        let is_covered = account.balance >= RETRY;
        if is_covered {
            account.balance -= RETRY;
        }
        is_covered
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn withdrawals(budget: &RetryBudget) -> usize {
        (0..10_000).take_while(|_| budget.withdraw()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_requests() {
        let budget = RetryBudget::new(20, 0);
        assert_eq!(withdrawals(&budget), 0);
        for _ in 0..100 {
            budget.deposit();
        }
        assert_eq!(withdrawals(&budget), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn the_minimum_rate_refills_with_time() {
        let budget = RetryBudget::new(0, 10);
        assert_eq!(withdrawals(&budget), 100);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(withdrawals(&budget), 20);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(withdrawals(&budget), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_of_nothing_allows_nothing() {
        let budget = RetryBudget::new(0, 0);
        budget.deposit();
        assert!(!budget.withdraw());
    }
}
