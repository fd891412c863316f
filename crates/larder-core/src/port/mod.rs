//! Ports: what the engine asks of the world. Adapters implement them; the engine knows nothing else.
//!
//! Every method that does IO returns a boxed future so that adapters can be chosen at run time. Dropping such
//! a future never leaves an adapter broken; whether the operation happened is then unknown.

mod backplane;
mod browse;
mod clock;
mod flights;
mod journal;
mod runtime;
mod store;

pub use backplane::Backplane;
pub use browse::{Browse, Leaf};
pub use clock::{Clock, Nanos};
pub use flights::{Claim, Claimed, Holder, Left, SharedFlights};
pub use journal::{Appended, Hint, History, Journal, JournalError, Page};
pub use runtime::Runtime;
pub use store::{News, Store, StoreError, Stored, Told, Use};

use std::future::Future;
use std::pin::Pin;

/// A future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The cause of an adapter's error: whatever its client library returned.
pub type Source = Box<dyn std::error::Error + Send + Sync>;
