//! The configuration of a run.

mod overrides;
mod presets;
mod run;
mod training;

pub use overrides::Usage;
pub(crate) use overrides::setting;
pub(crate) use run::Changes;
pub use run::RunConfig;
pub(crate) use training::{Schedule, TrainingConfig};
