//! Digests that stand anywhere in a text, whatever it means by them.

use super::{Algorithm, Digest};

/// Every `algorithm:hex` in `text`, in order, with repetitions.
#[must_use]
pub fn digests_mentioned(text: &[u8]) -> Vec<Digest> {
    let mut mentioned = Vec::new();
    let mut rest = text;
    while let Some(colon) = rest.iter().position(|byte| *byte == b':') {
        let (before, after) = rest.split_at(colon);
        let after = after.get(1..).unwrap_or_default();
        for algorithm in Algorithm::ALL {
            let hex = after.get(..algorithm.length() * 2).filter(|_| before.ends_with(algorithm.as_str().as_bytes()));
            let mut output = [0; 64];
            if let (Some(hex), Some(output)) = (hex, output.get_mut(..algorithm.length()))
                && hex::decode_to_slice(hex, output).is_ok()
            {
                mentioned.extend(Digest::from_output(algorithm, output));
            }
        }
        rest = after;
    }
    mentioned
}
