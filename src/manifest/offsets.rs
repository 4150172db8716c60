//! From characters, which the YAML parser counts, to bytes, which everything else counts.

/// Between these many characters the offset is known, the rest is counted.
const STEP: usize = 64;

/// Where in a text its characters begin. Takes one number for 64 characters, and none for a text of ASCII.
pub(super) struct Offsets {
    /// The byte at which every 64th character begins; empty for ASCII.
    steps: Vec<usize>,
}

impl Offsets {
    /// The offsets of `text`.
    pub(super) fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self { steps: Vec::new() };
        }
        Self { steps: text.char_indices().step_by(STEP).map(|(byte, _)| byte).collect() }
    }

    /// The byte at which the `index`th character begins; the end of the text for one past it.
    pub(super) fn byte(&self, text: &str, index: usize) -> usize {
        if self.steps.is_empty() {
            return index.min(text.len());
        }
        let Some(from) = self.steps.get(index / STEP).copied() else { return text.len() };
        let rest = text.get(from..).unwrap_or("");
        rest.char_indices().nth(index % STEP).map_or(text.len(), |(byte, _)| from + byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_found() {
        let text = "aä€𝄞".repeat(100);
        let offsets = Offsets::new(&text);
        for (index, (byte, _)) in text.char_indices().enumerate() {
            assert_eq!(offsets.byte(&text, index), byte);
        }
        assert_eq!(offsets.byte(&text, 9999), text.len());
    }
}
