//! Small dense linear algebra in f64 on the host.

/// Rows of a matrix, or the vectors of a batch.
pub(crate) type Matrix = Vec<Vec<f64>>;

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// `A x`.
pub(crate) fn multiply(matrix: &Matrix, vector: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, vector)).collect()
}

/// The solution of `A x = b` by elimination with partial pivoting.
pub(crate) fn solve_directly(matrix: &Matrix, rhs: &[f64]) -> Vec<f64> {
    let n = rhs.len();
    let mut rows: Matrix =
        matrix.iter().zip(rhs).map(|(row, b)| row.iter().copied().chain([*b]).collect()).collect();
    for pivot in 0..n {
        let best =
            (pivot..n).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()));
        rows.swap(pivot, best.unwrap());
        let (head, tail) = rows.split_at_mut(pivot + 1);
        for row in tail {
            let factor = row[pivot] / head[pivot][pivot];
            for (x, p) in row.iter_mut().zip(&head[pivot]).skip(pivot) {
                *x -= factor * p;
            }
        }
    }
    let mut x = vec![0.0; n];
    for i in (0..n).rev() {
        x[i] = (rows[i][n] - dot(&rows[i][i + 1..n], &x[i + 1..])) / rows[i][i];
    }
    x
}

/// The rows, made orthonormal one after the other.
pub(crate) fn orthonormal(mut rows: Matrix) -> Matrix {
    for i in 0..rows.len() {
        // Twice is enough (Kahan).
        for _ in 0..2 {
            for j in 0..i {
                let overlap = dot(&rows[i], &rows[j]);
                let other = rows[j].clone();
                rows[i].iter_mut().zip(other).for_each(|(x, y)| *x -= overlap * y);
            }
            let length = norm(&rows[i]);
            rows[i].iter_mut().for_each(|x| *x /= length);
        }
    }
    rows
}
