//! Whole-signal Fourier transforms, zero-padded to a power of two.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// Spectrum of `wave` padded with zeros to `length` samples, which is even and no shorter than the wave.
pub(crate) fn spectrum_of(wave: &[f32], length: usize) -> Vec<Complex<f32>> {
    let plan = RealFftPlanner::<f32>::new().plan_fft_forward(length);
    let mut padded = plan.make_input_vec();
    padded[..wave.len()].copy_from_slice(wave);
    let mut spectrum = plan.make_output_vec();
    plan.process(&mut padded, &mut spectrum)
        .expect("buffers come from the plan");
    spectrum
}

/// The first `frames` samples of the wave with this spectrum of a transform of `length`.
pub(crate) fn wave_of(mut spectrum: Vec<Complex<f32>>, length: usize, frames: usize) -> Vec<f32> {
    let plan = RealFftPlanner::<f32>::new().plan_fft_inverse(length);
    let mut wave = plan.make_output_vec();
    // Rounding may leave a trace of imaginary part where a real signal has none.
    spectrum[0].im = 0.0;
    spectrum[length / 2].im = 0.0;
    plan.process(&mut spectrum, &mut wave)
        .expect("buffers come from the plan");
    wave.truncate(frames);
    wave.iter_mut().for_each(|x| *x /= length as f32);
    wave
}

/// `wave` convolved with `response`, cut to the length of `wave`.
pub(crate) fn convolve(wave: &[f32], response: &[f32]) -> Vec<f32> {
    let length = (wave.len() + response.len()).next_power_of_two();
    let mut product = spectrum_of(wave, length);
    for (bin, factor) in product.iter_mut().zip(spectrum_of(response, length)) {
        *bin *= factor;
    }
    wave_of(product, length, wave.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolving_with_a_delayed_pulse_delays() {
        let wave: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
        let moved = convolve(&wave, &[0.0, 0.0, 0.5]);
        for i in 2..50 {
            assert!((moved[i] - 0.5 * wave[i - 2]).abs() < 1e-5, "at {i}");
        }
    }
}
