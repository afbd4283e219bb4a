//! A convolution with its batch normalisation folded into the weights.

use burn::tensor::{Device, Tensor, TensorData};

/// `eps` of the batch normalisations.
const EPSILON: f64 = 1e-3;

/// The shape of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels in and out.
    pub channels: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Stride along both axes.
    pub stride: usize,
    /// Zero padding above and below, left and right.
    pub padding: [usize; 2],
}

impl ConvShape {
    /// The shape of the weight in PyTorch's order: output and input channels, height, width.
    pub fn weight(&self) -> [usize; 4] {
        let ([from, to], [height, width]) = (self.channels, self.kernel);
        [to, from, height, width]
    }
}

/// A convolution of stride 1 that keeps the size of the maps.
pub(super) fn same(channels: [usize; 2], kernel: [usize; 2]) -> ConvShape {
    ConvShape { channels, kernel, stride: 1, padding: kernel.map(|length| length / 2) }
}

/// A 1x1 convolution.
pub(super) fn point(from: usize, to: usize) -> ConvShape {
    same([from, to], [1, 1])
}

/// A 3x3 convolution without padding.
pub(super) fn valid(channels: [usize; 2], stride: usize) -> ConvShape {
    ConvShape { channels, kernel: [3, 3], stride, padding: [0, 0] }
}

/// A convolution and its batch normalisation as PyTorch stores them.
#[derive(Debug, Clone)]
pub struct BatchNormConv {
    /// `conv.weight`, [`ConvShape::weight`].
    pub weight: Vec<f32>,
    /// `bn.weight`.
    pub scale: Vec<f32>,
    /// `bn.bias`.
    pub shift: Vec<f32>,
    /// `bn.running_mean`.
    pub mean: Vec<f32>,
    /// `bn.running_var`.
    pub variance: Vec<f32>,
}

/// Weight and bias of a convolution that a `ReLU` follows.
#[derive(Debug)]
pub struct Conv {
    /// `[height * width * input channels, output channels]`, input channels fastest.
    pub(super) weight: Tensor<2>,
    /// `[output channels]`.
    pub(super) bias: Tensor<1>,
    pub(super) shape: ConvShape,
}

impl Conv {
    /// Folds the batch normalisation of inference into weight and bias, in double precision:
    ///
    /// ```text
    /// scale (W x - mean) / sqrt(variance + eps) + shift  =  W' x + b'
    /// ```
    pub fn fold(stored: &BatchNormConv, shape: ConvShape, device: &Device) -> Self {
        let [to, from, height, width] = shape.weight();
        let factor = |(&scale, &variance): (&f32, &f32)| {
            f64::from(scale) / (f64::from(variance) + EPSILON).sqrt()
        };
        let factors: Vec<f64> = stored.scale.iter().zip(&stored.variance).map(factor).collect();
        let positions = height * width;
        let mut weight = vec![0.0; to * from * positions];
        for (out, kernel) in stored.weight.chunks(from * positions).enumerate() {
            for (at, &value) in kernel.iter().enumerate() {
                let (channel, position) = (at / positions, at % positions);
                let folded = f64::from(value) * factors[out];
                weight[(position * from + channel) * to + out] = folded as f32;
            }
        }
        let bias = (0..to)
            .map(|out| {
                let mean = f64::from(stored.mean[out]) * factors[out];
                (f64::from(stored.shift[out]) - mean) as f32
            })
            .collect();
        let rows = from * positions;
        Self {
            weight: Tensor::from_data(TensorData::new(weight, [rows, to]), device),
            bias: Tensor::from_data(TensorData::new::<f32, _>(bias, [to]), device),
            shape,
        }
    }

    /// A placeholder of this shape, to list the tensors of the network.
    pub(super) fn without_weights(shape: ConvShape, device: &Device) -> Self {
        Self { weight: Tensor::zeros([1, 1], device), bias: Tensor::zeros([1], device), shape }
    }

    /// The weight in the order of Burn's convolution, `[out, in, height, width]`.
    pub(super) fn kernel(&self) -> Tensor<4> {
        let [to, from, height, width] = self.shape.weight();
        self.weight.clone().reshape([height, width, from, to]).permute([3, 2, 0, 1])
    }
}
