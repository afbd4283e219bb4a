//! `--trace-device`: transfers between host and device.

use anyhow::Result;
use hvae_device::{Transfers, transfers};
use hvae_runtime::terminal;

use crate::observers::{Observer, StepEvent};
use crate::run::EpochMetrics;

/// Counts an epoch's reads, uploads and, where the backend reports them, kernel launches.
#[derive(Default)]
pub(crate) struct Trace {
    start: Option<Counts>,
    end: Option<Counts>,
    steps: u64,
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    launches: launches::Launches,
}

#[derive(Debug, Clone, Copy)]
struct Counts {
    transfers: Transfers,
    launches: Option<u64>,
}

impl Trace {
    #[cfg_attr(
        not(any(feature = "wgpu", feature = "cuda")),
        expect(clippy::unused_self, reason = "the CPU launches no kernels")
    )]
    fn count(&self) -> Counts {
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        let launches = Some(self.launches.count());
        #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
        let launches = None;
        Counts { transfers: transfers(), launches }
    }
}

impl Observer for Trace {
    fn start_epoch(&mut self, _epoch: usize, _done: usize) {
        self.start = None;
        self.steps = 0;
    }

    fn step(&mut self, _event: &StepEvent<'_>) -> Result<()> {
        let now = self.count();
        // The first step also compiles and autotunes kernels.
        if self.start.is_none() {
            self.start = Some(now);
        } else {
            self.steps += 1;
        }
        self.end = Some(now);
        Ok(())
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        let (Some(start), Some(end)) = (self.start, self.end) else { return Ok(()) };
        let per_step = |from: u64, to: u64| (to - from) as f64 / self.steps.max(1) as f64;
        let reads = per_step(start.transfers.reads, end.transfers.reads);
        let uploads = per_step(start.transfers.uploads, end.transfers.uploads);
        let launches = start.launches.zip(end.launches).filter(|(_, to)| *to > 0);
        let launches = launches.map_or(String::new(), |(from, to)| {
            format!(", {:.1} kernel launches", per_step(from, to))
        });
        terminal::line(&format!(
            "epoch {}, per step after the first: {reads:.2} reads of the device, {uploads:.2} \
             uploads{launches}",
            metrics.epoch
        ));
        Ok(())
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod launches {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use cubecl_runtime::logging::{LaunchObservation, LaunchObserver};

    /// Counts the kernels that this process launches.
    pub(super) struct Launches {
        counter: Arc<Counter>,
        _observation: LaunchObservation,
    }

    #[derive(Default)]
    struct Counter(AtomicU64);

    impl LaunchObserver for Counter {
        fn launched(&self, _kernel: &'static str) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Default for Launches {
        fn default() -> Self {
            let counter = Arc::new(Counter::default());
            let watching = LaunchObservation::new(counter.clone());
            Self { counter, _observation: watching }
        }
    }

    impl Launches {
        pub(super) fn count(&self) -> u64 {
            self.counter.0.load(Ordering::Relaxed)
        }
    }
}
