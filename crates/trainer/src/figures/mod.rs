//! Grids of images, plots and tables.

pub(crate) mod caption;
mod font;
pub mod picture;
pub(crate) mod plot;
pub(crate) mod signed;

/// The text of a CSV file, with the names of the columns in `head`.
pub(crate) fn csv(head: &str, rows: impl IntoIterator<Item = String>) -> String {
    rows.into_iter().fold(head.to_owned() + "\n", |text, row| text + &row + "\n")
}
