//! A lock that all nodes share, for efficiency: so that work is not done twice, not so that it never is.
//!
//! It lasts for a time, whoever holds it may be paused for longer, and a failover may forget it: then two hold it. The
//! fence tells them apart: what is written with it can refuse an older one.

use super::counter::ms;
use super::error::RedisError;
use super::handle::Redis;
use super::names::tagged;
use super::script::Script;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

/// Takes the lock if it is free. The fence is above all before it, also those that were forgotten, as long as the
/// server's clock was not set back.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local time = redis.call('TIME')
local fence = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if fence <= last then fence = last + 1 end
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return fence",
    )
});

static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])",
    )
});

/// How long the last fence of a lock is remembered. Longer than any clock is set back in good faith.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

impl Redis {
    /// Takes a lock, if nobody holds it, for `lasts` unless renewed or released. `None` when somebody does.
    ///
    /// Good for doing work once instead of many times. It is no protection: when the holder is paused for longer, or the
    /// servers fail over or lose their data, another takes it as well. What must not happen twice must check
    /// [`Lock::fence`] where it happens.
    ///
    /// # Errors
    /// When it could not be asked. If it was taken all the same, it is given back soon, or is over after `lasts`.
    pub async fn lock(&self, name: &str, lasts: Duration) -> Result<Option<Lock>, RedisError> {
        if name.is_empty() {
            return Err(RedisError::unusable("a lock without a name"));
        }
        let random = || getrandom::u64().map_err(|_| RedisError::unsent("no random numbers"));
        let holder = format!("{:016x}{:016x}", random()?, random()?);
        // Dropped on the way out, it gives back what may have been taken.
        let mut lock = Lock { redis: self.clone(), name: name.to_owned(), holder, fence: 0, held: true };
        let keys = [lock.key(), tagged(b"larder:n:", name)];
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let args = [lock.holder.clone(), ms(lasts), ms(REMEMBERED)];
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        match self.run::<u64>(&TAKE, &keys, &args).await {
            Ok(0) => {
                lock.held = false;
                Ok(None)
            }
            Ok(fence) => {
                lock.fence = fence;
                Ok(Some(lock))
            }
            Err(error) => {
                lock.held = error.is_indeterminate();
                Err(error)
            }
        }
    }
}

/// A lock that was taken. Dropped, it is given back soon.
pub struct Lock {
    redis: Redis,
    name: String,
    holder: String,
    fence: u64,
    held: bool,
}

impl Lock {
    /// A number above those of all who held this lock before, as far as the server knows: after a failover that lost the
    /// last of them, to a server whose clock is behind, it may be smaller, and its holder is refused. Where the work takes
    /// effect, refuse what comes with a smaller one than was seen already.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Holds it for so long from now. `false` when it was over already, and may be somebody else's.
    ///
    /// # Errors
    /// When it could not be asked, or the answer was lost.
    pub async fn renew(&mut self, lasts: Duration) -> Result<bool, RedisError> {
        let args = [self.holder.as_bytes(), &ms(lasts).into_bytes()];
        Ok(self.redis.run::<u64>(&RENEW, &[&self.key()], &args).await? == 1)
    }

    /// Gives it back. `false` when it was over already.
    ///
    /// # Errors
    /// When it could not be asked, or the answer was lost; it is over by itself after its time.
    pub async fn release(mut self) -> Result<bool, RedisError> {
        let released = release(&self.redis, &self.key(), &self.holder).await;
        self.held = released.is_err();
        released
    }

    fn key(&self) -> Vec<u8> {
        tagged(b"larder:k:", &self.name)
    }
}

async fn release(redis: &Redis, key: &[u8], holder: &str) -> Result<bool, RedisError> {
    Ok(redis.run::<u64>(&RELEASE, &[key], &[holder.as_bytes()]).await? == 1)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Outside of a runtime it is over by itself after its time.
        if let (true, Ok(runtime)) = (self.held, tokio::runtime::Handle::try_current()) {
            let (redis, key, holder) = (self.redis.clone(), self.key(), std::mem::take(&mut self.holder));
            runtime.spawn(async move {
                let _ = release(&redis, &key, &holder).await;
            });
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("fence", &self.fence).finish_non_exhaustive()
    }
}
