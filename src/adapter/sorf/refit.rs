//! What the server does with SORF-VeRA: a thin SVD, and fits of b, m and θ to it. Batched over
//! L layers of equal shape, in float64.

use tch::{Kind, Tensor};

use crate::adapter::factors::Factors;
use crate::adapter::sorf::givens;
use crate::base::tensors::HostTensor;
use crate::model::ModelError;

/// `left · right = U Σ Vᵀ`, of the factors' rank r.
#[derive(Debug)]
pub struct ThinSvd {
    /// U, (L, d_out, r).
    pub u: Tensor,
    /// The diagonal of Σ, (L, r), descending.
    pub sigma: Tensor,
    /// Vᵀ, (L, r, d_in).
    pub vt: Tensor,
}

impl ThinSvd {
    /// The SVD of a product of factors by two thin QRs and one of an r×r matrix.
    ///
    /// # Errors
    /// If libtorch fails to converge.
    pub fn of(factors: &Factors) -> Result<Self, ModelError> {
        let (q_left, r_left) = Tensor::f_linalg_qr(&factors.left, "reduced")?;
        let (q_right, r_right) = Tensor::f_linalg_qr(&factors.right.transpose(1, 2), "reduced")?;
        let core = r_left.f_matmul(&r_right.f_transpose(1, 2)?)?;
        let (u, sigma, vt) = svd(&core)?;
        Ok(Self {
            u: q_left.f_matmul(&u)?,
            sigma,
            vt: vt.f_matmul(&q_right.f_transpose(1, 2)?)?,
        })
    }
}

/// The SVD of square matrices, by the same driver everywhere on the CPU.
fn svd(matrix: &Tensor) -> Result<(Tensor, Tensor, Tensor), ModelError> {
    // tch wants a driver's name and passes it on; libtorch takes none on the CPU, so there the
    // deprecated spelling without one has to do. It returns V rather than Vᵀ.
    let (u, sigma, v) = matrix.f_svd(true, true)?;
    Ok((u, sigma, v.f_transpose(-2, -1)?))
}

/// b, as (b_re, b_im), each (L, d_out / 2), with `Γ(b) B` nearest to the target.
///
/// With complex rows `z_B[j] = B[2j] + i B[2j+1]`, `b_j = ⟨z_B[j], z_T[j]⟩ / ‖z_B[j]‖²`.
///
/// # Shapes
/// `b` (d_out, r); `target` (L, d_out, r).
///
/// # Errors
/// If the device fails.
pub fn fit_gamma(b: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor), ModelError> {
    let (d_out, r) = b.size2()?;
    let pairs = b.f_view([1, d_out / 2, 2, r])?;
    let (bx, by) = (pairs.f_select(2, 0)?, pairs.f_select(2, 1)?);
    let pairs = target.f_contiguous()?.f_view([-1, d_out / 2, 2, r])?;
    let (tx, ty) = (pairs.f_select(2, 0)?, pairs.f_select(2, 1)?);
    let sum = |x: Tensor| x.f_sum_dim_intlist(-1, false, Kind::Double);
    let norm = sum(bx.f_mul(&bx)?.f_add(&by.f_mul(&by)?)?)?;
    let re = sum(bx.f_mul(&tx)?.f_add(&by.f_mul(&ty)?)?)?;
    let im = sum(bx.f_mul(&ty)?.f_sub(&by.f_mul(&tx)?)?)?;
    Ok((re.f_div(&norm)?, im.f_div(&norm)?))
}

/// `Λ` with `Λ A` nearest to the target in least squares: `target A⁺`, (L, r, r).
///
/// # Shapes
/// `a` (r, d_in) of full rank; `target` (L, r, d_in).
///
/// # Errors
/// If libtorch fails.
pub fn solve_right(target: &Tensor, a: &Tensor) -> Result<Tensor, ModelError> {
    let gram = a.f_matmul(&a.f_tr()?)?;
    let projected = target.f_matmul(&a.f_tr()?)?;
    Ok(Tensor::f_linalg_solve(&gram, &projected.f_transpose(1, 2)?, true)?.f_transpose(1, 2)?)
}

/// The rotation nearest to each matrix, and the matrix's singular values.
#[derive(Debug)]
pub struct Polar {
    /// Orthogonal with determinant +1, (L, r, r).
    pub rotation: Tensor,
    /// (L, r), descending; where the nearest orthogonal matrix has determinant −1, the last one
    /// counts against the rotation and is negative here.
    pub sigma: Tensor,
}

/// The polar factor with determinant +1: where it would be −1, the direction of the smallest
/// singular value is turned round (Kabsch, 1976; Umeyama, 1991).
///
/// # Errors
/// If libtorch fails to converge.
pub fn nearest_rotation(matrix: &Tensor) -> Result<Polar, ModelError> {
    let (u, sigma, vt) = svd(matrix)?;
    let determinant = Tensor::f_linalg_det(&u.f_matmul(&vt)?)?.f_sign()?;
    let signs = sigma.f_ones_like()?;
    signs.f_select(1, -1)?.f_copy_(&determinant)?;
    let rotation = u.f_mul(&signs.f_unsqueeze(1)?)?.f_matmul(&vt)?;
    Ok(Polar {
        rotation,
        sigma: sigma.f_mul(&signs)?,
    })
}

/// m and θ per layer of `m · rotation`, as the tensors that are kept.
///
/// # Shapes
/// `rotation` (L, r, r); `scales` (L).
///
/// # Errors
/// If the device fails.
pub fn parameters(
    rotation: &Tensor,
    scales: &Tensor,
) -> Result<Vec<(HostTensor, HostTensor)>, ModelError> {
    let r = rotation.size()[1] as usize;
    let host = |t: &Tensor| -> Result<Vec<f64>, ModelError> {
        Ok(Vec::try_from(
            &t.f_to_device(tch::Device::Cpu)?
                .f_contiguous()?
                .f_flatten(0, -1)?,
        )?)
    };
    let (entries, scales) = (host(rotation)?, host(scales)?);
    let fitted = entries.chunks(r * r).zip(scales).map(|(entries, scale)| {
        let (angles, _) = givens::angles_of(r, entries);
        let angles: Vec<f32> = angles.into_iter().map(|t| t as f32).collect();
        let angles = HostTensor::new(vec![angles.len() as i64], angles)?;
        Ok((HostTensor::full(&[1], scale as f32), angles))
    });
    fitted
        .collect::<Result<_, crate::base::tensors::TensorError>>()
        .map_err(ModelError::from)
}
