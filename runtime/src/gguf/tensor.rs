//! Names, sizes and types of a file's tensors.

/// A number of `ggml_type`: the format that a tensor's values are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GgmlType(pub u32);

/// Number, name, values of a block, bytes of a block (`ggml.h`, `ggml-common.h`).
const TYPES: [(GgmlType, &str, u64, u64); 32] = [
    (GgmlType::F32, "F32", 1, 4),
    (GgmlType::F16, "F16", 1, 2),
    (GgmlType::Q4_0, "Q4_0", 32, 18),
    (GgmlType::Q4_1, "Q4_1", 32, 20),
    (GgmlType::Q5_0, "Q5_0", 32, 22),
    (GgmlType::Q5_1, "Q5_1", 32, 24),
    (GgmlType::Q8_0, "Q8_0", 32, 34),
    (GgmlType(9), "Q8_1", 32, 36),
    (GgmlType::Q2_K, "Q2_K", 256, 84),
    (GgmlType::Q3_K, "Q3_K", 256, 110),
    (GgmlType::Q4_K, "Q4_K", 256, 144),
    (GgmlType::Q5_K, "Q5_K", 256, 176),
    (GgmlType::Q6_K, "Q6_K", 256, 210),
    (GgmlType(15), "Q8_K", 256, 292),
    (GgmlType(16), "IQ2_XXS", 256, 66),
    (GgmlType(17), "IQ2_XS", 256, 74),
    (GgmlType(18), "IQ3_XXS", 256, 98),
    (GgmlType(19), "IQ1_S", 256, 50),
    (GgmlType(20), "IQ4_NL", 32, 18),
    (GgmlType(21), "IQ3_S", 256, 110),
    (GgmlType(22), "IQ2_S", 256, 82),
    (GgmlType(23), "IQ4_XS", 256, 136),
    (GgmlType(24), "I8", 1, 1),
    (GgmlType(25), "I16", 1, 2),
    (GgmlType(26), "I32", 1, 4),
    (GgmlType(27), "I64", 1, 8),
    (GgmlType(28), "F64", 1, 8),
    (GgmlType(29), "IQ1_M", 256, 56),
    (GgmlType::BF16, "BF16", 1, 2),
    (GgmlType(34), "TQ1_0", 256, 54),
    (GgmlType(35), "TQ2_0", 256, 66),
    (GgmlType(39), "MXFP4", 32, 17),
];

impl GgmlType {
    /// 32-bit floats.
    pub const F32: GgmlType = GgmlType(0);
    /// IEEE 754 binary16.
    pub const F16: GgmlType = GgmlType(1);
    /// 4 bits and a scale for 32 values.
    pub const Q4_0: GgmlType = GgmlType(2);
    /// 4 bits, a scale and a minimum for 32 values.
    pub const Q4_1: GgmlType = GgmlType(3);
    /// 5 bits and a scale for 32 values.
    pub const Q5_0: GgmlType = GgmlType(6);
    /// 5 bits, a scale and a minimum for 32 values.
    pub const Q5_1: GgmlType = GgmlType(7);
    /// 8 bits and a scale for 32 values.
    pub const Q8_0: GgmlType = GgmlType(8);
    /// About 2.6 bits, in blocks of 256 values.
    pub const Q2_K: GgmlType = GgmlType(10);
    /// About 3.4 bits, in blocks of 256 values.
    pub const Q3_K: GgmlType = GgmlType(11);
    /// 4.5 bits, in blocks of 256 values.
    pub const Q4_K: GgmlType = GgmlType(12);
    /// 5.5 bits, in blocks of 256 values.
    pub const Q5_K: GgmlType = GgmlType(13);
    /// About 6.6 bits, in blocks of 256 values.
    pub const Q6_K: GgmlType = GgmlType(14);
    /// The upper half of 32-bit floats.
    pub const BF16: GgmlType = GgmlType(30);

    /// Its name in llama.cpp, such as `Q4_K`; `None` if fixfly does not list the type.
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|(_, name, ..)| *name)
    }

    /// Values of a block and bytes of a block; `None` if fixfly does not list the type.
    pub fn block(self) -> Option<(u64, u64)> {
        self.entry().map(|(.., values, bytes)| (*values, *bytes))
    }

    fn entry(self) -> Option<&'static (GgmlType, &'static str, u64, u64)> {
        TYPES.iter().find(|(one, ..)| *one == self)
    }
}

impl std::fmt::Display for GgmlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

/// The place and the type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// The fastest-changing dimension first: of a matrix, its columns and then its rows.
    pub dimensions: Vec<u64>,
    /// The type of its values.
    pub kind: GgmlType,
    /// In bytes, from the start of the tensor data.
    pub offset: u64,
}

impl GgufTensor {
    /// The number of values; `None` if it is larger than any file.
    pub fn elements(&self) -> Option<u64> {
        self.dimensions.iter().try_fold(1_u64, |all, one| all.checked_mul(*one))
    }

    /// Its size in the file, in bytes; `None` if the type is not listed, or if the rows are
    /// no whole blocks.
    pub fn bytes(&self) -> Option<u64> {
        let (values, bytes) = self.kind.block()?;
        let row = self.dimensions.first().copied().unwrap_or(1);
        let blocks = row.is_multiple_of(values).then_some(self.elements()? / values)?;
        blocks.checked_mul(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: GgmlType, dimensions: &[u64], name: &str, bytes: Option<u64>) {
        let tensor = GgufTensor { dimensions: dimensions.into(), kind, offset: 0 };
        assert_eq!((kind.to_string().as_str(), tensor.bytes()), (name, bytes));
    }

    /// Sizes of SmolLM2-135M's and Qwen2.5-Coder-0.5B's tensors, by their offsets.
    #[test]
    fn a_tensor_takes_the_bytes_of_its_blocks() {
        check(GgmlType::F32, &[576], "F32", Some(2304));
        check(GgmlType::F32, &[], "F32", Some(4));
        check(GgmlType::Q4_1, &[576, 1536], "Q4_1", Some(552_960));
        check(GgmlType::Q8_0, &[576, 49_152], "Q8_0", Some(30_081_024));
        check(GgmlType::Q5_0, &[896, 896], "Q5_0", Some(551_936));
        check(GgmlType::Q6_K, &[4864, 896], "Q6_K", Some(3_575_040));
        check(GgmlType::Q4_K, &[896, 4], "Q4_K", None);
        check(GgmlType(77), &[32], "type 77", None);
        check(GgmlType::F32, &[u64::MAX, 2], "F32", None);
    }
}
