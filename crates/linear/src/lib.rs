//! The few operations of dense linear algebra that scores need, in concrete types.
//!
//! faer's algorithms are generic and large: instantiated here, they are compiled once and not
//! again with every change of the crates that use them. Matrices are faer's own.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

/// A decomposition that did not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinearError {
    /// Of a symmetric matrix.
    #[error("the eigenvalues of a {0} by {0} matrix were not found; are all its entries finite?")]
    Eigen(usize),
    /// Of any matrix.
    #[error(
        "the singular values of a {0} by {1} matrix were not found; are all its entries finite?"
    )]
    Singular(usize, usize),
}

/// `output <- output + factor left right`, on all threads.
///
/// # Panics
///
/// When the shapes do not fit.
pub fn add_product(
    output: MatMut<'_, f64>,
    left: MatRef<'_, f64>,
    right: MatRef<'_, f64>,
    factor: f64,
) {
    matmul(output, Accum::Add, left, right, factor, Par::rayon(0));
}

/// `factor left right`, on all threads.
///
/// # Panics
///
/// When the shapes do not fit.
pub fn product(left: MatRef<'_, f64>, right: MatRef<'_, f64>, factor: f64) -> Mat<f64> {
    let mut output = Mat::zeros(left.nrows(), right.ncols());
    add_product(output.as_mut(), left, right, factor);
    output
}

/// `output <- left right`, or `output + left right` with `add`, in single precision and on this
/// thread alone.
///
/// # Panics
///
/// When the shapes do not fit.
pub fn product_f32(
    output: MatMut<'_, f32>,
    add: bool,
    left: MatRef<'_, f32>,
    right: MatRef<'_, f32>,
) {
    let begin = if add { Accum::Add } else { Accum::Replace };
    matmul(output, begin, left, right, 1.0, Par::Seq);
}

/// The eigenvalues of a symmetric matrix, of which the lower triangle is read, and its eigenvectors
/// as columns.
///
/// # Errors
///
/// When an entry is not finite, or the iteration fails.
pub fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), LinearError> {
    let size = matrix.nrows();
    if !is_finite(matrix) {
        return Err(LinearError::Eigen(size));
    }
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| LinearError::Eigen(size))?;
    let values = eigen.S().column_vector();
    Ok(((0..size).map(|i| values[i]).collect(), eigen.U().to_owned()))
}

/// The singular values of a matrix.
///
/// # Errors
///
/// When an entry is not finite, or the iteration fails.
pub fn singular_values(matrix: MatRef<'_, f64>) -> Result<Vec<f64>, LinearError> {
    let error = LinearError::Singular(matrix.nrows(), matrix.ncols());
    if !is_finite(matrix) {
        return Err(error);
    }
    matrix.singular_values().map_err(|_| error)
}

/// Whether every entry is a finite number; iterations on others may end, with nonsense.
fn is_finite(matrix: MatRef<'_, f64>) -> bool {
    matrix.col_iter().all(|column| column.iter().all(|x| x.is_finite()))
}

/// The lower triangle `L` with `L L^T = A`; `None` when `A` is not positive definite.
pub fn cholesky(matrix: MatRef<'_, f64>) -> Option<Mat<f64>> {
    Some(matrix.llt(Side::Lower).ok()?.L().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symmetric() -> Mat<f64> {
        Mat::from_fn(3, 3, |i, j| if i == j { 2.0 + i as f64 } else { 0.5 })
    }

    #[test]
    fn decompositions_give_the_matrix_back() -> Result<(), LinearError> {
        let matrix = symmetric();
        let (values, vectors) = eigen(matrix.as_ref())?;
        let scaled = Mat::from_fn(3, 3, |i, j| vectors[(i, j)] * values[j]);
        let from_eigen = product(scaled.as_ref(), vectors.transpose(), 1.0);
        let root = cholesky(matrix.as_ref()).ok_or(LinearError::Eigen(3))?;
        let from_root = product(root.as_ref(), root.transpose(), 1.0);
        for (i, j) in (0..9).map(|at| (at / 3, at % 3)) {
            assert!((from_eigen[(i, j)] - matrix[(i, j)]).abs() < 1e-12);
            assert!((from_root[(i, j)] - matrix[(i, j)]).abs() < 1e-12);
        }
        // Of a positive matrix they are the eigenvalues.
        let mut singular = singular_values(matrix.as_ref())?;
        singular.sort_by(f64::total_cmp);
        for (a, b) in singular.iter().zip(&values) {
            assert!((a - b).abs() < 1e-12, "{singular:?} {values:?}");
        }
        Ok(())
    }

    #[test]
    fn what_has_no_decomposition_is_told() {
        assert!(cholesky(Mat::from_fn(2, 2, |_, _| 1.0).as_ref()).is_none());
        let broken = Mat::from_fn(2, 2, |_, _| f64::NAN);
        assert!(eigen(broken.as_ref()).is_err());
    }

    #[test]
    fn products_add_up() {
        let left = Mat::from_fn(2, 3, |i, j| (i + j) as f32);
        let right = Mat::from_fn(3, 2, |i, j| (2 * i + j) as f32);
        let mut output = Mat::zeros(2, 2);
        for add in [false, true] {
            product_f32(output.as_mut(), add, left.as_ref(), right.as_ref());
        }
        // Twice [[10, 13], [16, 22]].
        let expected = [[20.0_f32, 26.0], [32.0, 44.0]];
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            assert!((output[(i, j)] - expected[i][j]).abs() < 1e-6);
        }
    }
}
