//! Iterations to convergence, counted as in the paper, and residuals per iteration.

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor, TensorData};
use hvae_model::chn_ham::Dynamics;
use hvae_solver::{FixedPointMap, Memory, Method, State};

use hvae_device::host::download;

/// The result of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SampleCount {
    /// Index, from 0, of the first residual `|f_(i+1) - f_i| / |f_(i+1)|` of successive outputs of
    /// the map that is below the tolerance; the number of residuals if none is.
    pub(super) iterations: usize,
    /// Whether one is.
    pub(super) converged: bool,
    /// Class with the largest output at the end.
    pub(super) class: usize,
}

/// Iterates `method` on `dynamics` from zero, with at most `limit` applications of the map.
/// Converged samples are removed from the batch.
///
/// # Errors
///
/// If the device cannot be read.
pub(super) fn count<M: Method>(
    dynamics: &Dynamics<'_>,
    method: &M,
    limit: usize,
    tolerance: f64,
) -> Result<Vec<SampleCount>> {
    let mut state = dynamics.start();
    let mut map = dynamics.clone();
    let mut memory = method.start(&map.measured(state.components().len()));
    let mut rows: Vec<usize> = (0..state.batch()).collect();
    let mut counted = vec![SampleCount { iterations: 0, converged: false, class: 0 }; rows.len()];
    let mut last: Option<State> = None;
    for application in 1..=limit {
        let image = map.apply(&state, application - 1);
        let ended: Vec<bool> = match &last {
            Some(last) => residuals(last, &image)?.iter().map(|r| *r < tolerance).collect(),
            None => vec![false; rows.len()],
        };
        let at_limit = application == limit;
        if at_limit || ended.contains(&true) {
            let classes = classes(&map, &image)?;
            for (row, (&sample, &ended)) in rows.iter().zip(&ended).enumerate() {
                if ended || at_limit {
                    let iterations = if ended { application - 2 } else { limit - 1 };
                    counted[sample] =
                        SampleCount { iterations, converged: ended, class: classes[row] };
                }
            }
        }
        if at_limit {
            break;
        }
        state = method.advance(state, image.clone(), &mut memory);
        last = Some(image);
        if ended.contains(&true) {
            let keep: Vec<usize> = (0..rows.len()).filter(|&r| !ended[r]).collect();
            if keep.is_empty() {
                break;
            }
            let index = index(&keep, &state.component(0).device());
            state = state.select(&index);
            last = last.map(|s| s.select(&index));
            memory = memory.select(&index);
            map = map.select(&index);
            rows = keep.into_iter().map(|r| rows[r]).collect();
        }
    }
    Ok(counted)
}

/// The first `iterations` residuals of all samples: element `i` holds residual `i` of each sample.
///
/// # Errors
///
/// If the device cannot be read.
pub(super) fn residual_curves<M: Method>(
    dynamics: &Dynamics<'_>,
    method: &M,
    iterations: usize,
) -> Result<Vec<Vec<f64>>> {
    let mut state = dynamics.start();
    let mut memory = method.start(&dynamics.measured(state.components().len()));
    let mut last = dynamics.apply(&state, 0);
    state = method.advance(state, last.clone(), &mut memory);
    let mut curves = Vec::with_capacity(iterations);
    for iteration in 1..=iterations {
        let image = dynamics.apply(&state, iteration);
        curves.push(residuals(&last, &image)?);
        state = method.advance(state, image.clone(), &mut memory);
        last = image;
    }
    Ok(curves)
}

/// `|new - old| / |new|` of each sample.
fn residuals(old: &State, new: &State) -> Result<Vec<f64>> {
    let pairs = || old.components().iter().zip(new.components());
    let total = |parts: &mut dyn Iterator<Item = Tensor<2>>| parts.reduce(|a, b| a + b);
    let difference = total(&mut pairs().map(|(o, n)| (n.clone() - o.clone()).square().sum_dim(1)));
    let norm = total(&mut pairs().map(|(_, n)| n.clone().square().sum_dim(1)));
    let (Some(difference), Some(norm)) = (difference, norm) else { return Ok(Vec::new()) };
    let values = download(Tensor::cat(vec![difference, norm], 1))?;
    Ok(values.chunks_exact(2).map(|v| (f64::from(v[0]) / f64::from(v[1])).sqrt()).collect())
}

/// The class of each sample: that with the largest output.
fn classes(map: &Dynamics<'_>, state: &State) -> Result<Vec<usize>> {
    let outputs = map.layers(state).pop().expect("a network has layers");
    let width = outputs.dims()[1];
    Ok(download(outputs)?.chunks_exact(width).map(largest).collect())
}

/// Index of the largest value.
pub(super) fn largest(values: &[f32]) -> usize {
    let best = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

fn index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}
