//! Hints: one connection that listens, made again for ever, and honest about what it may have missed.
//!
//! The only session that must be the client's own: behind a pooler that shares sessions nothing is heard, and nodes look
//! when their leases are due.

use crate::backoff::Backoff;
use crate::postgres::{PostgresError, Settings};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::AsyncMessage;
use tokio_util::task::AbortOnDropHandle;

/// A connection that lasted so long was sound.
const SOUND: Duration = Duration::from_secs(10);

/// Hears what is said of any namespace, on behalf of a handle and its clones. Ends when dropped.
pub(super) struct Listener {
    ears: Arc<Ears>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Ears {
    /// Who waits for news of which namespace, by its name in hexadecimal as the server says it.
    waiting: Mutex<HashMap<String, Vec<Weak<Notify>>>>,
    is_listening: AtomicBool,
}

impl Ears {
    /// News of one namespace, or perhaps of any.
    fn tell(&self, name: Option<&str>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|whose, ears| {
            if name.is_none_or(|name| name == whose) {
                ears.retain(|ear| ear.upgrade().inspect(|ear| ear.notify_one()).is_some());
            }
            !ears.is_empty()
        });
    }
}

impl Listener {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let ears = Arc::<Ears>::default();
        let task = attend(Arc::clone(&ears), settings);
        Listener { ears, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    /// An ear for a namespace, which hears at once that it may have missed something.
    pub(super) fn ear(&self, namespace: &str) -> Arc<Notify> {
        let ear = Arc::new(Notify::new());
        ear.notify_one();
        let name = hex(namespace.as_bytes());
        let mut waiting = self.ears.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(name).or_default().push(Arc::downgrade(&ear));
        ear
    }

    pub(super) fn is_listening(&self) -> bool {
        self.ears.is_listening.load(Ordering::Relaxed)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The life of a subscription, without an end.
async fn attend(ears: Arc<Ears>, settings: Arc<Settings>) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        if let Err(error) = listen(&ears, &settings).await {
            tracing::debug!(%error, "listening to Postgres ended; it begins again");
        }
        ears.is_listening.store(false, Ordering::Relaxed);
        ears.tell(None);
        if began.elapsed() >= SOUND {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Listens for as long as the connection lasts.
async fn listen(ears: &Ears, settings: &Settings) -> Result<(), PostgresError> {
    let (client, mut connection) = settings.connect().await?;
    let mut begin = std::pin::pin!(client.batch_execute("LISTEN larder"));
    let mut is_begun = false;
    loop {
        let message = tokio::select! {
            biased;
            begun = &mut begin, if !is_begun => {
                begun?;
                is_begun = true;
                // What was said before this moment was missed.
                ears.is_listening.store(true, Ordering::Relaxed);
                ears.tell(None);
                continue;
            }
            message = poll_fn(|context| connection.poll_message(context)) => message,
        };
        match message {
            Some(Ok(AsyncMessage::Notification(said))) => {
                ears.tell(Some(said.payload()).filter(|name| !name.is_empty()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Ok(()),
        }
    }
}
