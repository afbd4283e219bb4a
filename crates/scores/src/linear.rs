//! The dense linear algebra that scores need: products, eigenvalues, singular values, Cholesky.
//!
//! Thin functions in concrete types over faer's generic algorithms, which are large: instantiated
//! here, they are compiled once and not with every change of a crate that uses them.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

/// Why a matrix has no decomposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinearError {
    /// Rows and columns of a matrix that is not square.
    #[error("a {0} by {1} matrix is not square")]
    NotSquare(usize, usize),
    /// Size of a symmetric matrix whose eigenvalues did not converge.
    #[error("the eigenvalues of a {0} by {0} matrix did not converge; are all entries finite?")]
    Eigen(usize),
    /// Size of a symmetric matrix without a Cholesky factor.
    #[error("a {0} by {0} matrix is not positive definite, or an entry is not finite")]
    NotPositiveDefinite(usize),
    /// Rows and columns of a matrix whose singular values did not converge.
    #[error("the singular values of a {0} by {1} matrix did not converge; are all entries finite?")]
    Singular(usize, usize),
}

/// `output <- output + factor left right`, on all threads.
pub(crate) fn add_product(
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

/// `output <- left right`, in single precision on the calling thread.
pub(crate) fn product_f32(output: MatMut<'_, f32>, left: MatRef<'_, f32>, right: MatRef<'_, f32>) {
    matmul(output, Accum::Replace, left, right, 1.0, Par::Seq);
}

/// `output <- output + left right`, in single precision on the calling thread.
pub(crate) fn add_product_f32(
    output: MatMut<'_, f32>,
    left: MatRef<'_, f32>,
    right: MatRef<'_, f32>,
) {
    matmul(output, Accum::Add, left, right, 1.0, Par::Seq);
}

/// The eigenvalues of a symmetric matrix in ascending order, and its eigenvectors as columns in the
/// same order. The lower triangle is used.
///
/// # Errors
///
/// [`LinearError::NotSquare`]; [`LinearError::Eigen`] when an entry is not finite or the iteration
/// does not converge.
pub fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), LinearError> {
    let size = square(matrix)?;
    if !is_finite(matrix) {
        return Err(LinearError::Eigen(size));
    }
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| LinearError::Eigen(size))?;
    let values = eigen.S().column_vector();
    Ok(((0..size).map(|i| values[i]).collect(), eigen.U().to_owned()))
}

/// The singular values of a matrix in descending order.
///
/// # Errors
///
/// [`LinearError::Singular`] when an entry is not finite or the iteration does not converge.
pub(crate) fn singular_values(matrix: MatRef<'_, f64>) -> Result<Vec<f64>, LinearError> {
    let error = LinearError::Singular(matrix.nrows(), matrix.ncols());
    if !is_finite(matrix) {
        return Err(error);
    }
    matrix.singular_values().map_err(|_| error)
}

/// Whether every entry is finite; otherwise iterations may end with nonsense.
fn is_finite(matrix: MatRef<'_, f64>) -> bool {
    matrix.col_iter().all(|column| column.iter().all(|x| x.is_finite()))
}

/// The number of rows and columns.
fn square(matrix: MatRef<'_, f64>) -> Result<usize, LinearError> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    if rows == columns { Ok(rows) } else { Err(LinearError::NotSquare(rows, columns)) }
}

