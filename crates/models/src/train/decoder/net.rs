//! The networks: a strided encoder, a coarse bottleneck, and a decoder in one of four ways of upsampling.

use tch::nn::{self, Module};
use tch::{Kind, Tensor};

use super::Architecture;

/// Channels of a waveform network at full rate; they double at each stride.
const WIDTH: i64 = 12;
/// Channels of the spectral network.
const FRAME_WIDTH: i64 = 96;
/// Values per latent step of a waveform network, and of the spectral one.
const LATENT: i64 = 12;
const FRAME_LATENT: i64 = 40;
/// Steps of a latent value on either side of zero: coarse, so that the decoder has to invent.
const STEPS: f64 = 4.0;
/// Transform and hop of the spectral network in samples.
const FRAME: i64 = 512;
const HOP: i64 = 128;

/// A whole autoencoder: `[batch, 1, samples]` to the same shape.
#[derive(Debug)]
pub(super) enum Net {
    Wave(Box<WaveNet>),
    Frames(Box<FrameNet>),
}

impl Net {
    pub(super) fn new(root: &nn::Path<'_>, architecture: Architecture) -> Self {
        let wave = |strides: &[i64], upsampling, activation| {
            Self::Wave(Box::new(WaveNet::new(
                root, strides, upsampling, activation,
            )))
        };
        match architecture {
            Architecture::Transposed64 => wave(&[4, 4, 4], Upsampling::Transposed, Activation::Elu),
            Architecture::Transposed80 => {
                wave(&[2, 5, 8], Upsampling::Transposed, Activation::Silu)
            }
            Architecture::Subpixel96 => wave(&[3, 4, 8], Upsampling::Subpixel, Activation::Leaky),
            Architecture::Frames128 => Self::Frames(Box::new(FrameNet::new(root))),
        }
    }

