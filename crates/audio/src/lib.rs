//! Probing, decoding and resampling of untrusted audio, and the ring that carries its PCM.
