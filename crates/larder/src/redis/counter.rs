//! A counter that all nodes share, and that forgets itself.

use super::error::RedisError;
use super::handle::Redis;
use super::script::Script;
use std::sync::LazyLock;
use std::time::Duration;

/// Adds, and begins a life if there is none. One script: never a counter without an end.
static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return n",
    )
});

impl Redis {
    /// Adds to a counter and returns what it is then. A counter that is not there begins at 0 and lives `lasts` (at least a
    /// millisecond), however often it is added to.
    ///
    /// # Errors
    /// [`RedisError::is_indeterminate`] when it may or may not have been added. A server that loses its data, or fails over,
    /// loses what was counted.
    pub async fn add(&self, counter: &str, by: i64, lasts: Duration) -> Result<i64, RedisError> {
        self.run(&ADD, &[&key(counter)], &[by.to_string().as_bytes(), ms(lasts).as_bytes()]).await
    }

    /// What a counter is; 0 when it is not there, or no more.
    ///
    /// # Errors
    /// When it could not be asked.
    pub async fn count(&self, counter: &str) -> Result<i64, RedisError> {
        Ok(self.ask::<Option<i64>>(redis::cmd("GET").arg(key(counter))).await?.unwrap_or(0))
    }
}

fn key(counter: &str) -> Vec<u8> {
    [b"larder:c:", counter.as_bytes()].concat()
}

/// A lifetime as Redis takes it: at least a millisecond, at most what does not overflow its clock.
pub(super) fn ms(lasts: Duration) -> String {
    lasts.as_millis().clamp(1, 10 * 365 * 24 * 3600 * 1000).to_string()
}
