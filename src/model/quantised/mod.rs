//! Frozen weights in fewer bits than float32: `--base_precision`.
//!
//! As with bitsandbytes, these are the weights of the linear layers within the transformer layers.
//! Embeddings, norms, biases, heads, an untied output layer and whatever is trained in full stay in
//! float32. A weight is brought to float32 where it is multiplied by float32 activations, and again in
//! the backward pass; a lane never has two of them at once. This is so for bfloat16 too, whether or not
//! a processor multiplies such numbers, so that all give the same bits. Where `--precision` asks for
//! products of narrower numbers, the weight is rounded to them from float32; a bfloat16 weight is then
//! multiplied as it lies, unless something was added to it.
//!
//! What aggregation adds to the base lies beside it in float32, and is added to a weight when that is
//! brought to float32: the codes never change, and nothing that aggregation adds is rounded to them.
//! Model and results are those of a float32 model that has the codes' values.
//!
//! | file | holds |
//! |---|---|
//! | [`precision`] | what a weight is held in |
//! | [`weight`] | a weight on the host |
//! | [`held`] | the same on a device, to be multiplied by |
//! | [`nf4`], [`int8`] | the codes |

pub mod held;
pub mod int8;
pub mod nf4;
pub mod precision;
#[cfg(test)]
mod tests;
pub mod weight;
