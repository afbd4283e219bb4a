//! GPU adapters of this build and machine, and software emulations of one.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
#[cfg(feature = "wgpu")]
use burn::tensor::wgpu::{WgpuBackend, wgpu as graphics};
use burn::tensor::{Device, Tensor};

use crate::fault;

/// The devices that this process has opened, by how Burn finds them: one may have two names.
static OPEN: Mutex<Vec<(String, Device)>> = Mutex::new(Vec::new());

/// A GPU, or a software emulation of one.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    family: &'static str,
    /// Its index in the list of `hvae devices`.
    number: usize,
    pub(super) name: String,
    pub(super) driver: String,
    software: bool,
    how: How,
}

/// How Burn finds it.
#[derive(Debug, Clone)]
enum How {
    #[cfg(feature = "wgpu")]
    Wgpu(WgpuBackend, DeviceKind),
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

impl Adapter {
    /// Its name for `--device`.
    pub(super) fn device(&self) -> String {
        format!("{}:{}", self.family, self.number)
    }

    pub(super) fn kind(&self) -> &'static str {
        if self.software { "software" } else { "hardware" }
    }

    /// Opens the device and tests it with a sum. A process can initialize a device only once, so
    /// later calls return the same one.
    pub(super) fn open(&self) -> Result<Device> {
        let name = self.device();
        fault::in_use(&name);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let how = format!("{:?}", self.how);
        if let Some((_, device)) = open.iter().find(|(open, _)| *open == how) {
            return Ok(device.clone());
        }
        let device = self.start()?;
        open.push((how, device.clone()));
        Ok(device)
    }

    fn start(&self) -> Result<Device> {
        let name = self.device();
        let open = || {
            let device = match &self.how {
                #[cfg(feature = "wgpu")]
                How::Wgpu(api, kind) => Device::wgpu_options()
                    .graphics_api(*api)
                    .device_kind(kind.clone())
                    .init()
                    .map_err(anyhow::Error::new)?,
                #[cfg(feature = "cuda")]
                How::Cuda(number) => Device::cuda(*number),
            };
            let ones = Tensor::<2>::ones([8, 8], &device);
            let sum = ones.sum().try_into_data().map_err(|e| anyhow::anyhow!("{e}"))?;
            let sum: Vec<f32> = sum.try_to_vec().map_err(|e| anyhow::anyhow!("{e:?}"))?;
            ensure!(sum == [64.0], "the sum of 64 ones is {sum:?}");
            Ok(device)
        };
        fault::guard(open).with_context(|| {
            format!(
                "cannot use device '{name}' ({}); use --device cpu, or another driver",
                self.name
            )
        })
    }
}

/// The adapter `index` of `found`.
pub(super) fn pick(
    mut found: Vec<Adapter>,
    family: &str,
    index: usize,
    software: bool,
) -> Result<Adapter> {
    ensure!(
        !found.is_empty(),
        "no adapter for device '{family}' on this machine: no GPU, or no driver for it. Use \
         --device cpu"
    );
    let count = found.len();
    ensure!(
        index < count,
        "device '{family}:{index}': this machine has only {count}; see `hvae devices`"
    );
    let adapter = found.swap_remove(index);
    let (device, name) = (adapter.device(), &adapter.name);
    if adapter.software && cfg!(feature = "vulkan") {
        bail!(
            "device '{device}' ({name}) is emulated on the CPU and crashes on the shaders of a \
             build with the feature vulkan. Use --device cpu, or build with `cargo build \
             --release --features wgpu`"
        );
    }
    ensure!(
        software || !adapter.software,
        "device '{device}' ({name}) is emulated on the CPU and far slower than --device cpu; \
         --allow-software uses it anyway"
    );
    Ok(adapter)
}

/// The adapter that `auto` selects: the first GPU of CUDA, else Vulkan, else wgpu; never an
/// emulation.
pub(super) fn best() -> Option<Adapter> {
    let mut found = ["cuda", "vulkan", "wgpu"].into_iter().filter_map(|f| of(f)?.ok()).flatten();
    found.find(|a| !a.software)
}

