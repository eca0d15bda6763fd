//! What an error of libtorch means. libtorch gives sentences, not codes, so they are read here, in one tested place.

use engine::EngineError;
use tch::TchError;

/// Words by which libtorch and the libraries under it say that memory ran out. Each is specific to that: a sticky fault
/// such as an illegal access must never pass for a batch that was too large.
const OUT_OF_MEMORY: [&str; 7] = [
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
];

/// Longest sentence of libtorch that is passed on: behind it follows a stack.
const WORDS_MAX: usize = 300;

/// Whether these words say that memory ran out.
#[must_use]
pub fn is_out_of_memory(words: &str) -> bool {
    OUT_OF_MEMORY.iter().any(|known| words.contains(known))
}

/// What follows from an error while a batch of `batch` windows ran: a batch that does not fit leaves the engine usable,
/// all else ends the worker.
#[must_use]
pub fn of_batch(error: &TchError, batch: usize) -> EngineError {
    let words = error.to_string();
    let detail = first_words(&words);
    if is_out_of_memory(&words) {
        EngineError::OutOfMemory { batch, detail }
    } else {
        EngineError::Device { detail }
    }
}

/// What follows from an error while a network was loaded beside one that serves: where there is no room nothing is said of what it
/// was loaded for, all else ends the worker.
#[must_use]
pub fn of_load(error: &TchError) -> EngineError {
    let words = error.to_string();
    let detail = first_words(&words);
    if is_out_of_memory(&words) {
        EngineError::NoRoom { detail }
    } else {
        EngineError::Device { detail }
    }
}

/// The first line of what libtorch said, shortened.
#[must_use]
pub fn first_words(words: &str) -> String {
    let line = words
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no words");
    line.trim().chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_about_memory_that_ran_out_mean_a_smaller_batch() {
        let fits_not = [
            "Internal torch error: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB",
            "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
            "std::bad_alloc",
        ];
        let broken = [
            "CUDA error: an illegal memory access was encountered",
            "CUDA error: uncorrectable ECC error encountered",
            "CUDA error: device-side assert triggered",
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            "The size of tensor a (3) must match the size of tensor b (4)",
            "",
        ];
        let kind = |words: &str| of_batch(&TchError::Torch(words.to_owned()), 8);
        for words in fits_not {
            assert!(
                matches!(kind(words), EngineError::OutOfMemory { batch: 8, .. }),
                "{words}"
            );
        }
        for words in broken {
            assert!(matches!(kind(words), EngineError::Device { .. }), "{words}");
        }
    }

    #[test]
    fn a_network_that_finds_no_room_says_nothing_of_the_batch_that_it_was_loaded_for() {
        let kind = |words: &str| of_load(&TchError::Torch(words.to_owned()));
        let full = "CUDA out of memory. Tried to allocate 20.00 MiB";
        assert!(matches!(kind(full), EngineError::NoRoom { .. }));
        let broken = "CUDA error: an illegal memory access was encountered";
        assert!(matches!(kind(broken), EngineError::Device { .. }));
    }

    #[test]
    fn an_allocation_beyond_all_memory_is_out_of_memory_on_this_machine_s_libtorch() {
        let size = [1i64 << 50];
        let error = tch::Tensor::f_empty(size, (tch::Kind::Float, tch::Device::Cpu)).unwrap_err();
        assert!(
            matches!(of_batch(&error, 1), EngineError::OutOfMemory { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_stack_behind_the_words_is_left_out() {
        assert_eq!(
            first_words("\n  the words  \nException raised from at::"),
            "the words"
        );
        assert_eq!(first_words(&"x".repeat(1_000)).len(), WORDS_MAX);
    }
}
