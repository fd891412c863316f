//! Where a thread may be overtaken: points inside synchronous code at which a simulator lets other tasks run.
//!
//! Between two instructions of a hit another thread may apply records and renew the lease. A simulation on one thread
//! sees none of that unless it is told where to switch. No lock is held at a point. Without the feature `interleave`
//! (on only in the simulator) a point is nothing at all.

/// A moment at which other threads may do anything.
#[cfg(not(feature = "interleave"))]
#[inline(always)]
pub const fn point() {}

#[cfg(feature = "interleave")]
pub use hooked::{hook, point, unhook};

#[cfg(feature = "interleave")]
mod hooked {
    use std::cell::RefCell;
    use std::rc::Rc;

    thread_local! {
        static HOOK: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
    }

    /// Runs `hook` at every point this thread comes to. Points inside of it call it again: it must see to that.
    pub fn hook(hook: Rc<dyn Fn()>) {
        HOOK.with_borrow_mut(|slot| *slot = Some(hook));
    }

    /// Back to running through.
    pub fn unhook() {
        HOOK.with_borrow_mut(Option::take);
    }

    /// A moment at which other threads may do anything.
    #[inline]
    pub fn point() {
        let hook = HOOK.with_borrow(Clone::clone);
        if let Some(hook) = hook {
            hook();
        }
    }
}
