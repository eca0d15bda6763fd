//! Which of a machine's devices a node uses. Asked once at its start.

use serde::Deserialize;
use types::{Code, Device, DeviceKind, Dtype, Problem};

/// Which devices to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// Each GPU; without one the processor.
    Auto,
    /// The processor.
    Cpu,
    /// Each GPU; without one the agent refuses to start.
    Cuda,
}

impl Choice {
    /// The devices to use of those that the machine has, all of one kind.
    ///
    /// # Errors
    /// `DEVICE_ABSENT` where none of the wanted kind is there, `CONFIG_INVALID` where that kind does not compute in `dtype`.
    pub fn pick(self, dtype: Dtype, all: Vec<Device>) -> Result<Vec<Device>, Problem> {
        let gpus = all.iter().any(|device| device.kind == DeviceKind::Cuda);
        let kind = match self {
            Self::Auto if gpus => DeviceKind::Cuda,
            Self::Auto | Self::Cpu => DeviceKind::Cpu,
            Self::Cuda => DeviceKind::Cuda,
        };
        let of_kind = all.into_iter().filter(|device| device.kind == kind);
        let picked: Vec<Device> = of_kind.collect();
        if picked.is_empty() {
            let message = format!("find a device of kind {kind}");
            return Err(Problem::new(Code::DeviceAbsent, message));
        }
        if !computes(kind, dtype) {
            let message = format!("setting `dtype`: a {kind} device does not compute in {dtype}");
            return Err(Problem::new(Code::ConfigInvalid, message));
        }
        Ok(picked)
    }
}

/// Whether the worker runs networks in a number format on devices of a kind.
fn computes(kind: DeviceKind, dtype: Dtype) -> bool {
    match kind {
        DeviceKind::Cpu => dtype == Dtype::F32,
        DeviceKind::Cuda => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: DeviceKind) -> Device {
        Device {
            kind,
            index: 0,
            name: String::new(),
            memory_bytes: 0,
        }
    }

    #[test]
    fn gpus_go_first_and_are_never_replaced_where_they_were_asked_for() {
        let (cpu, gpu) = (device(DeviceKind::Cpu), device(DeviceKind::Cuda));
        let both = vec![gpu.clone(), cpu.clone()];
        let check = |choice: Choice, all: &[Device], expected: Result<&Device, Code>| {
            let picked = choice.pick(Dtype::F32, all.to_vec());
            let expected = expected.map(|device| vec![device.clone()]);
            assert_eq!(picked.map_err(|problem| problem.code), expected);
        };
        let alone = [cpu.clone()];
        check(Choice::Auto, &both, Ok(&gpu));
        check(Choice::Cpu, &both, Ok(&cpu));
        check(Choice::Auto, &alone, Ok(&cpu));
        check(Choice::Cuda, &alone, Err(Code::DeviceAbsent));
    }

    #[test]
    fn a_processor_that_is_to_round_is_refused_before_anything_is_loaded() {
        for dtype in [Dtype::Tf32, Dtype::Bf16, Dtype::F16] {
            let pick = |kind| Choice::Auto.pick(dtype, vec![device(kind)]);
            assert_eq!(
                pick(DeviceKind::Cpu).unwrap_err().code,
                Code::ConfigInvalid,
                "{dtype}"
            );
            assert!(pick(DeviceKind::Cuda).is_ok(), "{dtype}");
        }
    }
}
