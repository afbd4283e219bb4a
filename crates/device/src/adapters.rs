//! The GPUs that this build can reach, and programs that stand in for one.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
#[cfg(feature = "wgpu")]
use burn::tensor::wgpu::{WgpuBackend, wgpu as graphics};
use burn::tensor::{Device, Tensor};

use crate::fault;

/// The devices that this process has started, by how Burn finds them: one may have two names.
static OPEN: Mutex<Vec<(String, Device)>> = Mutex::new(Vec::new());

/// A GPU, or a program that stands in for one.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    family: &'static str,
    /// Its number in the list of `hvae devices`.
    number: usize,
    pub(super) name: String,
    pub(super) driver: String,
    software: bool,
    how: How,
}

/// How Burn finds it again.
#[derive(Debug, Clone)]
enum How {
    #[cfg(feature = "wgpu")]
    Wgpu(WgpuBackend, DeviceKind),
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

impl Adapter {
    /// What `--device` calls it.
    pub(super) fn device(&self) -> String {
        format!("{}:{}", self.family, self.number)
    }

    pub(super) fn kind(&self) -> &'static str {
        if self.software { "software" } else { "hardware" }
    }

    /// The device, after a first sum on it; the same one each time, since a process can start it
    /// only once.
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
            ensure!(sum == [64.0], "64 ones add up to {sum:?}");
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
        "device '{family}:{index}': this machine has {count} such; see `hvae devices`"
    );
    let adapter = found.swap_remove(index);
    let (device, name) = (adapter.device(), &adapter.name);
    if adapter.software && cfg!(feature = "vulkan") {
        bail!(
            "device '{device}' ({name}) is a program on the CPU, which crashes on the shaders of a \
             build with the feature vulkan. Use --device cpu, or build with `cargo build \
             --release --features wgpu`"
        );
    }
    ensure!(
        software || !adapter.software,
        "device '{device}' ({name}) is a program on the CPU and far slower than --device cpu; \
         --allow-software takes it all the same"
    );
    Ok(adapter)
}

/// What `auto` takes: the first GPU by CUDA, else by Vulkan, else by wgpu; never a program.
pub(super) fn best() -> Option<Adapter> {
    let mut found: Vec<Adapter> = Vec::new();
    #[cfg(feature = "cuda")]
    found.extend(cuda().unwrap_or_default());
    #[cfg(feature = "vulkan")]
    found.extend(vulkan());
    #[cfg(feature = "wgpu")]
    found.extend(wgpu());
    found.into_iter().find(|a| !a.software)
}

/// Those of Vulkan, Metal and DirectX 12, hardware first; of OpenGL where there are no others.
#[cfg(feature = "wgpu")]
pub(super) fn wgpu() -> Vec<Adapter> {
    let found = enumerate("wgpu", graphics::Backends::PRIMARY);
    if found.is_empty() { enumerate("wgpu", graphics::Backends::GL) } else { found }
}

/// Those of Vulkan, hardware first.
#[cfg(feature = "vulkan")]
pub(super) fn vulkan() -> Vec<Adapter> {
    enumerate("vulkan", graphics::Backends::VULKAN)
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
        // Burn counts adapters of one kind and API.
        let alike = |i: &&graphics::AdapterInfo| {
            (i.backend, i.device_type) == (info.backend, info.device_type)
        };
        let nth = infos[..position].iter().filter(alike).count();
        let (rank, kind) = match info.device_type {
            DeviceType::DiscreteGpu => (0, DeviceKind::DiscreteGpu(nth)),
            DeviceType::IntegratedGpu => (1, DeviceKind::IntegratedGpu(nth)),
            DeviceType::VirtualGpu => (2, DeviceKind::VirtualGpu(nth)),
            // OpenGL knows no kinds; what it has is the default.
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

/// Whether a renderer of this name is a program: OpenGL does not say otherwise.
#[cfg(feature = "wgpu")]
fn is_software(name: &str) -> bool {
    let name = name.to_lowercase();
    ["llvmpipe", "softpipe", "swiftshader", "lavapipe", "basic render"]
        .iter()
        .any(|known| name.contains(known))
}

/// The answer of a future that needs no help to come to one.
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

/// NVIDIA's, by CUDA.
///
/// # Errors
///
/// When there is no driver.
#[cfg(feature = "cuda")]
pub(super) fn cuda() -> Result<Vec<Adapter>> {
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
