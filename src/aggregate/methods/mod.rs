//! The methods of aggregation, a file each.

pub mod fedex;
pub mod fedit;
pub mod fedsvd;
pub mod ffa;
pub mod flora;
pub mod rolora;
pub mod sorf;
