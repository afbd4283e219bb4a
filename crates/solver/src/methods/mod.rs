//! One file per method.

pub(crate) mod anderson;
pub(crate) mod picard;