    pub(super) fn forward(&self, input: &Tensor) -> Tensor {
        match self {
            Self::Wave(net) => net.forward(input),
            Self::Frames(net) => net.forward(input),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Upsampling {
    Transposed,
    Subpixel,
}

#[derive(Clone, Copy, Debug)]
enum Activation {
    Elu,
    Silu,
    Leaky,
}

impl Activation {
    fn of(self, x: &Tensor) -> Tensor {
        match self {
            Self::Elu => x.elu(),
            Self::Silu => x.silu(),
            Self::Leaky => x.maximum(&(x * 0.1)),
        }
    }
}

#[derive(Debug)]
pub(super) struct WaveNet {
    activation: Activation,
    hop: i64,
    first: nn::Conv1D,
    down: Vec<(nn::Conv1D, nn::Conv1D)>,
    to_latent: nn::Conv1D,
    from_latent: nn::Conv1D,
    up: Vec<(Up, nn::Conv1D)>,
    last: nn::Conv1D,
}

impl WaveNet {
    fn new(
        root: &nn::Path<'_>,
        strides: &[i64],
        upsampling: Upsampling,
        activation: Activation,
    ) -> Self {
        let levels: Vec<(usize, i64, i64)> = strides
            .iter()
            .enumerate()
            .map(|(i, &stride)| (i, stride, WIDTH << i))
            .collect();
        let top = WIDTH << strides.len();
        let down = levels.iter().map(|&(i, stride, width)| {
            let at = root / "down" / i;
            (
                same(&at / "mix", width, width, 3),
                strided(&at / "stride", width, 2 * width, stride),
            )
        });
        let up = levels.iter().rev().map(|&(i, stride, width)| {
            let at = root / "up" / i;
            (
                Up::new(&(&at / "stride"), 2 * width, width, stride, upsampling),
                same(&at / "mix", width, width, 3),
            )
        });
        Self {
            activation,
            hop: strides.iter().product(),
            first: same(root / "first", 1, WIDTH, 7),
            down: down.collect(),
            to_latent: same(root / "to_latent", top, LATENT, 3),
            from_latent: same(root / "from_latent", LATENT, top, 3),
            up: up.collect(),
            last: same(root / "last", WIDTH, 1, 7),
        }
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let samples = *input.size().last().expect("a wave has three dimensions");
        let padded = input.constant_pad_nd([0, (self.hop - samples % self.hop) % self.hop]);
        let mut x = self.first.forward(&padded);
        for (mix, stride) in &self.down {
            x = &x + mix.forward(&self.activation.of(&x));
            x = stride.forward(&self.activation.of(&x));
        }
        x = self
            .from_latent
            .forward(&coarse(&self.to_latent.forward(&self.activation.of(&x))));
        for (stride, mix) in &self.up {
            x = stride.forward(&self.activation.of(&x));
            x = &x + mix.forward(&self.activation.of(&x));
        }
        // Near the level of the input, so that training starts close to sense.
        (self.last.forward(&self.activation.of(&x)) * f64::from(super::LEVEL))
            .narrow(-1, 0, samples)
    }
}

/// One step up in rate.
#[derive(Debug)]
enum Up {
    Transposed(nn::ConvTranspose1D),
    Subpixel(nn::Conv1D, i64),
}

impl Up {
    fn new(at: &nn::Path<'_>, from: i64, to: i64, stride: i64, upsampling: Upsampling) -> Self {
        match upsampling {
            Upsampling::Transposed => {
                let config = nn::ConvTransposeConfig {
                    stride,
                    padding: (stride + 1) / 2,
                    output_padding: stride % 2,
                    ..Default::default()
                };
                Self::Transposed(nn::conv_transpose1d(at, from, to, 2 * stride, config))
            }
            Upsampling::Subpixel => Self::Subpixel(same(at, from, to * stride, 3), stride),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Transposed(layer) => layer.forward(x),
            Self::Subpixel(layer, stride) => {
                let y = layer.forward(x);
                let (batch, channels, steps) = y.size3().expect("a wave has three dimensions");
                y.view([batch, channels / stride, *stride, steps])
                    .permute([0, 1, 3, 2])
                    .reshape([batch, channels / stride, steps * stride])
            }
        }
    }
}

/// Spectral frames in, spectral frames out.
#[derive(Debug)]
pub(super) struct FrameNet {
    window: Tensor,
    encode: [nn::Conv1D; 2],
    to_latent: nn::Conv1D,
    from_latent: nn::Conv1D,
    decode: [nn::Conv1D; 2],
    last: nn::Conv1D,
}

impl FrameNet {
    fn new(root: &nn::Path<'_>) -> Self {
        let values = FRAME + 2;
        Self {
            window: Tensor::hann_window(FRAME, (Kind::Float, root.device())),
            encode: [
                same(root / "encode" / 0, values, FRAME_WIDTH, 3),
                same(root / "encode" / 1, FRAME_WIDTH, FRAME_WIDTH, 3),
            ],
            to_latent: same(root / "to_latent", FRAME_WIDTH, FRAME_LATENT, 3),
            from_latent: same(root / "from_latent", FRAME_LATENT, FRAME_WIDTH, 3),
            decode: [
                same(root / "decode" / 0, FRAME_WIDTH, FRAME_WIDTH, 3),
                same(root / "decode" / 1, FRAME_WIDTH, FRAME_WIDTH, 3),
            ],
            last: same(root / "last", FRAME_WIDTH, values, 3),
        }
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let samples = *input.size().last().expect("a wave has three dimensions");
        let wave = input.squeeze_dim(1);
        let spectrum = transform(&wave, FRAME, HOP, &self.window);
        let parts = Tensor::cat(&[spectrum.real(), spectrum.imag()], 1);
        // Square root of the magnitude: quiet bands weigh in.
        let squeezed = &parts / (parts.abs() + 1e-4).sqrt();
        let mut x = self.encode[0].forward(&squeezed);
        x = &x + self.encode[1].forward(&x.gelu("tanh"));
        x = self
            .from_latent
            .forward(&coarse(&self.to_latent.forward(&x.gelu("tanh"))));
        for layer in &self.decode {
            x = &x + layer.forward(&x.gelu("tanh"));
        }
        let y = self.last.forward(&x.gelu("tanh"));
        let y = &y * y.abs();
        let bins = FRAME / 2 + 1;
        let spectrum = Tensor::complex(&y.narrow(1, 0, bins), &y.narrow(1, bins, bins));
        spectrum
            .istft(
                FRAME,
                HOP,
                FRAME,
                Some(&self.window),
                true,
                false,
                true,
                samples,
                false,
            )
            .unsqueeze(1)
    }
}

/// Complex spectrum `[batch, bins, frames]` of waves `[batch, samples]` with half a transform of zeros at either end.
pub(super) fn transform(wave: &Tensor, length: i64, hop: i64, window: &Tensor) -> Tensor {
    let padded = wave.constant_pad_nd([length / 2, length / 2]);
    padded.stft(length, hop, length, Some(window), false, true, true, false)
}

/// Rounds to a few steps between -1 and 1; gradients pass as if nothing had been rounded.
fn coarse(latent: &Tensor) -> Tensor {
    let soft = latent.tanh();
    let hard = (&soft * STEPS).round() / STEPS;
    &soft + (hard - &soft).detach()
}

fn same<'a>(
    at: impl std::borrow::Borrow<nn::Path<'a>>,
    from: i64,
    to: i64,
    kernel: i64,
) -> nn::Conv1D {
    nn::conv1d(
        at,
        from,
        to,
        kernel,
        nn::ConvConfig {
            padding: kernel / 2,
            ..Default::default()
        },
    )
}

fn strided<'a>(
    at: impl std::borrow::Borrow<nn::Path<'a>>,
    from: i64,
    to: i64,
    stride: i64,
) -> nn::Conv1D {
    nn::conv1d(
        at,
        from,
        to,
        2 * stride,
        nn::ConvConfig {
            stride,
            padding: (stride + 1) / 2,
            ..Default::default()
        },
    )
}