/// The adapters of a family, hardware first; `None` if it is not built in.
pub(super) fn of(family: &str) -> Option<Result<Vec<Adapter>>> {
    match family {
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Ok(wgpu())),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Ok(enumerate("vulkan", graphics::Backends::VULKAN))),
        #[cfg(feature = "cuda")]
        "cuda" => Some(cuda()),
        _ => None,
    }
}

/// The adapters of Vulkan, Metal and DirectX 12; those of OpenGL if there are none.
#[cfg(feature = "wgpu")]
fn wgpu() -> Vec<Adapter> {
    let found = enumerate("wgpu", graphics::Backends::PRIMARY);
    if found.is_empty() { enumerate("wgpu", graphics::Backends::GL) } else { found }
}

#[cfg(feature = "wgpu")]
fn enumerate(family: &'static str, backends: graphics::Backends) -> Vec<Adapter> {
    use graphics::{Backend, DeviceType, Instance, InstanceDescriptor};

    let instance = Instance::new(InstanceDescriptor {
        backends,
        ..InstanceDescriptor::new_without_display_handle()
    });
    let infos: Vec<_> = block_on(instance.enumerate_adapters(backends))
        .iter()
        .map(graphics::Adapter::get_info)
        .collect();
    let mut found = Vec::new();
    for (position, info) in infos.iter().enumerate() {
        let api = match info.backend {
            Backend::Vulkan => WgpuBackend::Vulkan,
            Backend::Metal => WgpuBackend::Metal,
            Backend::Dx12 => WgpuBackend::Dx12,
            Backend::Gl => WgpuBackend::Gl,
            _ => continue,
        };
        // Burn numbers adapters per kind and API.
        let alike = |i: &&graphics::AdapterInfo| {
            (i.backend, i.device_type) == (info.backend, info.device_type)
        };
        let nth = infos[..position].iter().filter(alike).count();
        let (rank, kind) = match info.device_type {
            DeviceType::DiscreteGpu => (0, DeviceKind::DiscreteGpu(nth)),
            DeviceType::IntegratedGpu => (1, DeviceKind::IntegratedGpu(nth)),
            DeviceType::VirtualGpu => (2, DeviceKind::VirtualGpu(nth)),
            // OpenGL does not report kinds; it has the default device only.
            DeviceType::Other => (3, DeviceKind::DefaultDevice),
            DeviceType::Cpu => (4, DeviceKind::Cpu),
        };
        let driver = format!("{} {}", info.driver, info.driver_info);
        let driver = format!("{} ({:?})", driver.trim(), info.backend);
        let software = info.device_type == DeviceType::Cpu || is_software(&info.name);
        let how = How::Wgpu(api, kind);
        found.push((
            rank,
            Adapter { family, number: 0, name: info.name.clone(), driver, software, how },
        ));
    }
    found.sort_by_key(|(rank, adapter)| (adapter.software, *rank));
    let number = |(number, (_, adapter))| Adapter { number, ..adapter };
    found.into_iter().enumerate().map(number).collect()
}

/// Whether a renderer of this name is an emulation, which OpenGL does not report.
#[cfg(feature = "wgpu")]
fn is_software(name: &str) -> bool {
    let name = name.to_lowercase();
    ["llvmpipe", "softpipe", "swiftshader", "lavapipe", "basic render"]
        .iter()
        .any(|known| name.contains(known))
}

/// Polls a future that needs no executor to completion.
#[cfg(feature = "wgpu")]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Waker};

    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
        std::thread::yield_now();
    }
}

/// The NVIDIA GPUs of CUDA; an error without a driver.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Vec<Adapter>> {
    use burn::tensor::DeviceType;

    let found = fault::guard(|| Ok(Device::enumerate(DeviceType::Cuda).into_iter().count()));
    let count = found.context("no CUDA driver answers")?;
    let adapter = |number| {
        let name = fault::guard(|| Ok(Device::cuda(number).identity().map(|i| i.name)));
        let name = name.ok().flatten().unwrap_or_else(|| "NVIDIA GPU".to_owned());
        let (family, driver) = ("cuda", "CUDA".to_owned());
        Adapter { family, number, name, driver, software: false, how: How::Cuda(number) }
    };
    Ok((0..count).map(adapter).collect())
}
