//! The networks and Table 2 of Goemaere, Deleu & Demeester 2024 (arXiv 2311.15673).

use hvae_model::chn_ham::Form;
use serde::Serialize;

/// How an equilibrium is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// All layers at once; a CHN damped by 0.5.
    Picard,
    /// The same with Anderson acceleration ("DEQ").
    Anderson,
    /// Even-odd sweeps.
    EvenOdd,
    /// The same with Anderson acceleration.
    EvenOddAnderson,
}

impl Solver {
    /// Whether layers are updated by sweeps.
    pub fn is_even_odd(self) -> bool {
        matches!(self, Self::EvenOdd | Self::EvenOddAnderson)
    }

    /// Whether steps are accelerated.
    pub fn is_accelerated(self) -> bool {
        matches!(self, Self::Anderson | Self::EvenOddAnderson)
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// Layers, pixels and classes included.
    pub layers: u8,
    /// Energy.
    pub form: Form,
    /// How its equilibria were sought.
    pub solver: Solver,
    /// Epochs of training.
    pub epochs: u16,
    /// Name, as printed.
    pub name: &'static str,
    /// Published mean of the iterations to a relative residual of 1e-4, over 5 seeds.
    pub iterations: f64,
    /// Published standard deviation over the seeds.
    pub deviation: f64,
    /// Published accuracy in percent.
    pub accuracy: f64,
}

const fn row(
    (layers, form, solver): (u8, Form, Solver),
    epochs: u16,
    name: &'static str,
    [iterations, deviation, accuracy]: [f64; 3],
) -> Row {
    Row { layers, form, solver, epochs, name, iterations, deviation, accuracy }
}

use Form::{Chn, Ham};
use Solver::{Anderson, EvenOdd, EvenOddAnderson, Picard};

/// Table 2. The table does not say how long the CHN-EO was trained: taken as 10 epochs, like all rows
/// that name no number.
pub const TABLE: [Row; 16] = [
    row((3, Chn, Picard), 10, "3L CHN, 10 epochs", [75.5, 2.1, 97.9]),
    row((3, Chn, Picard), 3, "3L CHN, 3 epochs", [39.1, 3.8, 97.0]),
    row((3, Chn, Anderson), 4, "3L CHN-DEQ, 4 epochs", [20.6, 0.2, 97.2]),
    row((3, Chn, EvenOdd), 10, "3L CHN-EO (10+10 inner)", [16.8, 0.5, 97.1]),
    row((3, Ham, Picard), 10, "3L HAM", [11.9, 0.4, 97.9]),
    row((3, Ham, Anderson), 10, "3L HAM-DEQ", [9.9, 0.3, 97.9]),
    row((3, Ham, EvenOdd), 10, "3L HAM-EO", [8.0, 0.2, 97.9]),
    row((3, Ham, EvenOddAnderson), 10, "3L HAM-EO-DEQ", [6.6, 0.2, 97.9]),
    row((5, Ham, Picard), 10, "5L HAM", [36.0, 1.8, 97.1]),
    row((5, Ham, Anderson), 10, "5L HAM-DEQ", [33.0, 0.6, 97.1]),
    row((5, Ham, EvenOdd), 10, "5L HAM-EO", [18.3, 0.5, 97.1]),
    row((5, Ham, EvenOddAnderson), 10, "5L HAM-EO-DEQ", [17.7, 0.3, 97.1]),
    row((7, Ham, Picard), 10, "7L HAM", [67.1, 2.9, 95.6]),
    row((7, Ham, Anderson), 10, "7L HAM-DEQ", [56.0, 1.4, 95.6]),
    row((7, Ham, EvenOdd), 10, "7L HAM-EO", [32.2, 0.8, 95.5]),
    row((7, Ham, EvenOddAnderson), 10, "7L HAM-EO-DEQ", [31.0, 1.0, 95.5]),
];

impl Row {
    /// Form and solver alone: `HAM-EO-DEQ` and the like.
    pub fn kind(&self) -> String {
        let form = if self.form == Chn { "CHN" } else { "HAM" };
        let even_odd = if self.solver.is_even_odd() { "-EO" } else { "" };
        let accelerated = if self.solver.is_accelerated() { "-DEQ" } else { "" };
        format!("{form}{even_odd}{accelerated}")
    }
}

/// Tolerance of the relative residual.
pub const TOLERANCE: f64 = 1e-4;
/// Images of a training step.
pub const BATCH: usize = 64;
/// Damping of a CHN.
pub const DAMPING: f64 = 0.5;
/// Updates of a CHN's layer in a half-sweep.
pub const INNER: usize = 10;
/// Anderson: states remembered, and ridge.
pub const MEMORY: usize = 4;
/// See [`MEMORY`].
pub const RIDGE: f64 = 1e-10;

/// Units of the hidden layers of the network of so many layers.
pub fn hidden(layers: u8) -> Option<Vec<usize>> {
    match layers {
        3 => Some(vec![1990]),
        5 => Some(vec![1280, 510, 200]),
        7 => Some(vec![1024, 512, 256, 128, 70]),
        _ => None,
    }
}

/// Madam's learning rate in the first epoch; it falls linearly to a tenth in the last.
pub fn rate(layers: u8) -> f64 {
    if layers == 3 { 0.01 } else { 0.005 }
}

/// Iterations of the free phase at most: 40, 80, 120, and twice that where the map is damped.
pub fn limit(layers: u8, form: Form, solver: Solver) -> usize {
    40 * scale(layers, form, solver)
}

/// Iterations of the adjoint phase: 8, 16, 24, and twice that where the map is damped.
pub fn adjoint_limit(layers: u8, form: Form, solver: Solver) -> usize {
    8 * scale(layers, form, solver)
}

fn scale(layers: u8, form: Form, solver: Solver) -> usize {
    let damped = form == Form::Chn && !solver.is_even_odd();
    usize::from(layers / 2) * if damped { 2 } else { 1 }
}
