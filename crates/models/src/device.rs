//! Devices: finding them, opening libtorch's CUDA half where one is asked for, and how many threads the processor gets.
//!
//! The worker links only libtorch's CPU half, so that one binary runs everywhere. [`open`] must come before any other
//! call of libtorch in the process: its first question about CUDA is answered once and for all.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Once, OnceLock};
use types::{Device, DeviceKind, Dtype};

/// Length of a PCI address as the CUDA runtime writes it, such as `0000:3b:00.0`, with room to spare.
const PCI_BYTES: usize = 32;

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// libtorch's CUDA half is not installed or does not load.
    #[error("libtorch for CUDA does not load: {0}")]
    Library(String),
    /// There is no such device.
    #[error("there is no device {kind}:{index}; {found} of that kind were found")]
    Absent {
        /// Its kind.
        kind: DeviceKind,
        /// The index asked for.
        index: u32,
        /// How many there are.
        found: u32,
    },
    /// The device does not compute in this number format.
    #[error("{kind} does not compute in {dtype}")]
    Dtype {
        /// Its kind.
        kind: DeviceKind,
        /// The number format asked for.
        dtype: Dtype,
    },
}

/// A device that is ready for tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// For libtorch.
    pub torch: tch::Device,
    /// For records and people.
    pub device: Device,
}

/// Opens a device for inference in `dtype`.
///
/// # Errors
/// [`DeviceError`], also where a driver is missing or too old.
pub fn open(kind: DeviceKind, index: u32, dtype: Dtype) -> Result<Opened, DeviceError> {
    let found = match kind {
        DeviceKind::Cpu => 1,
        DeviceKind::Cuda => {
            settle_tf32(dtype);
            open_cuda()?;
            cuda_count()
        }
    };
    if index >= found {
        return Err(DeviceError::Absent { kind, index, found });
    }
    match (kind, dtype) {
        (DeviceKind::Cpu, Dtype::F32) => Ok(Opened {
            torch: tch::Device::Cpu,
            device: cpu(),
        }),
        (DeviceKind::Cpu, Dtype::Tf32 | Dtype::Bf16 | Dtype::F16) => {
            Err(DeviceError::Dtype { kind, dtype })
        }
        (DeviceKind::Cuda, Dtype::F32 | Dtype::Tf32 | Dtype::Bf16 | Dtype::F16) => Ok(Opened {
            torch: tch::Device::Cuda(index as usize),
            device: cuda(index),
        }),
    }
}

/// libtorch's name of a number format. TensorFloat-32 is single precision to libtorch; the driver's libraries round the products.
#[must_use]
pub fn kind(dtype: Dtype) -> tch::Kind {
    match dtype {
        Dtype::F32 | Dtype::Tf32 => tch::Kind::Float,
        Dtype::Bf16 => tch::Kind::BFloat16,
        Dtype::F16 => tch::Kind::Half,
    }
}

/// Every device of this machine, GPUs first. Without libtorch's CUDA half or a driver that is the processor alone.
#[must_use]
pub fn list() -> Vec<Device> {
    let gpus = open_cuda().map_or(0, |()| cuda_count());
    (0..gpus).map(cuda).chain([cpu()]).collect()
}

/// Threads that a tensor operation may use on the processor. Left to itself, a quarter of the cores: the others decode,
/// and an operation split over few threads wastes least.
#[must_use]
pub fn threads(wanted: Option<NonZeroU32>) -> u32 {
    let cores = std::thread::available_parallelism()
        .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    wanted.map_or((cores / 4).max(1), |wanted| wanted.get().min(cores))
}

/// Tells libtorch how many threads it may use; the first call in a process also keeps operations from running beside
/// each other, since the worker has one loop.
pub fn set_threads(wanted: Option<NonZeroU32>) {
    /// libtorch panics when it is told this twice.
    static ONE_AT_A_TIME: Once = Once::new();
    tch::set_num_threads(i32::try_from(threads(wanted)).unwrap_or(1));
    ONE_AT_A_TIME.call_once(|| tch::set_num_interop_threads(1));
}

/// Freed memory above which some goes back to the system, bytes: several times what a pass needs, so that none does between passes.
const KEPT_BYTES: c_int = 64 << 20;
/// Smallest block that is taken from the system by itself and given back at once, bytes: the largest that the C library allows.
const BLOCK_BYTES: c_int = 32 << 20;

