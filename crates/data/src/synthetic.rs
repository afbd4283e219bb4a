//! A generated data set in the format of MNIST, for demonstrations and tests without a download.
//!
//! The ten classes are simple signs such as a ring or a cross. Size, slant, position, stroke width
//! and ink vary from image to image. Only exactly rounded arithmetic is used, so every machine
//! generates the same images.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{ImageSet, ImageShape, Split};

/// Height and width of the images.
const SIDE: u8 = 28;
/// Number of classes.
const CLASSES: u8 = 10;

/// A point of the sign, where the sign reaches from -1 to 1 on both axes and `y` points down.
type Point = [f32; 2];

/// A stroke of a sign.
#[derive(Debug, Clone, Copy)]
enum Stroke {
    Line(Point, Point),
    Circle { centre: Point, radius: f32 },
    Disc { radius: f32 },
}

use Stroke::{Circle, Disc, Line};

/// The strokes of each class.
const SIGNS: [&[Stroke]; CLASSES as usize] = [
    &[Circle { centre: [0.0, 0.0], radius: 0.85 }],
    &[Line([0.0, -1.0], [0.0, 1.0])],
    &[Line([-1.0, 0.0], [1.0, 0.0])],
    &[Line([-0.9, 0.9], [0.9, -0.9])],
    &[Line([0.0, -1.0], [0.0, 1.0]), Line([-1.0, 0.0], [1.0, 0.0])],
    &[Line([-0.85, -0.85], [0.85, 0.85]), Line([-0.85, 0.85], [0.85, -0.85])],
    &[
        Line([-0.8, -0.8], [0.8, -0.8]),
        Line([0.8, -0.8], [0.8, 0.8]),
        Line([0.8, 0.8], [-0.8, 0.8]),
        Line([-0.8, 0.8], [-0.8, -0.8]),
    ],
    &[Line([0.0, -0.9], [0.9, 0.8]), Line([0.9, 0.8], [-0.9, 0.8]), Line([-0.9, 0.8], [0.0, -0.9])],
    &[Circle { centre: [0.0, -0.5], radius: 0.45 }, Circle { centre: [0.0, 0.5], radius: 0.45 }],
    &[Disc { radius: 0.7 }],
];

/// How one image differs from the others of its class.
#[derive(Debug, Clone, Copy)]
struct Look {
    centre: Point,
    /// Pixels for each unit of the sign.
    scale: f32,
    slant: f32,
    half_thickness: f32,
    ink: f32,
}

impl Look {
    fn random(random: &mut ChaCha8Rng) -> Self {
        let mut between = |low: f32, high: f32| low + (high - low) * random.random::<f32>();
        let middle = f32::from(SIDE) / 2.0;
        Self {
            centre: [between(middle - 2.0, middle + 2.0), between(middle - 2.0, middle + 2.0)],
            scale: between(7.0, 10.0),
            slant: between(-0.2, 0.2),
            half_thickness: between(0.9, 1.7),
            ink: between(0.8, 1.0),
        }
    }
}

/// Draws `count` images, the same ones for the same `seed` and `split`.
///
/// The labels run 0, 1, ... 9, 0, 1 and so on. A larger set starts with the images of a smaller
/// one.
pub fn synthetic(count: usize, seed: u64, split: Split) -> ImageSet {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(split as u64);
    let labels: Vec<u8> = (0..CLASSES).cycle().take(count).collect();
    let shape = ImageShape::grey(SIDE.into(), SIDE.into());
    let mut images = Vec::with_capacity(count * shape.pixels());
    for label in &labels {
        draw(SIGNS[usize::from(*label)], Look::random(&mut random), &mut images);
    }
    ImageSet::new(images, labels, shape).expect("an image was drawn for each label")
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the shade lies between 0 and 255"
)]
fn draw(sign: &[Stroke], look: Look, images: &mut Vec<u8>) {
    for row in 0..SIDE {
        for column in 0..SIDE {
            let y = (f32::from(row) + 0.5 - look.centre[1]) / look.scale;
            let x = (f32::from(column) + 0.5 - look.centre[0]) / look.scale + look.slant * y;
            let nearest =
                sign.iter().map(|stroke| stroke.distance([x, y])).fold(f32::INFINITY, f32::min);
            // A pixel at the edge of the stroke is partly covered.
            let cover = (look.half_thickness + 0.5 - nearest * look.scale).clamp(0.0, 1.0);
            images.push((cover * look.ink * 255.0).round() as u8);
        }
    }
}

impl Stroke {
    fn distance(self, at: Point) -> f32 {
        match self {
            Line(from, to) => {
                let (along, offset) = (minus(to, from), minus(at, from));
                let share = (dot(along, offset) / dot(along, along)).clamp(0.0, 1.0);
                length(minus(offset, along.map(|axis| axis * share)))
            }
            Circle { centre, radius } => (length(minus(at, centre)) - radius).abs(),
            Disc { radius } => (length(at) - radius).max(0.0),
        }
    }
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

fn length(a: Point) -> f32 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_images() {
        let set = synthetic(40, 7, Split::Train);
        assert_eq!(set, synthetic(40, 7, Split::Train));
        assert_eq!(set.clone().take(15), synthetic(15, 7, Split::Train));
        assert_ne!(set, synthetic(40, 8, Split::Train));
        assert_ne!(set, synthetic(40, 7, Split::Test));
        assert!(synthetic(0, 7, Split::Train).is_empty());
    }

    #[test]
    fn the_images_never_change_from_release_to_release() {
        let sum = synthetic(200, 1, Split::Train)
            .bytes()
            .iter()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        assert_eq!(sum, 2_920_804_887);
    }
}
