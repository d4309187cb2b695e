//! Rotations as products of Givens rotations, with their gradient, by hand.
//!
//! `G(θ)` is the product over the pairs (p, q), p < q, in lexicographic order, the last pair's
//! rotation applied first. One with angle t turns rows p and q by
//! `(x_p, x_q) → (cos t · x_p − sin t · x_q, sin t · x_p + cos t · x_q)`.
//! Each touches two rows, so value and gradient cost O(r³) in all. A product and a sum are rounded once
//! together: as processors do it fastest, and the same on all.

use multiversion::multiversion;
use tch::{TchError, Tensor};

/// `G(θ)` with the angles that made it.
#[derive(Debug, Clone)]
pub struct Rotation {
    r: usize,
    /// (cos, sin) of each pair's angle, in lexicographic order of the pairs.
    turns: Vec<(f64, f64)>,
    /// G, row-major, (r, r).
    entries: Vec<f64>,
}

/// Gradients of a scalar with respect to m and θ.
#[derive(Debug, Clone, PartialEq)]
pub struct LambdaGradient {
    /// With respect to m.
    pub scale: f64,
    /// With respect to θ, in lexicographic order of the pairs.
    pub angles: Vec<f64>,
}

/// The pairs (p, q), p < q < r, in lexicographic order.
fn pairs(r: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    (0..r).flat_map(move |p| (p + 1..r).map(move |q| (p, q)))
}

/// Rows p < q of a row-major matrix.
fn rows(matrix: &mut [f64], r: usize, p: usize, q: usize) -> (&mut [f64], &mut [f64]) {
    let (head, tail) = matrix.split_at_mut(q * r);
    (&mut head[p * r..(p + 1) * r], &mut tail[..r])
}

/// Turns the two rows by the angle whose cosine and sine are given.
fn turn(x: &mut [f64], y: &mut [f64], (cos, sin): (f64, f64)) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
}

/// Columns that are turned together: a panel of them for a rank of some hundreds stays in the
/// nearest cache, a row of it in registers.
const WIDTH: usize = 16;

/// Some columns of an (r, r) matrix, row by row; the last panel's are filled up with zeros.
type Panel = Vec<[f64; WIDTH]>;

/// The columns of a panel that begins at `first`.
fn columns(r: usize, first: usize) -> std::ops::Range<usize> {
    first..r.min(first + WIDTH)
}

fn panel(matrix: &[f64], r: usize, first: usize) -> Panel {
    let row = |row: &[f64]| {
        let mut own = [0.0; WIDTH];
        let columns = &row[columns(r, first)];
        own[..columns.len()].copy_from_slice(columns);
        own
    };
    matrix.chunks(r).map(row).collect()
}

/// Applies all rotations to a panel that holds the identity's columns, the last pair's first.
/// Rows from `end` on, the column behind the panel's last, meet zeros alone until then.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn turn_all(panel: &mut [[f64; WIDTH]], turns: &[(f64, f64)], end: usize) {
    let mut before = pairs_before(panel.len(), end);
    for p in (0..end).rev() {
        let (head, tail) = panel.split_at_mut(p + 1);
        let mut x = head[p];
        let pairs = tail.len();
        let own = &turns[before - pairs..before];
        before -= pairs;
        // By number: compilers leave an iterator over both, from the end, to a call, and do not take
        // columns together then.
        for at in (0..pairs).rev() {
            let ((cos, sin), y) = (own[at], &mut tail[at]);
            for i in 0..WIDTH {
                let (a, b) = (x[i], y[i]);
                (x[i], y[i]) = (cos.mul_add(a, -(sin * b)), sin.mul_add(a, cos * b));
            }
        }
        head[p] = x;
    }
}

