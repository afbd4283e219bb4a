//! The dense linear algebra that scores need: products, eigenvalues, singular values, Cholesky.
//!
//! Thin functions in concrete types over faer's generic algorithms, which are large: instantiated
//! here, they are compiled once and not with every change of a crate that uses them.

use anyhow::{Context, Result};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side, linalg::matmul::matmul};

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
pub fn product(left: MatRef<'_, f64>, right: MatRef<'_, f64>, factor: f64) -> Mat<f64> {
    let mut output = Mat::zeros(left.nrows(), right.ncols());
    add_product(output.as_mut(), left, right, factor);
    output
}

/// The eigenvalues of a symmetric matrix in ascending order, and its eigenvectors as columns in the
/// same order. The lower triangle is used.
pub fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let eigen = finite(matrix).and_then(|matrix| matrix.self_adjoint_eigen(Side::Lower).ok());
    let eigen = eigen.with_context(|| not_converged("eigenvalues", matrix))?;
    Ok((eigen.S().column_vector().iter().copied().collect(), eigen.U().to_owned()))
}

/// The singular values of a matrix in descending order.
pub(crate) fn singular_values(matrix: MatRef<'_, f64>) -> Result<Vec<f64>> {
    let values = finite(matrix).and_then(|matrix| matrix.singular_values().ok());
    values.with_context(|| not_converged("singular values", matrix))
}

/// The lower triangle `L` with `L L^T = A` of a symmetric matrix that must be positive definite.
/// The lower triangle of `A` is used.
pub fn cholesky(matrix: MatRef<'_, f64>) -> Result<Mat<f64>> {
    let factor = finite(matrix).and_then(|matrix| matrix.llt(Side::Lower).ok());
    let factor = factor.with_context(|| {
        let size = matrix.nrows();
        format!("a {size} by {size} matrix is not positive definite, or an entry is not finite")
    })?;
    Ok(factor.L().to_owned())
}

/// The matrix if every entry is finite; otherwise iterations may end with nonsense.
fn finite(matrix: MatRef<'_, f64>) -> Option<MatRef<'_, f64>> {
    matrix.col_iter().all(|column| column.iter().all(|x| x.is_finite())).then_some(matrix)
}

fn not_converged(values: &str, matrix: MatRef<'_, f64>) -> String {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    format!(
        "the {values} of a {rows} by {columns} matrix did not converge; are all entries finite?"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symmetric() -> Mat<f64> {
        Mat::from_fn(3, 3, |i, j| if i == j { 2.0 + i as f64 } else { 0.5 })
    }

    #[test]
    fn decompositions_reproduce_the_matrix() -> Result<()> {
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
        let wide = Mat::from_fn(2, 3, |i, j| (i + j) as f64);
        assert_eq!(singular_values(wide.as_ref())?.len(), 2);
        Ok(())
    }

    #[test]
    fn singular_and_non_finite_matrices_are_refused() {
        let singular = Mat::from_fn(2, 2, |_, _| 1.0);
        let message = cholesky(singular.as_ref()).unwrap_err().to_string();
        assert!(message.contains("a 2 by 2 matrix is not positive definite"), "{message}");
        for bad in [f64::NAN, f64::INFINITY] {
            for place in [(0, 0), (0, 1), (1, 0), (2, 2)] {
                let mut broken = symmetric();
                broken[place] = bad;
                assert!(cholesky(broken.as_ref()).is_err());
                for error in [
                    eigen(broken.as_ref()).map(drop).unwrap_err(),
                    singular_values(broken.as_ref()).map(drop).unwrap_err(),
                ] {
                    assert!(error.to_string().contains("a 3 by 3 matrix did not"), "{error}");
                }
            }
        }
    }
}
