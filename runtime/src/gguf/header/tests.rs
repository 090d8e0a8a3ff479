use proptest::prelude::*;

use super::super::tensor::GgmlType;
use super::*;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A key, the number of its value's type, and the value's bytes.
fn value(key: &str, kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&*text(key), &kind.to_le_bytes(), bytes].concat()
}

fn tensor(name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((dimensions.len() as u32).to_le_bytes());
    dimensions.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

fn file(values: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let counts = [tensors.len() as u64, values.len() as u64].map(u64::to_le_bytes).concat();
    [b"GGUF\x03\0\0\0".to_vec(), counts, values.concat(), tensors.concat()].concat()
}

fn list(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

fn read(bytes: &[u8]) -> Result<GgufHeader, GgufError> {
    GgufHeader::read(Path::new("m.gguf"), bytes)
}

/// A small model's header: values of every type.
fn whole() -> Vec<u8> {
    let names = list(8, 2, &[text("a"), text("b")].concat());
    let values = [
        value("general.architecture", 8, &text("qwen2")),
        value("qwen2.context_length", 4, &32_768_u32.to_le_bytes()),
        value("qwen2.block_count", 10, &24_u64.to_le_bytes()),
        value("qwen2.rope.freq_base", 6, &1e6_f32.to_le_bytes()),
        value("qwen2.heads", 9, &list(5, 2, &[2_i32, 3].map(i32::to_le_bytes).concat())),
        value("tokenizer.ggml.add_bos_token", 7, &[1]),
        value("tokenizer.ggml.eos_token_id", 5, &1_i32.to_le_bytes()),
        value("tokenizer.ggml.tokens", 9, &names),
        value("below", 11, &(-5_i64).to_le_bytes()),
    ];
    file(&values, &[tensor("token_embd.weight", &[32, 2], 8, 0), tensor("x", &[4], 0, 96)])
}

#[test]
fn values_and_tensors_are_read_by_name() {
    let header = read(&whole()).unwrap();
    assert_eq!(header.architecture(), Ok("qwen2"));
    assert_eq!(header.context_length(), Ok(32_768));
    assert_eq!(header.fact("block_count"), Ok(24));
    assert_eq!(header.real("qwen2.rope.freq_base"), Some(1e6));
    assert_eq!(header.numbers("qwen2.heads"), Some(vec![2, 3]));
    assert_eq!(header.flag("tokenizer.ggml.add_bos_token"), Some(true));
    assert_eq!(header.token("tokenizer.ggml.eos_token_id"), Some("b"));
    assert_eq!(header.value("below"), Some(&GgufValue::Negative(-5)));
    let table = header.tensor("token_embd.weight").unwrap();
    assert_eq!((table.kind, table.bytes(), table.offset), (GgmlType::Q8_0, Some(68), 0));
    assert_eq!(header.data_offset(), (whole().len() as u64).next_multiple_of(32));
    let lacking = header.fact("embedding_length").unwrap_err().to_string();
    assert_eq!(lacking, "m.gguf: its header has no `qwen2.embedding_length`");
}

#[track_caller]
fn check_refused(bytes: &[u8], expected: &str) {
    let why = read(bytes).unwrap_err().to_string();
    assert!(why.starts_with("m.gguf: ") && why.contains(expected), "{why}");
}

#[test]
fn a_broken_header_is_refused_in_a_sentence() {
    check_refused(b"", "it is not a GGUF file");
    check_refused(b"<html>Not found</html>", "it is not a GGUF file");
    check_refused(b"GGUF\x01\0\0\0", "version 1 of GGUF is not known");
    for end in [7, 20, 30, 100, whole().len() - 1] {
        check_refused(&whole()[..end], "it ends in its header");
    }
    let mut many = whole();
    many[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    check_refused(&many, "it claims 18446744073709551615 of something");
    check_refused(&file(&[value("a", 13, &[0; 8])], &[]), "values of kind 13 are not known");
    check_refused(&file(&[value("a", 9, &list(9, 1, &[0; 12]))], &[]), "a list of lists");
    check_refused(&file(&[], &[tensor("t", &[1; 5], 0, 0)]), "more than four dimensions");
    // A list that claims more than the file has does not reserve memory for it.
    check_refused(&file(&[value("a", 9, &list(12, 1 << 27, &[0; 80]))], &[]), "ends in its header");
}

#[test]
fn a_header_that_does_not_end_is_refused() {
    let endless = file(&[value("a", 9, &list(0, 1 << 27, &[]))], &[]);
    let bytes = std::io::Read::chain(&*endless, std::io::repeat(0));
    let why = GgufHeader::read(Path::new("m.gguf"), bytes).unwrap_err().to_string();
    assert!(why.contains("its header is longer than 134217728 bytes"), "{why}");
}

#[track_caller]
fn check_tensor(tensors: &[Vec<u8>], expected: &str) {
    let bytes = file(&[], tensors);
    let header = read(&bytes).unwrap();
    let why = header.check_tensors(header.data_offset() + 164).unwrap_err().to_string();
    assert!(why.contains(expected), "{why}");
}

#[test]
fn a_tensor_that_is_not_whole_is_refused_by_name() {
    let header = read(&whole()).unwrap();
    let length = header.data_offset() + 112;
    assert_eq!(header.check_tensors(length), Ok(()));
    let why = header.check_tensors(length - 1).unwrap_err().to_string();
    assert!(why.contains("cut off") && why.contains("the tensor `x`"), "{why}");
    check_tensor(&[tensor("t", &[33], 8, 0)], "Q8_0 stores blocks of 32 values");
    check_tensor(&[tensor("t", &[u64::MAX, 32], 0, 0)], "the tensor `t` cannot be right");
    check_tensor(&[tensor("t", &[4], 0, u64::MAX - 40)], "the tensor `t` cannot be right");
    // llama.cpp may have types that fixfly does not list.
    let unknown = read(&file(&[], &[tensor("t", &[4], 99, 0)])).unwrap();
    assert_eq!(unknown.check_tensors(0), Ok(()));
}

proptest! {
    /// The reader never panics, whatever a file has.
    #[test]
    fn any_bytes_give_a_header_or_a_sentence(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), start in any::<bool>(),
    ) {
        let bytes = if start { [&whole()[..8], &bytes].concat() } else { bytes };
        if let Ok(header) = read(&bytes) {
            let _ = header.check_tensors(bytes.len() as u64);
        }
    }

    /// A changed header never panics, and what is kept is no larger than a few times the file.
    #[test]
    fn a_changed_header_is_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = whole();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        match read(&bytes) {
            Ok(header) => {
                let _ = header.check_tensors(bytes.len() as u64);
                let _ = super::super::tokenizer_json(&header);
                prop_assert!(kept(&header) <= bytes.len() * 8);
            }
            Err(why) => prop_assert!(!why.to_string().contains('\n')),
        }
    }
}

/// Bytes of values that a header keeps.
fn kept(header: &GgufHeader) -> usize {
    let one = |value: &GgufValue| match value {
        GgufValue::Text(text) => text.len(),
        GgufValue::Numbers(numbers) => numbers.len() * 8,
        GgufValue::Texts(texts) => texts.iter().map(|text| 24 + text.len()).sum(),
        _ => 8,
    };
    header.values().values().map(one).sum()
}
