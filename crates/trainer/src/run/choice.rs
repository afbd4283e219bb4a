//! Which checkpoint of a run to use.

use std::fmt;
use std::str::FromStr;

/// Which checkpoint of a run to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointChoice {
    /// The newest.
    Latest,
    /// The one with the lowest validation loss.
    Best,
    /// The one of this step.
    Step(usize),
}

impl fmt::Display for CheckpointChoice {
    /// The file of a run that names the checkpoint, or the name of its folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Best => f.write_str("best"),
            Self::Step(step) => write!(f, "step-{step:08}"),
        }
    }
}

impl FromStr for CheckpointChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            "best" => Ok(Self::Best),
            _ => {
                let step = text.strip_prefix("step-").unwrap_or(text).parse();
                let rule = "must be latest, best or a step, such as 469 or step-00000469";
                step.map(Self::Step).map_err(|_| rule.to_owned())
            }
        }
    }
}
