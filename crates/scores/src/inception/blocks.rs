//! The blocks of FID Inception v3, in torchvision's names.

use anyhow::Result;
use burn::module::Module;

use crate::inception::conv::{Conv, ConvShape};
use crate::inception::map::FeatureMap;

/// Makes the convolution of a given name and shape.
pub(super) type ConvSource<'a> = &'a mut dyn FnMut(&str, ConvShape) -> Result<Conv>;

/// Takes `<block>.<name>` for each pair of name and shape.
macro_rules! block {
    ($take:ident, $block:ident, $($name:ident = $shape:expr),+ $(,)?) => {
        Ok(Self { $($name: $take(&format!("{}.{}", $block, stringify!($name)), $shape)?),+ })
    };
}

const fn point(from: usize, to: usize) -> ConvShape {
    ConvShape { channels: [from, to], kernel: [1, 1], stride: 1, padding: [0, 0] }
}

/// 35x35 maps: branches of 1x1, 5x5, two 3x3 convolutions, and a pool.
#[derive(Module, Debug)]
#[allow(clippy::struct_field_names, reason = "torchvision's names")]
pub(super) struct BlockA {
    branch1x1: Conv,
    branch5x5_1: Conv,
    branch5x5_2: Conv,
    branch3x3dbl_1: Conv,
    branch3x3dbl_2: Conv,
    branch3x3dbl_3: Conv,
    branch_pool: Conv,
}

impl BlockA {
    pub(super) fn new(
        block: &str,
        from: usize,
        pooled: usize,
        take: ConvSource<'_>,
    ) -> Result<Self> {
        block!(
            take,
            block,
            branch1x1 = point(from, 64),
            branch5x5_1 = point(from, 48),
            branch5x5_2 = ConvShape::same([48, 64], [5, 5]),
            branch3x3dbl_1 = point(from, 64),
            branch3x3dbl_2 = ConvShape::same([64, 96], [3, 3]),
            branch3x3dbl_3 = ConvShape::same([96, 96], [3, 3]),
            branch_pool = point(from, pooled),
        )
    }

    pub(super) fn forward<M: FeatureMap>(&self, x: &M) -> M {
        let five = x.conv(&self.branch5x5_1).conv(&self.branch5x5_2);
        let three = x.conv(&self.branch3x3dbl_1).conv(&self.branch3x3dbl_2);
        let three = three.conv(&self.branch3x3dbl_3);
        let pooled = x.avg_pool().conv(&self.branch_pool);
        M::cat(vec![x.conv(&self.branch1x1), five, three, pooled])
    }
}

/// From 35x35 to 17x17 maps.
#[derive(Module, Debug)]
#[allow(clippy::struct_field_names, reason = "torchvision's names")]
pub(super) struct BlockB {
    branch3x3: Conv,
    branch3x3dbl_1: Conv,
    branch3x3dbl_2: Conv,
    branch3x3dbl_3: Conv,
}

impl BlockB {
    pub(super) fn new(block: &str, from: usize, take: ConvSource<'_>) -> Result<Self> {
        block!(
            take,
            block,
            branch3x3 = ConvShape::valid([from, 384], 2),
            branch3x3dbl_1 = point(from, 64),
            branch3x3dbl_2 = ConvShape::same([64, 96], [3, 3]),
            branch3x3dbl_3 = ConvShape::valid([96, 96], 2),
        )
    }

    pub(super) fn forward<M: FeatureMap>(&self, x: &M) -> M {
        let double = x.conv(&self.branch3x3dbl_1).conv(&self.branch3x3dbl_2);
        let double = double.conv(&self.branch3x3dbl_3);
        M::cat(vec![x.conv(&self.branch3x3), double, x.max_pool_stride_2()])
    }
}

/// 17x17 maps: 7x7 convolutions factorised into 1x7 and 7x1.
#[derive(Module, Debug)]
#[allow(clippy::struct_field_names, reason = "torchvision's names")]
pub(super) struct BlockC {
    branch1x1: Conv,
    branch7x7_1: Conv,
    branch7x7_2: Conv,
    branch7x7_3: Conv,
    branch7x7dbl_1: Conv,
    branch7x7dbl_2: Conv,
    branch7x7dbl_3: Conv,
    branch7x7dbl_4: Conv,
    branch7x7dbl_5: Conv,
    branch_pool: Conv,
}

