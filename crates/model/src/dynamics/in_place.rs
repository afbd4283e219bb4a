//! Block sweeps in host memory, in place: parts of a batch side by side, each on one thread, without
//! tensors.

use std::mem::take;
use std::ops::{Range, RangeInclusive};

use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::HostValues;
use hvae_solver::{Outcome, RowMap, Solution, State, StoppingRule, solve_rows};
use pulp::Arch;
use rayon::prelude::*;

use crate::energy::LayerSpec;
use crate::energy::interaction::packed::Packed;
use crate::kernels::fused::Update;

/// Samples of a part: enough that the weights, which every part reads anew, do not slow the products
/// down, and few enough for the states to stay in a core's cache.
const PART: RangeInclusive<usize> = 8..=64;

/// What a layer receives besides signals from layers that relax.
pub(crate) struct Input {
    /// `[batch, n]`; nothing if `None`.
    pub(crate) drive: Option<HostValues<2>>,
    /// If the state is a deviation, the input about which it is one, `[batch, n]`.
    pub(crate) base: Option<HostValues<2>>,
}

/// The dynamics of a layer that relaxes.
pub(crate) struct RowLayer<'a> {
    pub(crate) spec: &'a LayerSpec,
    pub(crate) input: Input,
    /// From which components, and through which weights, it receives signals.
    pub(crate) signals: Vec<(usize, &'a Packed)>,
    /// Factor of its part in the residual.
    pub(crate) weight: f32,
    pub(crate) is_measured: bool,
}

/// The dynamics of layers that relax: one component each, updated in `order`.
pub(crate) struct RowSweeps<'a> {
    pub(crate) layers: Vec<RowLayer<'a>>,
    pub(crate) order: Vec<usize>,
}

/// Where sweeps start.
pub(crate) enum Start {
    /// At a state, `[batch, n]` of each component.
    From(Vec<HostValues<2>>),
    /// At the images of zero: of these components without signals, and then of those with them.
    Images([Vec<usize>; 2]),
}

impl RowSweeps<'_> {
    /// Sweeps from `start` until every sample has ended. Returns the inputs of the layers, too, of
    /// which the states are the images, `[batch, n]`, if all samples have converged.
    pub(crate) fn solve(
        &self,
        start: &Start,
        batch: usize,
        rule: &StoppingRule,
    ) -> (Solution, Option<Vec<Tensor<2>>>) {
        let room = || self.layers.iter().map(|l| vec![0.0; batch * l.spec.size()]).collect();
        let (mut states, mut inputs): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (room(), room());
        let results = states.iter_mut().zip(&mut inputs).map(|(s, a)| [&mut s[..], &mut a[..]]);
        let parts = self.parts(batch, results.collect());
        let outcomes = parts.into_par_iter().map(|mut part| {
            part.start(start);
            solve_rows(&mut part, rule)
        });
        let outcomes: Vec<Vec<Outcome>> = outcomes.collect();
        let [states, inputs] = [states, inputs].map(|values| {
            let columns = values.into_iter().zip(&self.layers);
            let tensor = |(values, layer): (Vec<f32>, &RowLayer<'_>)| {
                Tensor::from_data(
                    TensorData::new(values, [batch, layer.spec.size()]),
                    &Device::flex(),
                )
            };
            columns.map(tensor).collect()
        });
        let state = State::new(states).expect("all layers have one batch size");
        let solution = Solution::new(state, outcomes.concat());
        let known = solution.all_converged();
        (solution, known.then_some(inputs))
    }

    /// Parts of nearly one size, one for each thread if they are not too small or too large.
    fn parts<'s, 'r>(
        &'s self,
        batch: usize,
        mut results: Vec<[&'r mut [f32]; 2]>,
    ) -> Vec<Part<'s, 'r>> {
        let size = batch.div_ceil(rayon::current_num_threads());
        let count = batch.div_ceil(size.clamp(*PART.start(), *PART.end()));
        let part = |i: usize| {
            let samples = i * batch / count..(i + 1) * batch / count;
            let own = results.iter_mut().zip(&self.layers).map(|(rest, layer)| {
                let values = samples.len() * layer.spec.size();
                rest.each_mut().map(|rest| {
                    let (own, others) = take(rest).split_at_mut(values);
                    *rest = others;
                    own
                })
            });
            let own = own.collect();
            Part::new(self, samples, own)
        };
        (0..count).map(part).collect()
    }
}

