//! Rotations as products of Givens rotations, with their gradient, by hand.
//!
//! `G(θ)` is the product over the pairs (p, q), p < q, in lexicographic order, the last pair's
//! rotation applied first. One with angle t turns rows p and q by
//! `(x_p, x_q) → (cos t · x_p − sin t · x_q, sin t · x_p + cos t · x_q)`.
//! Each touches two rows, so value and gradient cost O(r³) in all.

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

/// `gy · x − gx · y` of four rows of one length. Summed in lanes of a fixed number, which vector
/// instructions can take side by side.
fn wedge((gx, gy): (&[f64], &[f64]), (x, y): (&[f64], &[f64])) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (head_x, tail_x) = x.as_chunks::<LANES>();
    let (head_y, tail_y) = y.as_chunks::<LANES>();
    let (head_gx, tail_gx) = gx.as_chunks::<LANES>();
    let (head_gy, tail_gy) = gy.as_chunks::<LANES>();
    let heads = head_x.iter().zip(head_y).zip(head_gx.iter().zip(head_gy));
    for ((x, y), (gx, gy)) in heads {
        for i in 0..LANES {
            sums[i] += gy[i] * x[i] - gx[i] * y[i];
        }
    }
    let tails = tail_x.iter().zip(tail_y).zip(tail_gx.iter().zip(tail_gy));
    let tail: f64 = tails.map(|((x, y), (gx, gy))| gy * x - gx * y).sum();
    sums.iter().sum::<f64>() + tail
}

impl Rotation {
    /// `G(θ)` for r (r − 1) / 2 angles.
    #[must_use]
    pub fn from_angles(r: usize, angles: &[f64]) -> Self {
        let turns: Vec<_> = angles.iter().map(|t| (t.cos(), t.sin())).collect();
        let mut entries = identity(r);
        for ((p, q), &angle) in pairs(r).zip(&turns).collect::<Vec<_>>().into_iter().rev() {
            // Only pairs from p on have turned anything, so columns before p are zero here.
            let (x, y) = rows(&mut entries, r, p, q);
            turn(&mut x[p..], &mut y[p..], angle);
        }
        Self { r, turns, entries }
    }

    /// G, row-major, (r, r).
    #[must_use]
    pub fn entries(&self) -> &[f64] {
        &self.entries
    }

    /// Gradients of m and θ, given the gradient with respect to `Λ = m G(θ)`, row-major.
    ///
    /// The sweep undoes one rotation after the other, from the outermost inwards: with
    /// `M = R(t) N`, the derivative of `M` by t is `J M`, J the quarter turn of rows p and q.
    #[must_use]
    pub fn gradient(&self, scale: f64, lambda_gradient: &[f64]) -> LambdaGradient {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let scale_gradient = dot(lambda_gradient, &self.entries);
        let mut value = self.entries.clone();
        let mut gradient: Vec<f64> = lambda_gradient.iter().map(|g| g * scale).collect();
        let mut angles = Vec::with_capacity(self.turns.len());
        for ((p, q), &(cos, sin)) in pairs(self.r).zip(&self.turns) {
            // What is left of the value is zero before column p, so the gradient there is never
            // asked for again.
            let (x, y) = rows(&mut value, self.r, p, q);
            let (gx, gy) = rows(&mut gradient, self.r, p, q);
            let (x, y, gx, gy) = (&mut x[p..], &mut y[p..], &mut gx[p..], &mut gy[p..]);
            angles.push(wedge((gx, gy), (x, y)));
            turn(x, y, (cos, -sin));
            turn(gx, gy, (cos, -sin));
        }
        LambdaGradient {
            scale: scale_gradient,
            angles,
        }
    }
}

/// Angles whose `G` is the given rotation (orthogonal, determinant +1), row-major (r, r), and the
/// signs of the diagonal that are left where it is no rotation.
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
        turn(x, y, (angle.cos(), -angle.sin()));
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
