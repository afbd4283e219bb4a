//! Parsers for the values of flags. Their errors say what is allowed; clap puts flag and value
//! before them.

use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::path::PathBuf;

use clap::builder::{
    PathBufValueParser, PossibleValuesParser, RangedU64ValueParser, TypedValueParser,
};
use hvae_device::Choice;
use hvae_model::Kind;

/// A range of finite numbers, and how errors call it.
type Range = (Bound<f64>, Bound<f64>, &'static str);

/// Above 0.
pub(crate) const POSITIVE: Range = (Excluded(0.0), Unbounded, "above 0");
/// 0 or more.
pub(crate) const NOT_NEGATIVE: Range = (Included(0.0), Unbounded, "of 0 or more");
/// A fraction.
pub(crate) const SHARE: Range = (Included(0.0), Included(1.0), "in [0, 1]");
/// The fraction of the old state that a damped sweep keeps.
pub(crate) const DAMPING: Range = (Included(0.0), Excluded(1.0), "in [0, 1)");
pub(crate) const COSINE: Range = (Included(-1.0), Included(1.0), "in [-1, 1]");

/// A finite number in `range`.
pub(crate) fn number(range: Range) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync {
    let (low, high, words) = range;
    move |text| {
        let number = text.parse().ok();
        let number = number.filter(|x: &f64| x.is_finite() && (low, high).contains(x));
        number.ok_or_else(|| format!("must be a number {words}"))
    }
}

/// A whole number in `range`.
pub(crate) fn count(range: impl RangeBounds<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

/// A file whose name ends in one of `endings`.
pub(crate) fn file(endings: &'static [&'static str]) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let fits = ending.is_some_and(|ending| endings.contains(&ending.as_str()));
        if fits { Ok(path) } else { Err(expected(endings)) }
    })
}

/// What a file's name must end in, in words.
pub(crate) fn expected(endings: &[&str]) -> String {
    let dotted: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
    match dotted.split_last() {
        Some((last, [])) => format!("must end in {last}"),
        Some((last, others)) => format!("must end in {} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A kind of model.
pub(crate) fn kind() -> impl TypedValueParser<Value = Kind> {
    // In the order of the documentation.
    let kinds = [Kind::HVae, Kind::ThVae, Kind::DhVae, Kind::TdhVae, Kind::FVae];
    PossibleValuesParser::new(kinds.map(Kind::name)).try_map(move |name| {
        kinds.into_iter().find(|kind| kind.name() == name).ok_or("unknown kind")
    })
}

/// Rows and columns of a grid of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Grid {
    /// Largest number of rows or columns: pictures stay within what viewers open.
    const LARGEST: usize = 100;

    pub(crate) fn cells(self) -> usize {
        self.rows * self.columns
    }
}

impl std::str::FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| part.parse().ok().filter(|n| (1..=Self::LARGEST).contains(n));
        text.split_once('x')
            .and_then(|(rows, columns)| Some(Self { rows: parse(rows)?, columns: parse(columns)? }))
            .ok_or_else(|| {
                format!("expected ROWSxCOLUMNS such as 10x10, each from 1 to {}", Self::LARGEST)
            })
    }
}

/// Two different coordinates.
pub(crate) fn plane(text: &str) -> Result<[usize; 2], String> {
    let parse = |part: &str| part.trim().parse().ok();
    text.split_once(',')
        .and_then(|(i, j)| Some([parse(i)?, parse(j)?]))
        .filter(|[i, j]| i != j)
        .ok_or_else(|| "must be two different coordinates, counted from 0, such as 3,7".to_owned())
}

/// The name of a device, which need not exist.
pub(crate) fn device(text: &str) -> Result<String, String> {
    text.parse::<Choice>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The name of a run: of a folder, not a path.
pub(crate) fn run_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && !text.contains(['/', '\\']) && text != "." && text != "..";
    let rule = "must be the plain name of a folder, without a path; see --runs";
    if plain { Ok(text.to_owned()) } else { Err(rule.to_owned()) }
}

pub(crate) fn url(text: &str) -> Result<String, String> {
    let known = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if known { Ok(text.to_owned()) } else { Err("must begin with https:// or http://".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_and_planes_have_two_numbers() {
        assert_eq!("3x20".parse(), Ok(Grid { rows: 3, columns: 20 }));
        for wrong in ["", "3", "0x3", "3x", "3x101", "-1x2", "3x4x5"] {
            assert!(wrong.parse::<Grid>().is_err(), "{wrong}");
        }
        assert_eq!(plane("3, 0"), Ok([3, 0]));
        for wrong in ["", "3", "1,1", "1,2,3", "-1,2", "a,b"] {
            assert!(plane(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_hold_their_ends_or_not() {
        for (range, inside, outside) in [
            (POSITIVE, "1e-9", "0"),
            (NOT_NEGATIVE, "0", "-1e-9"),
            (SHARE, "1", "1.01"),
            (DAMPING, "0.99", "1"),
            (COSINE, "-1", "-1.1"),
        ] {
            assert_eq!(number(range)(inside), Ok(inside.parse::<f64>().unwrap_or(f64::NAN)));
            for wrong in [outside, "nan", "inf", "", "x"] {
                assert!(number(range)(wrong).is_err(), "{wrong}");
            }
        }
    }
}