/// The lower triangle `L` with `L L^T = A` of a symmetric matrix. The lower triangle of `A` is
/// used.
///
/// # Errors
///
/// [`LinearError::NotSquare`]; [`LinearError::NotPositiveDefinite`], also when an entry is not
/// finite.
pub fn cholesky(matrix: MatRef<'_, f64>) -> Result<Mat<f64>, LinearError> {
    let error = LinearError::NotPositiveDefinite(square(matrix)?);
    if !is_finite(matrix) {
        return Err(error);
    }
    Ok(matrix.llt(Side::Lower).map_err(|_| error)?.L().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symmetric() -> Mat<f64> {
        Mat::from_fn(3, 3, |i, j| if i == j { 2.0 + i as f64 } else { 0.5 })
    }

    #[test]
    fn decompositions_reproduce_the_matrix() -> Result<(), LinearError> {
        let matrix = symmetric();
        let (values, vectors) = eigen(matrix.as_ref())?;
        let scaled = Mat::from_fn(3, 3, |i, j| vectors[(i, j)] * values[j]);
        let from_eigen = product(scaled.as_ref(), vectors.transpose(), 1.0);
        let root = cholesky(matrix.as_ref())?;
        let from_root = product(root.as_ref(), root.transpose(), 1.0);
        for (i, j) in (0..9).map(|at| (at / 3, at % 3)) {
            assert!((from_eigen[(i, j)] - matrix[(i, j)]).abs() < 1e-12);
            assert!((from_root[(i, j)] - matrix[(i, j)]).abs() < 1e-12);
        }
        // Of a positive definite matrix they are the eigenvalues in reverse order.
        let singular = singular_values(matrix.as_ref())?;
        assert!(values.is_sorted() && singular.iter().rev().is_sorted());
        for (a, b) in singular.iter().rev().zip(&values) {
            assert!((a - b).abs() < 1e-12, "{singular:?} {values:?}");
        }
        Ok(())
    }

    #[test]
    fn singular_and_non_finite_matrices_are_refused() {
        let singular = Mat::from_fn(2, 2, |_, _| 1.0);
        let refused = |m: &Mat<f64>| cholesky(m.as_ref()).err();
        assert_eq!(refused(&singular), Some(LinearError::NotPositiveDefinite(2)));
        for bad in [f64::NAN, f64::INFINITY] {
            for place in [(0, 0), (0, 1), (1, 0), (2, 2)] {
                let mut broken = symmetric();
                broken[place] = bad;
                assert_eq!(eigen(broken.as_ref()).err(), Some(LinearError::Eigen(3)));
                assert_eq!(refused(&broken), Some(LinearError::NotPositiveDefinite(3)));
                let broken = singular_values(broken.as_ref());
                assert_eq!(broken.err(), Some(LinearError::Singular(3, 3)));
            }
        }
    }

    #[test]
    fn non_square_matrices_are_refused() {
        let wide = Mat::from_fn(2, 3, |i, j| (i + j) as f64);
        for matrix in [wide.as_ref(), wide.transpose()] {
            let error = Some(LinearError::NotSquare(matrix.nrows(), matrix.ncols()));
            assert_eq!(eigen(matrix).err(), error);
            assert_eq!(cholesky(matrix).err(), error);
            assert_eq!(singular_values(matrix).map(|s| s.len()), Ok(2));
        }
    }

    #[test]
    fn products_are_scaled_and_added() {
        let left = Mat::from_fn(2, 3, |i, j| (i + j) as f64);
        let right = Mat::from_fn(3, 2, |i, j| (2 * i + j) as f64);
        // [[10, 13], [16, 22]].
        let mut output = Mat::from_fn(2, 2, |i, j| (100 * i + j) as f64);
        add_product(output.as_mut(), left.as_ref(), right.as_ref(), -0.5);
        let scaled = product(left.as_ref(), right.as_ref(), 3.0);
        let expected = [[-5.0, -5.5], [92.0, 90.0]];
        let tripled = [[30.0, 39.0], [48.0, 66.0]];
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            assert!((output[(i, j)] - expected[i][j]).abs() < 1e-12);
            assert!((scaled[(i, j)] - tripled[i][j]).abs() < 1e-12);
        }
    }

    #[test]
    fn f32_products_overwrite_or_add() {
        let left = Mat::from_fn(2, 3, |i, j| (i + j) as f32);
        let right = Mat::from_fn(3, 2, |i, j| (2 * i + j) as f32);
        let mut output = Mat::from_fn(2, 2, |_, _| 7.0);
        product_f32(output.as_mut(), left.as_ref(), right.as_ref());
        add_product_f32(output.as_mut(), left.as_ref(), right.as_ref());
        // Twice [[10, 13], [16, 22]].
        let expected = [[20.0_f32, 26.0], [32.0, 44.0]];
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            assert!((output[(i, j)] - expected[i][j]).abs() < 1e-6);
        }
    }
}
