//! All parameters of a model as flat tensors.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// The value of every parameter, flat, by its id.
pub(crate) fn flat_parameters<M: Module>(model: &M) -> HashMap<ParamId, Tensor<1>> {
    struct Collect(HashMap<ParamId, Tensor<1>>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.insert(param.id, param.val().reshape([-1]));
        }
    }
    let mut collect = Collect(HashMap::new());
    model.visit(&mut collect);
    collect.0
}

/// `model` with every parameter replaced by `value(id, old)`, both flat.
pub(crate) fn with_parameters<M: Module>(
    model: M,
    value: impl FnMut(ParamId, Tensor<1>) -> Tensor<1>,
) -> M {
    struct Replace<F>(F);
    impl<F: FnMut(ParamId, Tensor<1>) -> Tensor<1>> ModuleMapper for Replace<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let shape = tensor.dims();
            Param::from_mapped_value(id, (self.0)(id, tensor.reshape([-1])).reshape(shape), mapper)
        }
    }
    model.map(&mut Replace(value))
}
