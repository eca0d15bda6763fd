//! What the decoder may use of its machine, from before it sees a byte of any file to its end. Read by `main`, which enters
//! the sandbox with it, and by `session`, which asks to be replaced in time.

use audio::child::CONTROL_FD;
use sandbox::Limits;

/// Address space, bytes. The largest honest need measured is half of it (eight channels through the longest resampling
/// filter), a screen's is a tenth; a hostile header that reaches it ends in an abort.
const ADDRESS_SPACE: u64 = 512 << 20;
/// Processor time of a whole life, seconds: the agent is asked to replace the decoder at half of it, and the rest is
/// more than the longest track may take, so that no sound track meets it.
pub(crate) const LIFE_CPU_S: u64 = 3600;
/// Descriptor numbers below this one may exist: the standard three, the socket twice, the ring's three, the next number.
const DESCRIPTORS: u32 = CONTROL_FD.unsigned_abs() + 6;

/// All of it.
pub(crate) const LIMITS: Limits = Limits {
    address_space: ADDRESS_SPACE,
    descriptors: DESCRIPTORS,
    cpu_s: LIFE_CPU_S,
};
