//! A rate that all nodes share: so many a period, with bursts, by the server's clock.

use super::error::RedisError;
use super::handle::Redis;
use super::script::Script;
use std::sync::LazyLock;
use std::time::Duration;

/// The generic cell rate algorithm: one number, the moment at which all that was taken will have been earned.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, burst, take = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local earned = tonumber(redis.call('GET', KEYS[1]) or '0')
if earned < now then earned = now end
local next = earned + each * take
local wait = next - each * burst - now
if wait > 0 then return {0, string.format('%.0f', math.ceil(wait))} end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.max(1, math.ceil((next - now) / 1000)))
return {1, string.format('%.0f', math.floor((0 - wait) / each))}",
    )
});

/// So many a period, and as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    each: Duration,
    burst: u32,
}

impl RateLimit {
    /// `count` (at least 1) in each `period`; at first, or after a pause, all of them at once. One of them is worth a
    /// microsecond at the least.
    pub fn per(count: u32, period: Duration) -> Self {
        let each = (period / count.max(1)).max(Duration::from_micros(1));
        RateLimit { each, burst: count.max(1) }
    }

    /// How many (at least 1) may be taken at once.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst.max(1);
        self
    }
}

/// What became of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Granted; so many more would be, right now.
    Granted {
        /// How many more.
        left: u64,
    },
    /// Refused: nothing was taken.
    Refused {
        /// After how long it would be granted, if nobody takes any meanwhile. Never, if more is asked for than a burst:
        /// then the longest duration.
        retry_after: Duration,
    },
}

impl Redis {
    /// Takes `count` of a rate that all nodes share under this name. All of them must name the same limit.
    ///
    /// # Errors
    /// When it could not be asked: whether to go on without a limit, or not, is the caller's to decide. A server that
    /// loses its data forgets what was taken.
    pub async fn take(&self, rate: &str, count: u32, limit: RateLimit) -> Result<Allowance, RedisError> {
        if count > limit.burst {
            return Ok(Allowance::Refused { retry_after: Duration::MAX });
        }
        let key = [b"larder:r:", rate.as_bytes()].concat();
        let args = [limit.each.as_micros().to_string(), limit.burst.to_string(), count.to_string()];
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        let (granted, number): (bool, u64) = self.run(&TAKE, &[&key], &args).await?;
        Ok(match granted {
            true => Allowance::Granted { left: number },
            false => Allowance::Refused { retry_after: Duration::from_micros(number) },
        })
    }
}