/// Some samples of a batch.
struct Part<'a, 'r> {
    sweeps: &'a RowSweeps<'a>,
    /// The sample of the batch that each row is.
    samples: Vec<usize>,
    first: usize,
    /// Of each component, states and inputs, rows that iterate first.
    states: Vec<Vec<f32>>,
    inputs: Vec<Vec<f32>>,
    /// Where states and inputs of ended samples go.
    results: Vec<[&'r mut [f32]; 2]>,
    squares: Vec<[f32; 3]>,
    arch: Arch,
}

impl<'a, 'r> Part<'a, 'r> {
    fn new(
        sweeps: &'a RowSweeps<'a>,
        samples: Range<usize>,
        results: Vec<[&'r mut [f32]; 2]>,
    ) -> Self {
        let first = samples.start;
        let states = sweeps.layers.iter().map(|l| vec![0.0; samples.len() * l.spec.size()]);
        let (states, inputs) = (states.collect(), vec![Vec::new(); sweeps.layers.len()]);
        let (squares, arch) = (Vec::new(), Arch::new());
        Self { sweeps, samples: samples.collect(), first, states, inputs, results, squares, arch }
    }

    fn start(&mut self, start: &Start) {
        let rows = self.samples.len();
        match start {
            Start::From(values) => {
                for ((state, values), layer) in
                    self.states.iter_mut().zip(values).zip(&self.sweeps.layers)
                {
                    let values = &values[self.first * layer.spec.size()..][..state.len()];
                    state.copy_from_slice(values);
                }
            }
            Start::Images([alone, later]) => {
                self.squares.resize(rows, [0.0; 3]);
                let with_signals = later.iter().map(|&k| (k, true));
                for (k, signals) in alone.iter().map(|&k| (k, false)).chain(with_signals) {
                    self.receive(k, rows, signals);
                    self.update(k);
                }
            }
        }
    }

    /// The input of component `k` in the rows `0..rows`.
    fn receive(&mut self, k: usize, rows: usize, signals: bool) {
        let layer = &self.sweeps.layers[k];
        let (units, input) = (layer.spec.size(), &mut self.inputs[k]);
        input.clear();
        match &layer.input.drive {
            Some(drive) => {
                let rows = self.samples[..rows].iter();
                rows.for_each(|row| input.extend_from_slice(&drive[row * units..][..units]));
            }
            None => input.resize(rows * units, 0.0),
        }
        for (source, weights) in layer.signals.iter().filter(|_| signals) {
            let size = self.sweeps.layers[*source].spec.size();
            weights.add_product(&self.states[*source][..rows * size], input);
        }
    }

    /// The image of component `k` from its input, and its part in the residual.
    fn update(&mut self, k: usize) {
        let layer = &self.sweeps.layers[k];
        let units = layer.spec.size();
        let each = self.inputs[k].chunks_exact(units).zip(self.states[k].chunks_exact_mut(units));
        for (((input, state), squares), sample) in each.zip(&mut self.squares).zip(&self.samples) {
            let base = layer.input.base.as_ref().map(|base| &base[sample * units..][..units]);
            let update = Update { layer: layer.spec, input, base, state, weight: layer.weight };
            let [difference, norm] = self.arch.dispatch(update);
            if layer.is_measured {
                squares[0] += difference;
            }
            squares[if layer.is_measured { 1 } else { 2 }] += norm;
        }
    }
}

impl RowMap for Part<'_, '_> {
    fn samples(&self) -> usize {
        self.samples.len()
    }

    fn iterate(&mut self, rows: usize, _measure: bool) -> &[[f32; 3]] {
        self.squares.clear();
        self.squares.resize(rows, [0.0; 3]);
        for &k in &self.sweeps.order {
            self.receive(k, rows, true);
            self.update(k);
        }
        &self.squares
    }

    fn record(&mut self, row: usize, sample: usize, converged: bool) {
        let values = [&self.states, &self.inputs].into_iter().enumerate();
        for (kind, values) in values.take(if converged { 2 } else { 1 }) {
            let each = values.iter().zip(&self.sweeps.layers).zip(&mut self.results);
            for ((from, layer), to) in each {
                let units = layer.spec.size();
                let from = &from[row * units..][..units];
                to[kind][sample * units..][..units].copy_from_slice(from);
            }
        }
    }

    fn replace(&mut self, to: usize, from: usize, sample: usize) {
        self.samples[to] = self.first + sample;
        for (states, layer) in self.states.iter_mut().zip(&self.sweeps.layers) {
            let units = layer.spec.size();
            states.copy_within(from * units..(from + 1) * units, to * units);
        }
    }
}
