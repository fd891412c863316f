//! What every store must do, one function per behaviour; see [`crate::store_suite`].