impl BlockC {
    pub(super) fn new(block: &str, inner: usize, take: ConvSource<'_>) -> Result<Self> {
        let wide = |from, to| ConvShape::same([from, to], [1, 7]);
        let high = |from, to| ConvShape::same([from, to], [7, 1]);
        block!(
            take,
            block,
            branch1x1 = point(768, 192),
            branch7x7_1 = point(768, inner),
            branch7x7_2 = wide(inner, inner),
            branch7x7_3 = high(inner, 192),
            branch7x7dbl_1 = point(768, inner),
            branch7x7dbl_2 = high(inner, inner),
            branch7x7dbl_3 = wide(inner, inner),
            branch7x7dbl_4 = high(inner, inner),
            branch7x7dbl_5 = wide(inner, 192),
            branch_pool = point(768, 192),
        )
    }

    pub(super) fn forward<M: FeatureMap>(&self, x: &M) -> M {
        let seven = x.conv(&self.branch7x7_1).conv(&self.branch7x7_2).conv(&self.branch7x7_3);
        let double = x.conv(&self.branch7x7dbl_1).conv(&self.branch7x7dbl_2);
        let double = double.conv(&self.branch7x7dbl_3).conv(&self.branch7x7dbl_4);
        let double = double.conv(&self.branch7x7dbl_5);
        let pooled = x.avg_pool().conv(&self.branch_pool);
        M::cat(vec![x.conv(&self.branch1x1), seven, double, pooled])
    }
}

/// From 17x17 to 8x8 maps.
#[derive(Module, Debug)]
#[allow(clippy::struct_field_names, reason = "torchvision's names")]
pub(super) struct BlockD {
    branch3x3_1: Conv,
    branch3x3_2: Conv,
    branch7x7x3_1: Conv,
    branch7x7x3_2: Conv,
    branch7x7x3_3: Conv,
    branch7x7x3_4: Conv,
}

impl BlockD {
    pub(super) fn new(block: &str, take: ConvSource<'_>) -> Result<Self> {
        block!(
            take,
            block,
            branch3x3_1 = point(768, 192),
            branch3x3_2 = ConvShape::valid([192, 320], 2),
            branch7x7x3_1 = point(768, 192),
            branch7x7x3_2 = ConvShape::same([192, 192], [1, 7]),
            branch7x7x3_3 = ConvShape::same([192, 192], [7, 1]),
            branch7x7x3_4 = ConvShape::valid([192, 192], 2),
        )
    }

    pub(super) fn forward<M: FeatureMap>(&self, x: &M) -> M {
        let three = x.conv(&self.branch3x3_1).conv(&self.branch3x3_2);
        let seven = x.conv(&self.branch7x7x3_1).conv(&self.branch7x7x3_2);
        let seven = seven.conv(&self.branch7x7x3_3).conv(&self.branch7x7x3_4);
        M::cat(vec![three, seven, x.max_pool_stride_2()])
    }
}

/// How the last branch of a [`BlockE`] pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// By the mean, in the first of them.
    Mean,
    /// By the maximum, in the second, as in the network that FID is defined with.
    Max,
}

/// 8x8 maps: branches that split into 1x3 and 3x1 convolutions.
#[derive(Module, Debug)]
pub(super) struct BlockE {
    branch1x1: Conv,
    branch3x3_1: Conv,
    branch3x3_2a: Conv,
    branch3x3_2b: Conv,
    branch3x3dbl_1: Conv,
    branch3x3dbl_2: Conv,
    branch3x3dbl_3a: Conv,
    branch3x3dbl_3b: Conv,
    branch_pool: Conv,
}

impl BlockE {
    pub(super) fn new(block: &str, from: usize, take: ConvSource<'_>) -> Result<Self> {
        let wide = ConvShape::same([384, 384], [1, 3]);
        let high = ConvShape::same([384, 384], [3, 1]);
        block!(
            take,
            block,
            branch1x1 = point(from, 320),
            branch3x3_1 = point(from, 384),
            branch3x3_2a = wide,
            branch3x3_2b = high,
            branch3x3dbl_1 = point(from, 448),
            branch3x3dbl_2 = ConvShape::same([448, 384], [3, 3]),
            branch3x3dbl_3a = wide,
            branch3x3dbl_3b = high,
            branch_pool = point(from, 192),
        )
    }

    pub(super) fn forward<M: FeatureMap>(&self, x: &M, pooling: Pooling) -> M {
        let three = x.conv(&self.branch3x3_1);
        let double = x.conv(&self.branch3x3dbl_1).conv(&self.branch3x3dbl_2);
        let pooled = match pooling {
            Pooling::Mean => x.avg_pool(),
            Pooling::Max => x.max_pool(),
        };
        M::cat(vec![
            x.conv(&self.branch1x1),
            three.conv(&self.branch3x3_2a),
            three.conv(&self.branch3x3_2b),
            double.conv(&self.branch3x3dbl_3a),
            double.conv(&self.branch3x3dbl_3b),
            pooled.conv(&self.branch_pool),
        ])
    }
}
