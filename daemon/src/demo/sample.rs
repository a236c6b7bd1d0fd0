//! What is submitted.

/// 420 lines as web servers log them. In the program, so that one that was installed has them too.
pub(super) const SAMPLE: &[u8] = include_bytes!("../../../samples/access.log");

/// The lines, without their ends.
pub(super) fn lines() -> Vec<&'static [u8]> {
    let text = SAMPLE.strip_suffix(b"\n").unwrap_or(SAMPLE);
    text.split(|byte| *byte == b'\n').collect()
}
