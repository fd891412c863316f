//! Session tokens: how far history had come when something was seen, and bringing this node as far.
//!
//! Called by the cache. Never on a hit: a token costs a question to the journal, because only its head, asked for after
//! a value was loaded, covers all that the value may show.

use super::Engine;
use larder_core::port::JournalError;
use larder_core::{Link, Target, Token, seeded_bug};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Places of other histories remembered as dealt with.
const STRANGERS_MAX: usize = 256;

/// How this node stands to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Everything the token stands for has been applied here. Reads that begin now see it.
    Applied,
    /// The token's place is in no history this node could learn of: the journal lost it, or it is of another journal.
    /// Whatever this node had kept is a miss from now on, so that reads that begin now see what the origin has.
    Anew,
}

/// Places of other histories for which everything was fenced. Whoever presents one again was given it before that.
#[derive(Default)]
pub(crate) struct Strangers(Mutex<VecDeque<Link>>);

impl Strangers {
    /// Has everything fenced for this place: one time for each other epoch, and for each place that is missing from this
    /// one. Whether this was that time.
    fn deal_with(&self, link: Link, head: Link, fence: impl FnOnce()) -> bool {
        let met = if link.epoch == head.epoch { link } else { Link { position: 0, nonce: 0, ..link } };
        let mut strangers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.contains(&met) {
            return false;
        }
        // Before it counts as dealt with, which another may be waiting to hear.
        fence();
        if strangers.len() >= STRANGERS_MAX {
            strangers.pop_front();
        }
        strangers.push_back(met);
        true
    }

    /// A history was adopted, which forgets fences.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Engine {
    /// The token of everything acknowledged, and of everything any value shows that was seen, before this call began. It will
    /// be shown to other nodes: they are hinted at what they may not have.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub(crate) async fn token(&self) -> Result<Token, JournalError> {
        // The mistake: what this node has applied is taken for what its readers have seen. A load sees the origin, which
        // may be ahead of that.
        if seeded_bug!("token_is_born")
            && let Some(birth) = self.fences.birth()
        {
            return Ok(Token::new(&self.namespace, birth.stamp));
        }
        Ok(Token::new(&self.namespace, self.sync().await?))
    }

    /// Brings this node at least as far as this place of its namespace's history.
    ///
    /// # Errors
    /// When the journal cannot be asked: what is served here may then be older than what the place stands for.
    pub(crate) async fn reach(&self, link: Link) -> Result<Reached, JournalError> {
        let head = self.catch_up().await?;
        if self.fences.has_reached(link) {
            return Ok(Reached::Applied);
        }
        // The token was given out before this call began, and what is loaded from here on is loaded after.
        let fence = || {
            self.fences.fence(&[Target::Everything]);
        };
        if self.strangers.deal_with(link, head, fence) {
            tracing::warn!(namespace = %self.namespace, %link, %head, "a token is of a history that is not the journal's");
        }
        Ok(Reached::Anew)
    }
}
