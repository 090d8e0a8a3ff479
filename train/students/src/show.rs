//! A training as text: its estimated cost, and rows with their loss mask.

use fixfly_runtime::{printable, thousands};

use crate::plan::{Plan, bytes_in_words};
use crate::ready::Sample;
use crate::settings::{MatmulPrecision, Method, Precision};

/// Characters to keep at each end of a long piece.
const SIDE: usize = 200;

impl Plan {
    /// The plan in three lines.
    pub fn text(&self, method: Method, precision: (Precision, MatmulPrecision)) -> String {
        let dtype = match precision {
            (Precision::F32, MatmulPrecision::Highest) => "f32",
            (Precision::F32, MatmulPrecision::Medium) => {
                "f32 (products with frozen weights of bf16)"
            }
            (Precision::Bf16, _) => "bf16",
        };
        let base = match self.stored {
            None => String::new(),
            Some(bytes) => format!(
                "; frozen weights take {} and are dequantised block by block",
                bytes_in_words(bytes)
            ),
        };
        let (train, validation) = self.rows;
        let (tokens, learned) = self.tokens;
        let (kept, layers) = self.no_recompute_layers;
        format!(
            "{}: {} of {} parameters are trained, in {dtype}{base}\n\
             {train} training rows ({tokens} tokens, {learned} with loss; the longest row has {}), {validation} validation rows\n\
             {} steps ({} per epoch)  about {} of memory, {kept} of {layers} layers not recomputed",
            method.name(),
            thousands(self.learned as u64),
            thousands(self.parameters as u64),
            self.longest,
            self.steps,
            self.steps_per_epoch,
            bytes_in_words(self.memory),
        )
    }
}

impl Sample {
    /// The row as text: tokens with loss are green, or between ⟦ ⟧ without colours.
    pub fn text(&self, color: bool) -> String {
        let mut text = format!("--- {}\n", printable(&self.row));
        for (piece, learned) in &self.pieces {
            // Escaped before it gets a colour: it may contain colours of its own.
            let piece = printable(&middle_out(piece)).into_owned();
            text += &match (learned, color) {
                (false, _) => piece,
                (true, true) => format!("\u{1b}[32m{piece}\u{1b}[0m"),
                (true, false) => format!("⟦{piece}⟧"),
            };
        }
        text + "\n"
    }
}

fn middle_out(piece: &str) -> String {
    let count = piece.chars().count();
    if count <= 3 * SIDE {
        return piece.to_string();
    }
    let head: String = piece.chars().take(SIDE).collect();
    let tail: String = piece.chars().skip(count - SIDE).collect();
    format!("{head}\n[… {} characters …]\n{tail}", count - 2 * SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_with_loss_are_marked() {
        let pieces = vec![("<user>fix it".into(), false), ("x".repeat(700), true)];
        let sample = Sample { row: "a".into(), pieces };
        let side = "x".repeat(SIDE);
        let expected = format!("--- a\n<user>fix it⟦{side}\n[… 300 characters …]\n{side}⟧\n");
        assert_eq!(sample.text(false), expected);
        assert!(sample.text(true).contains("\u{1b}[32mx"));
    }
}
