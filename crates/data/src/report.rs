//! What was converted, left out or only noticed while images were read.

use std::fmt;

use crate::shape::ImageShape;

/// What can happen to a single picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Resized,
    Framed,
    Grey,
    OnBlack,
    OnWhite,
    Turned,
    Rounded,
    Dark,
    Constant,
}

/// How many there are.
const KINDS: usize = 9;

/// The changes of one picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes([bool; KINDS]);

impl Changes {
    pub(crate) fn mark(&mut self, change: Change, happened: bool) {
        self.0[change as usize] |= happened;
    }
}

/// What was converted, left out or noticed, in words; empty if nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    counts: [usize; KINDS],
    /// The shape of every image.
    shape: Option<ImageShape>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(shape: ImageShape) -> Self {
        Self { shape: Some(shape), ..Self::default() }
    }

    pub(crate) fn add(&mut self, changes: Changes) {
        for (count, happened) in self.counts.iter_mut().zip(changes.0) {
            *count += usize::from(happened);
        }
    }

    /// Adds a sentence about the whole set.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether nothing was changed, left out or noticed.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.counts.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.shape.map(|shape| shape.size().to_string()).unwrap_or_default();
        let what: [&str; KINDS] = [
            &format!("resized to {size}"),
            "with black bars to keep their proportions",
            "converted to grey",
            "transparent, laid on black",
            "transparent and dark, laid on white",
            "turned upright by their EXIF data",
            "rounded to 8 bits",
            "of 16 bits without a value above 255, so nearly black",
            "of one shade all over",
        ];
        let counted = self.counts.iter().zip(what).filter(|(count, _)| **count > 0);
        let parts: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        write!(f, "{}", [parts, self.notes.clone()].concat().join(", "))
    }
}
