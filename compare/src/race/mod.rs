//! `load`
use crate::{Failure, Options};
pub(crate) fn run(_: Options) -> Result<(), Failure> {
    Ok(())
}
