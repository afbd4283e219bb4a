//! `exp` and the logistic function in f32, written so that loops over them become vector code.

use crate::energy::activation::SATURATION;

/// `1/(1 + exp(-x))`, to within 2e-7, without a branch.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let [less_one, scale] = exponential(-x);
    1.0 / (1.0 + (1.0 + less_one) * scale)
}

/// `sigmoid(a + change) - sigmoid(a)`, see [`increment`](crate::Activation::increment).
#[inline(always)]
pub(crate) fn sigmoid_increment(a: f32, change: f32) -> f32 {
    // In saturation only the end point of the change counts.
    let to = a + change;
    let beyond = a.abs() > SATURATION || to.abs() > SATURATION;
    let a = a.clamp(-SATURATION, SATURATION);
    let change = if beyond { to.clamp(-SATURATION, SATURATION) - a } else { change };
    let [r, scale] = exponential(-a);
    let t = (1.0 + r) * scale;
    let [r, scale] = exponential(change);
    // `exp(change) - 1` and `exp(change)`; taking one from the other would lose digits.
    let (less_one, grown) = (r * scale + (scale - 1.0), (1.0 + r) * scale);
    t / (1.0 + t) * (less_one / (t + grown))
}

/// `exp(y) = scale (1 + r)`, as `[r, scale]`; `y` beyond 87 counts as 87.
///
/// `scale = 2^n` with `n` the integer nearest to `y / ln 2`, and `r = exp(x) - 1` with
/// `x = y - n ln 2` computed in two parts (Cody & Waite 1980); on `|x| <= ln(2)/2` the Taylor
/// polynomial of degree 7 has a remainder below 6e-9. Adding 1.5 * 2^23 rounds to an integer and
/// leaves it in the low bits, from where it is shifted into the exponent.
#[inline(always)]
fn exponential(y: f32) -> [f32; 2] {
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let y = y.clamp(-87.0, 87.0);
    let shifted = y * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let x = (y - n * LN2_HIGH) - n * LN2_LOW;
    let polynomial = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    let mut series = 0.0;
    for coefficient in polynomial {
        series = series * x + coefficient;
    }
    [series * x, f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_agrees_with_double_precision_and_keeps_nan() {
        for i in -100_000..=100_000 {
            let x = i as f32 * 1e-3;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(sigmoid(x)) - exact).abs();
            // Relative to the value below, for which small values matter in their own right.
            assert!(error < 2e-7 * exact.max(1e-30), "{x}: {} {exact}", sigmoid(x));
        }
        assert!(sigmoid(f32::NAN).is_nan());
        assert!((sigmoid(f32::INFINITY) - 1.0).abs() < f32::EPSILON);
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-37);
    }
}