/// Tells the C library to keep what one pass frees for the next. Left to itself it gives the tensors of each operation back to
/// the system, and clearing and mapping their pages anew took a third of the screen's processor time; the process grows by 5 MiB.
pub fn keep_memory() {
    // SAFETY: sets two numbers of the allocator; it refuses what it does not allow, and then stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, BLOCK_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}

/// Freed memory above which some goes back to the system where tensors are larger than any block that [`keep_memory`] may
/// hold back, bytes: more than a pass of the separator over a few segments needs.
const KEPT_LARGE_BYTES: c_int = c_int::MAX;

/// As [`keep_memory`], for the separator, whose largest tensors are twice [`BLOCK_BYTES`]: no block is taken from the system
/// by itself, and the process keeps what its largest pass needed.
pub fn keep_large_memory() {
    // SAFETY: as in `keep_memory`.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_LARGE_BYTES);
    }
}

/// By which the driver's libraries are told of TensorFloat-32.
const TF32_VARIABLE: &str = "NVIDIA_TF32_OVERRIDE";

/// Convolutions take TensorFloat-32 products unless the driver's libraries are told otherwise before they load; there
/// is no call for it through tch.
fn settle_tf32(dtype: Dtype) {
    // SAFETY: a worker opens its device from its only thread, before libtorch starts any of its own.
    unsafe {
        match tf32_setting(dtype) {
            Some(value) => std::env::set_var(TF32_VARIABLE, value),
            None => std::env::remove_var(TF32_VARIABLE),
        }
    }
}

/// What [`TF32_VARIABLE`] must be for a number format; none where it must not be there, since whoever started the process may have forbidden
/// what is asked for.
fn tf32_setting(dtype: Dtype) -> Option<&'static str> {
    match dtype {
        Dtype::Tf32 => None,
        Dtype::F32 | Dtype::Bf16 | Dtype::F16 => Some("0"),
    }
}

/// Opens `libtorch_cuda.so` once in the process's life.
fn open_cuda() -> Result<(), DeviceError> {
    static OPENED: OnceLock<Result<(), DeviceError>> = OnceLock::new();
    OPENED
        .get_or_init(|| open_library(c"libtorch_cuda.so"))
        .clone()
}

fn open_library(name: &CStr) -> Result<(), DeviceError> {
    // SAFETY: the name is a C string; the library's constructors are libtorch's own, from the folder beside this binary.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: `dlerror` may be called at any time.
    let words = unsafe { libc::dlerror() };
    // SAFETY: where it is not null it is a C string that stands until the next call on this thread.
    let words = (!words.is_null()).then(|| unsafe { CStr::from_ptr(words) });
    let words = words.map(|words| words.to_string_lossy().into_owned());
    Err(DeviceError::Library(
        words.unwrap_or_else(|| "no reason given".to_owned()),
    ))
}

fn cuda_count() -> u32 {
    u32::try_from(tch::Cuda::device_count()).unwrap_or(0)
}

fn cuda(index: u32) -> Device {
    let name = pci_address(index).and_then(|address| driver_name(&address));
    Device {
        kind: DeviceKind::Cuda,
        index,
        name: name.unwrap_or_else(|| "NVIDIA GPU".to_owned()),
        memory_bytes: cuda_memory(index).map_or(0, |memory| memory.total),
    }
}

/// A function of the CUDA runtime that libtorch has loaded.
fn runtime_function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

fn pci_address(index: u32) -> Option<String> {
    let function = runtime_function(c"cudaDeviceGetPCIBusId")?;
    // SAFETY: this is that function's signature in every version of the CUDA runtime.
    let ask: extern "C" fn(*mut c_char, c_int, c_int) -> c_int =
        unsafe { std::mem::transmute(function) };
    let mut text = [0u8; PCI_BYTES];
    let failed = ask(
        text.as_mut_ptr().cast(),
        PCI_BYTES as c_int,
        c_int::try_from(index).ok()?,
    );
    if failed != 0 {
        return None;
    }
    let address = CStr::from_bytes_until_nul(&text).ok()?;
    Some(address.to_string_lossy().to_lowercase())
}

/// The model as the kernel driver states it.
fn driver_name(address: &str) -> Option<String> {
    let text =
        fs::read_to_string(format!("/proc/driver/nvidia/gpus/{address}/information")).ok()?;
    field(&text, "Model")
}

/// A GPU's memory in bytes, as the driver counts it.
#[derive(Debug, Clone, Copy)]
struct CudaMemory {
    free: u64,
    total: u64,
}

