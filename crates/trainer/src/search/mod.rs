//! `hvae search`: finds hyperparameters by training, and keeps what it has found in a study.
//!
//! | file | what it holds |
//! |---|---|
//! | `file`, `space` | the space: as it is written, and checked |
//! | `domain` | values of a parameter as coordinates in `[0, 1]` |
//! | `objective` | what is searched for, and which of two runs is better |
//! | `tpe`, `propose` | the next point: Parzen estimator, random, grid |
//! | `halving` | the next job: a new trial, or one that goes on |
//! | `trial`, `study` | a line of the journal; the folder, which processes share |
//! | `work`, `progress`, `confirm` | training of trials, what is seen of it, other seeds |
//! | `results`, `page`, `charts`, `forest` | what was found: table, page, importance |

pub(crate) mod charts;
pub(crate) mod confirm;
pub(crate) mod domain;
pub(crate) mod file;
pub(crate) mod forest;
pub(crate) mod halving;
pub(crate) mod objective;
pub(crate) mod page;
pub(crate) mod presets;
pub(crate) mod progress;
pub(crate) mod propose;
pub(crate) mod results;
pub(crate) mod space;
pub(crate) mod study;
pub(crate) mod tpe;
pub(crate) mod trial;
pub(crate) mod work;
