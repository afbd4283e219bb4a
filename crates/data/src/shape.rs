//! The shape of an image.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Height and width of an image at most.
const MAX_SIDE: usize = 4096;

/// Channels, height and width of the images of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// 1 for grey images.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// MNIST and Fashion-MNIST.
    pub const MNIST: Self = Self::grey(28, 28);

    /// One channel.
    pub const fn grey(height: usize, width: usize) -> Self {
        Self { channels: 1, height, width }
    }

    /// Numbers per image: `channels * height * width`.
    ///
    /// ```
    /// assert_eq!(hvae_data::ImageShape::MNIST.pixels(), 784);
    /// ```
    pub const fn pixels(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Height and width.
    pub const fn size(self) -> ImageSize {
        ImageSize { height: self.height, width: self.width }
    }
}

/// Height and width, written `28x28`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
        text.split_once('x')
            .and_then(|(height, width)| Some(Self { height: side(height)?, width: side(width)? }))
            .ok_or_else(|| {
                format!(
                    "`{text}` is not an image size: expected HEIGHTxWIDTH such as 28x28, each from \
                     1 to {MAX_SIDE}"
                )
            })
    }
}

impl TryFrom<String> for ImageSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ImageSize> for String {
    fn from(size: ImageSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let size = ImageSize { height: 20, width: 32 };
        assert_eq!(size.to_string().parse(), Ok(size));
        for text in ["28", "28x", "x28", "0x28", "28x5000", "28x28x1", "a x b", "28X28", ""] {
            let error = text.parse::<ImageSize>().unwrap_err();
            assert!(error.contains("HEIGHTxWIDTH"), "{text}: {error}");
        }
    }
}