/// Undoes all rotations of a panel of `M = G(θ)` and of the gradient by it, the first pair's first,
/// and adds to each angle's gradient what these columns have of it: with `M = R(t) N`, the
/// derivative of M by t is `J M`, J the quarter turn of rows p and q.
///
/// What is left of M is zero before column p, so that the gradient there is never asked for again:
/// pairs from `end` on, the column behind the panel's last, are left out.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn undo_all(
    value: &mut [[f64; WIDTH]],
    gradient: &mut [[f64; WIDTH]],
    turns: &[(f64, f64)],
    end: usize,
    angles: &mut [f64],
) {
    let mut before = 0;
    let mut wedges = vec![[0.0; WIDTH]; value.len()];
    for p in 0..end {
        let (head, tail) = value.split_at_mut(p + 1);
        let (gradient_head, gradient_tail) = gradient.split_at_mut(p + 1);
        let (mut x, mut gx) = (head[p], gradient_head[p]);
        let pairs = tail.len();
        let gradient_tail = &mut gradient_tail[..pairs];
        let own = &turns[before..before + pairs];
        let wedges = &mut wedges[..pairs];
        for at in 0..pairs {
            let ((cos, sin), wedge) = (own[at], &mut wedges[at]);
            let (y, gy) = (&mut tail[at], &mut gradient_tail[at]);
            for i in 0..WIDTH {
                let (a, b, ga, gb) = (x[i], y[i], gx[i], gy[i]);
                wedge[i] = gb.mul_add(a, -(ga * b));
                (x[i], y[i]) = (cos.mul_add(a, sin * b), cos.mul_add(b, -(sin * a)));
                (gx[i], gy[i]) = (cos.mul_add(ga, sin * gb), cos.mul_add(gb, -(sin * ga)));
            }
        }
        // Apart from the turns, which do not wait for them then.
        for (at, wedge) in wedges.iter_mut().enumerate() {
            angles[before + at] += sum(wedge);
        }
        before += pairs;
    }
}

/// The sum of some columns' values, in halves, which vector instructions can take.
#[inline(always)]
fn sum(values: &mut [f64; WIDTH]) -> f64 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            values[i] += values[i + half];
        }
    }
    values[0]
}

/// (cos, sin) of each angle.
fn cosines_and_sines(angles: &[f64]) -> Result<Vec<(f64, f64)>, TchError> {
    let angles = Tensor::f_from_slice(angles)?;
    let cosines = Vec::<f64>::try_from(angles.f_cos()?)?;
    let sines = Vec::<f64>::try_from(angles.f_sin()?)?;
    Ok(cosines.into_iter().zip(sines).collect())
}

/// How many of the pairs (p, q), in lexicographic order, have p < `end`.
fn pairs_before(r: usize, end: usize) -> usize {
    end * r - end * (end + 1) / 2
}

impl Rotation {
    /// `G(θ)` for r (r − 1) / 2 angles.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn from_angles(r: usize, angles: &[f64]) -> Result<Self, TchError> {
        let turns = cosines_and_sines(angles)?;
        let mut entries = identity(r);
        for first in (0..r).step_by(WIDTH) {
            let columns = columns(r, first);
            let mut panel = panel(&entries, r, first);
            turn_all(&mut panel, &turns, columns.end);
            for (row, own) in entries.chunks_mut(r).zip(&panel) {
                row[columns.clone()].copy_from_slice(&own[..columns.len()]);
            }
        }
        Ok(Self { r, turns, entries })
    }

    /// G, row-major, (r, r).
    #[must_use]
    pub fn entries(&self) -> &[f64] {
        &self.entries
    }

    /// Gradients of m and θ, given the gradient with respect to `Λ = m G(θ)`, row-major.
    #[must_use]
    pub fn gradient(&self, scale: f64, lambda_gradient: &[f64]) -> LambdaGradient {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let gradient: Vec<f64> = lambda_gradient.iter().map(|g| g * scale).collect();
        let mut angles = vec![0.0; self.turns.len()];
        for first in (0..self.r).step_by(WIDTH) {
            let mut value = panel(&self.entries, self.r, first);
            let mut gradient = panel(&gradient, self.r, first);
            let end = columns(self.r, first).end;
            undo_all(&mut value, &mut gradient, &self.turns, end, &mut angles);
        }
        LambdaGradient {
            scale: dot(lambda_gradient, &self.entries),
            angles,
        }
    }
}

/// Angles whose `G` is the given rotation (orthogonal, determinant +1), row-major (r, r), and the
/// signs of the diagonal that are left where it is not a rotation.
///
/// Rotations are taken off from the outermost inwards: pair (p, q) is turned until its entry
/// (q, p) is zero, as in Golub & Van Loan, *Matrix Computations*, section 5.1.8.
#[must_use]
pub fn angles_of(r: usize, rotation: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut left = rotation.to_vec();
    let mut angles = Vec::with_capacity(r * (r.saturating_sub(1)) / 2);
    for (p, q) in pairs(r) {
        let (x, y) = rows(&mut left, r, p, q);
        let angle = y[p].atan2(x[p]);
        // The entries before column p are already zero in both rows.
        turn(&mut x[p..], &mut y[p..], (angle.cos(), -angle.sin()));
        angles.push(angle);
    }
    let signs = (0..r).map(|i| left[i * r + i].signum()).collect();
    (angles, signs)
}

/// The identity, row-major, (r, r).
#[must_use]
pub fn identity(r: usize) -> Vec<f64> {
    let mut entries = vec![0.0; r * r];
    entries.iter_mut().step_by(r + 1).for_each(|x| *x = 1.0);
    entries
}
