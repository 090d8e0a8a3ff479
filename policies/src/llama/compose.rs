//! Composes several adapters into one, because a context of llama-cpp-2 takes only
//! one. A sum of low-rank changes is a low-rank change: `s₁B₁A₁ + s₂B₂A₂` is
//! `[s₁B₁ s₂B₂]` times `A₁` stacked on `A₂`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use fixfly_runtime::{GgmlType, GgufHeader, GgufTensor};

use crate::Lora;

const ALIGNMENT: usize = 32;
/// The only tensor whose matrices are swapped: it is looked up, not multiplied.
const EMBEDDING: &str = "token_embd.weight";

/// Writes an adapter with the combined effect of all of these.
///
/// # Errors
/// One sentence that names what cannot be read, added or written.
pub(super) fn compose(loras: &[Lora], file: &mut File) -> Result<(), String> {
    let mut changes = BTreeMap::<String, Change>::new();
    let mut architecture = String::new();
    for lora in loras {
        let cannot = |why: &dyn std::fmt::Display| format!("{}: {why}", lora.file.display());
        let header = GgufHeader::open(&lora.file).map_err(|fault| fault.to_string())?;
        header.text("general.architecture").unwrap_or_default().clone_into(&mut architecture);
        for (name, a) in header.tensors() {
            let Some(tensor) = name.strip_suffix(".lora_a") else { continue };
            let Some(b) = header.tensor(&format!("{tensor}.lora_b")) else { continue };
            let change = read(&lora.file, &header, (a, b), tensor == EMBEDDING, lora.scale);
            let change =
                change.map_err(|why| cannot(&format!("its change of `{tensor}`: {why}")))?;
            match changes.remove(tensor) {
                None => changes.insert(tensor.to_string(), change),
                Some(before) => changes.insert(tensor.to_string(), before.and(change)),
            };
        }
    }
    write(&architecture, changes, file)
        .map_err(|error| format!("adapters cannot be added: {error}"))
}

/// The two matrices of a change. Both have one row per rank; `b` is transposed when it
/// is written.
struct Change {
    /// Whether the matrices are swapped, as an embedding's are.
    swapped: bool,
    a: Vec<Vec<f32>>,
    b: Vec<Vec<f32>>,
}

impl Change {
    fn and(mut self, other: Change) -> Change {
        self.a.extend(other.a);
        self.b.extend(other.b);
        self
    }
}

/// The factor that llama.cpp applies to an adapter: `llama_adapter_lora_weight::get_scale`.
fn scale(header: &GgufHeader, rank: u64, asked: f32) -> f32 {
    match header.real("adapter.lora.alpha") {
        Some(alpha) if alpha != 0.0 => asked * alpha as f32 / rank as f32,
        _ => asked,
    }
}

fn read(
    path: &Path,
    header: &GgufHeader,
    (a, b): (&GgufTensor, &GgufTensor),
    swapped: bool,
    asked: f32,
) -> io::Result<Change> {
    let mut file = File::open(path)?;
    let (left, right) = (numbers(&mut file, header, a)?, numbers(&mut file, header, b)?);
    let rank = b.dimensions[0];
    let a = match swapped {
        true => columns(&left, a.dimensions[0]),
        false => rows(&left, a.dimensions[0]),
    };
    let scale = scale(header, rank, asked);
    let mut b = columns(&right, rank);
    b.iter_mut().flatten().for_each(|number| *number *= scale);
    Ok(Change { swapped, a, b })
}

fn rows(numbers: &[f32], count: u64) -> Vec<Vec<f32>> {
    numbers.chunks(count as usize).map(<[f32]>::to_vec).collect()
}

fn columns(numbers: &[f32], count: u64) -> Vec<Vec<f32>> {
    let column = |at| numbers.iter().skip(at).step_by(count as usize).copied().collect();
    (0..count as usize).map(column).collect()
}

fn numbers(file: &mut File, header: &GgufHeader, tensor: &GgufTensor) -> io::Result<Vec<f32>> {
    let odd = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    if tensor.dimensions.len() != 2 {
        return Err(odd("only matrices can be added to another adapter's".into()));
    }
    let (bytes_each, number): (usize, fn(&[u8]) -> f32) = match tensor.kind {
        GgmlType::F32 => (4, |bytes| {
            f32::from_bits(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        }),
        GgmlType::F16 => (2, |bytes| half(u16::from_le_bytes([bytes[0], bytes[1]]))),
        GgmlType::BF16 => {
            (2, |bytes| f32::from_bits(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) << 16))
        }
        kind => {
            return Err(odd(format!(
                "numbers of the type {kind} cannot be added to another adapter's: write it in 16 or 32 bits"
            )));
        }
    };
    file.seek(SeekFrom::Start(header.data_offset().saturating_add(tensor.offset)))?;
    let mut bytes = vec![0; tensor.dimensions.iter().product::<u64>() as usize * bytes_each];
    file.read_exact(&mut bytes)?;
    Ok(bytes.chunks(bytes_each).map(number).collect())
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, part) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff) / 1024.0);
    sign * match exponent {
        0 => part * 2_f32.powi(-14),
        31 if part == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + part) * 2_f32.powi(exponent - 15),
    }
}

fn write(architecture: &str, changes: BTreeMap<String, Change>, file: &mut File) -> io::Result<()> {
    let mut tensors = Vec::new();
    for (name, change) in changes {
        let rank = change.a.len();
        let (columns, rows) = (change.a[0].len(), change.b[0].len());
        let a = match change.swapped {
            true => ([rank, columns], transposed(&change.a)),
            false => ([columns, rank], change.a.concat()),
        };
        tensors.push((format!("{name}.lora_a"), a.0, a.1));
        tensors.push((format!("{name}.lora_b"), [rank, rows], transposed(&change.b)));
    }
    let mut head = b"GGUF\x03\0\0\0".to_vec();
    head.extend((tensors.len() as u64).to_le_bytes());
    // No alpha: the numbers already contain each adapter's factor.
    let metadata = [
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
        ("general.architecture", architecture),
    ];
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut head, key);
        head.extend(8_u32.to_le_bytes());
        text(&mut head, value);
    }
    let mut offset = 0_u64;
    for (name, sizes, numbers) in &tensors {
        text(&mut head, name);
        head.extend((sizes.len() as u32).to_le_bytes());
        sizes.iter().for_each(|&size| head.extend((size as u64).to_le_bytes()));
        head.extend(0_u32.to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset += (numbers.len() * 4).next_multiple_of(ALIGNMENT) as u64;
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    file.write_all(&head)?;
    for (_, _, numbers) in &tensors {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        file.write_all(&bytes)?;
    }
    file.flush()
}

/// Transposes: the first number of each row, then the second.
fn transposed(rows: &[Vec<f32>]) -> Vec<f32> {
    (0..rows[0].len()).flat_map(|at| rows.iter().map(move |row| row[at])).collect()
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_ieee_754() {
        let cases =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8)];
        for (bits, expected) in cases {
            assert_eq!(half(bits), expected);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn columns_are_woven_back() {
        let numbers: Vec<f32> = (0..12).map(|at| at as f32).collect();
        assert_eq!(transposed(&columns(&numbers, 3)), numbers);
        assert_eq!(rows(&numbers, 4).concat(), numbers);
    }
}
