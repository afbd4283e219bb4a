//! What the values of flags may be: parsers whose errors, which clap puts behind the flag and the
//! value, say what is allowed.

use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

use hvae_device::Choice;

/// A range of finite numbers.
type Range = (Bound<f64>, Bound<f64>);

/// Above 0.
pub(crate) const POSITIVE: Range = (Excluded(0.0), Unbounded);
/// 0 or more.
pub(crate) const NOT_NEGATIVE: Range = (Included(0.0), Unbounded);
/// A part of a whole.
pub(crate) const SHARE: Range = (Included(0.0), Included(1.0));
/// What stays of a state in a sweep.
pub(crate) const DAMPING: Range = (Included(0.0), Excluded(1.0));
/// A cosine.
pub(crate) const COSINE: Range = (Included(-1.0), Included(1.0));

/// A finite number in `range`.
pub(crate) fn number(range: Range) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync {
    use std::ops::RangeBounds;
    move |text| {
        let number = text.parse().ok().filter(|x: &f64| x.is_finite() && range.contains(x));
        number.ok_or_else(|| format!("must be a number {}", in_words(range)))
    }
}

fn in_words(range: Range) -> String {
    match range {
        (Excluded(low), Unbounded) => format!("above {low}"),
        (Included(low), Unbounded) => format!("of {low} or more"),
        (low, high) => {
            let open = if matches!(low, Included(_)) { '[' } else { '(' };
            let close = if matches!(high, Included(_)) { ']' } else { ')' };
            let shown = |bound| match bound {
                Included(x) | Excluded(x) => f64::to_string(&x),
                Unbounded => "...".to_owned(),
            };
            format!("in {open}{}, {}{close}", shown(low), shown(high))
        }
    }
}

/// A file whose name ends in one of `endings`.
pub(crate) fn file(endings: &'static [&'static str]) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| {
        if ends_in(&path, endings) { Ok(path) } else { Err(expected(endings)) }
    })
}

/// Such a file, or a folder, whose name has no ending.
pub(crate) fn file_or_folder(
    endings: &'static [&'static str],
) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| {
        let folder = path.extension().is_none()
            || path.as_os_str().as_encoded_bytes().ends_with(b"/")
            || path.is_dir();
        let fits = folder || ends_in(&path, endings);
        if fits { Ok(path) } else { Err(format!("{}, or name a folder", expected(endings))) }
    })
}

fn ends_in(path: &std::path::Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

fn expected(endings: &[&str]) -> String {
    let dotted: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
    match dotted.split_last() {
        Some((last, [])) => format!("must end in {last}"),
        Some((last, others)) => format!("must end in {} or {last}", others.join(", ")),
        None => String::new(),
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

/// A network of arXiv 2311.15673, by its number of layers.
pub(crate) fn layers(text: &str) -> Result<u8, String> {
    let known = text.parse().ok().filter(|n| crate::converge::paper::hidden(*n).is_some());
    known.ok_or_else(|| "must be 3, 5 or 7, the networks of the paper".to_owned())
}

/// The name of a device; whether it is there is another matter.
pub(crate) fn device(text: &str) -> Result<String, String> {
    text.parse::<Choice>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The name of a run: of a folder, not a path.
pub(crate) fn run_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && !text.contains(['/', '\\']) && text != "." && text != "..";
    let told = "must be the plain name of a folder; --runs says where it lies";
    if plain { Ok(text.to_owned()) } else { Err(told.to_owned()) }
}

/// An address on the web.
pub(crate) fn url(text: &str) -> Result<String, String> {
    let known = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if known { Ok(text.to_owned()) } else { Err("must begin with https:// or http://".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_ends_or_not() {
        for (range, inside, outside, words) in [
            (POSITIVE, "1e-9", "0", "above 0"),
            (NOT_NEGATIVE, "0", "-1e-9", "of 0 or more"),
            (SHARE, "1", "1.01", "in [0, 1]"),
            (DAMPING, "0.99", "1", "in [0, 1)"),
            (COSINE, "-1", "-1.1", "in [-1, 1]"),
        ] {
            assert_eq!(number(range)(inside), Ok(inside.parse::<f64>().unwrap_or(f64::NAN)));
            for wrong in [outside, "nan", "inf", "", "x"] {
                let told = number(range)(wrong).unwrap_err();
                assert!(told.ends_with(words), "{wrong}: {told}");
            }
        }
    }

    #[test]
    fn planes_have_two_coordinates() {
        assert_eq!(plane("3, 0"), Ok([3, 0]));
        for wrong in ["", "3", "1,1", "1,2,3", "-1,2", "a,b"] {
            assert!(plane(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endings_are_listed_in_words() {
        assert_eq!(expected(&["png"]), "must end in .png");
        assert_eq!(expected(&["png", "gif", "npz"]), "must end in .png, .gif or .npz");
    }
}
