//! Larder core.
