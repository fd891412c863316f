//! Hints over Redis' or Valkey's pub/sub, sharded on a cluster: `{larder:booking}:hint`.
//!
//! For journals elsewhere. A Redis journal gives hints of its own, and needs none of these.

use crate::redis::{Listener, Redis, name_of};
use larder_core::port::{Backplane, BoxFuture};
use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Hints over Redis or Valkey. Every node of a namespace must be given one on the same server.
pub struct RedisBackplane {
    redis: Redis,
    /// One subscription a namespace, made when somebody waits for hints.
    listeners: Mutex<HashMap<Box<str>, Arc<Listener>>>,
    closed: AtomicBool,
}

impl RedisBackplane {
    /// A backplane on connections that others may use too.
    pub fn on(redis: &Redis) -> Self {
        RedisBackplane { redis: redis.clone(), listeners: Mutex::default(), closed: AtomicBool::new(false) }
    }

    fn listener(&self, namespace: &str) -> Option<Arc<Listener>> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(listener) = listeners.get(namespace) {
            return Some(Arc::clone(listener));
        }
        let listener = Arc::new(self.redis.listen(&name_of(namespace, "hint")));
        listeners.insert(namespace.into(), Arc::clone(&listener));
        Some(listener)
    }
}

impl Backplane for RedisBackplane {
    fn hint<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = self.redis.publish(&name_of(namespace, "hint"), b"").await {
                tracing::debug!(%error, "other nodes could not be given a hint");
            }
        })
    }

    fn changed<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match self.listener(namespace) {
                Some(listener) => listener.changed().await,
                None => pending().await,
            }
        })
    }

    fn is_listening(&self, namespace: &str) -> bool {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.get(namespace).is_some_and(|listener| listener.is_subscribed())
    }

    fn name(&self) -> &'static str {
        "redis"
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Relaxed);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Box::pin(ready(()))
    }
}
