//! Commands of Redis, for tests that look behind the scenes.

use crate::server::Redis;

impl Redis {
    /// Runs one command, and returns what it answers.
    pub(crate) async fn command(&self, parts: &[&str]) -> redis::Value {
        let client = redis::Client::open(format!("redis://{}/", self.address())).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let mut command = redis::cmd(parts[0]);
        command.arg(&parts[1..]);
        command.query_async(&mut connection).await.expect("an answer")
    }
}
