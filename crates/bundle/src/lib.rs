//! The signed bundle: manifest, digests, calibration and the rule from scores to verdict.