fn cuda_memory(index: u32) -> Option<CudaMemory> {
    let select = runtime_function(c"cudaSetDevice")?;
    let function = runtime_function(c"cudaMemGetInfo")?;
    // SAFETY: these are those functions' signatures in every version of the CUDA runtime.
    let select: extern "C" fn(c_int) -> c_int = unsafe { std::mem::transmute(select) };
    // SAFETY: as above.
    let ask: extern "C" fn(*mut usize, *mut usize) -> c_int =
        unsafe { std::mem::transmute(function) };
    let (mut free, mut total) = (0, 0);
    let failed =
        select(c_int::try_from(index).ok()?) != 0 || ask(&raw mut free, &raw mut total) != 0;
    (!failed).then_some(CudaMemory {
        free: free as u64,
        total: total as u64,
    })
}

/// Bytes of a device's memory that its work takes; none where the system does not say. Of a GPU what is taken now, by all that runs there:
/// libtorch gives nothing back between passes, so that after a pass it is what its largest moment needed. Of the processor the most that
/// this process ever held.
#[must_use]
pub fn held_bytes(kind: DeviceKind, index: u32) -> Option<u64> {
    match kind {
        DeviceKind::Cpu => kilobytes("/proc/self/status", "VmHWM"),
        DeviceKind::Cuda => {
            cuda_memory(index).map(|memory| memory.total.saturating_sub(memory.free))
        }
    }
}

fn cpu() -> Device {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Device {
        kind: DeviceKind::Cpu,
        index: 0,
        name: field(&information, "model name").unwrap_or_else(|| "CPU".to_owned()),
        memory_bytes: kilobytes("/proc/meminfo", "MemTotal").unwrap_or(0),
    }
}

/// Bytes of a line `name: number kB` in a file of the kernel.
pub(crate) fn kilobytes(path: impl AsRef<Path>, name: &str) -> Option<u64> {
    let text = field(&fs::read_to_string(path).ok()?, name)?;
    let number = text.split(' ').next()?.parse::<u64>().ok()?;
    Some(number.saturating_mul(1_024))
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tf32_is_forbidden_to_every_format_but_its_own_whatever_was_inherited() {
        assert_eq!(tf32_setting(Dtype::Tf32), None);
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            assert_eq!(tf32_setting(dtype), Some("0"), "{dtype}");
        }
    }

    #[test]
    fn the_processor_is_always_there_in_single_precision_and_only_once() {
        let opened = open(DeviceKind::Cpu, 0, Dtype::F32).unwrap();
        assert_eq!(opened.torch, tch::Device::Cpu);
        assert!(opened.device.memory_bytes > 1 << 28, "{:?}", opened.device);
        let absent = DeviceError::Absent {
            kind: DeviceKind::Cpu,
            index: 1,
            found: 1,
        };
        assert_eq!(open(DeviceKind::Cpu, 1, Dtype::F32), Err(absent));
        assert!(matches!(
            open(DeviceKind::Cpu, 0, Dtype::Bf16),
            Err(DeviceError::Dtype { .. })
        ));
    }

    #[test]
    fn what_a_process_held_is_no_less_than_what_it_touched_and_no_more_than_there_is() {
        let touched = std::hint::black_box(vec![1u8; 64 << 20]);
        let held = held_bytes(DeviceKind::Cpu, 0).unwrap();
        let machine = cpu().memory_bytes;
        assert!((touched.len() as u64..machine).contains(&held), "{held}");
    }

    #[test]
    fn a_number_of_the_kernel_that_is_not_there_is_none() {
        assert_eq!(kilobytes("/proc/self/status", "VmNothing"), None);
        assert_eq!(kilobytes("/proc/nowhere", "VmHWM"), None);
        assert_eq!(kilobytes("/proc/self/status", "Name"), None);
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let Err(DeviceError::Library(words)) = open_library(c"libtorch_of_nowhere.so") else {
            panic!("was opened")
        };
        assert!(words.contains("libtorch_of_nowhere.so"), "{words}");
    }

    #[test]
    fn threads_are_a_share_of_the_cores_and_never_more() {
        let cores = std::thread::available_parallelism().unwrap().get() as u32;
        assert!((1..=cores).contains(&threads(None)));
        assert_eq!(threads(NonZeroU32::new(1)), 1);
        assert_eq!(threads(NonZeroU32::new(100_000)), cores);
    }

    #[test]
    fn a_field_of_a_driver_s_text_is_found_by_its_name() {
        let text = "Model: \t\t NVIDIA H200\nIRQ:   \t 0\n";
        assert_eq!(field(text, "Model").as_deref(), Some("NVIDIA H200"));
        assert_eq!(field(text, "Bus"), None);
    }
}
