//! Content encodings, decoded while the bytes arrive. We ask for none, but some servers
//! and proxies compress all the same.

use std::io::{self, ErrorKind, Write};

use brotli_decompressor::writer::DecompressorWriter;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

const BUFFER: usize = 4096;

/// Decodes a body.
pub(super) struct Decoder {
    /// In the order in which they are undone.
    layers: Vec<Layer>,
}

enum Layer {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// With zlib's header, as the standard says, or without, as some servers send it: the
    /// first two bytes tell.
    Deflate(Vec<u8>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
    Brotli(Box<DecompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
}

impl Decoder {
    /// A decoder for this `content-encoding`.
    pub(super) fn new(encodings: &str) -> Result<Decoder, String> {
        let names = encodings.split(',').map(|name| name.trim().to_lowercase());
        let mut layers = Vec::new();
        for name in names.filter(|name| !matches!(&**name, "" | "identity" | "none")) {
            layers.push(match &*name {
                "gzip" | "x-gzip" => Layer::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
                "deflate" => Layer::Deflate(Vec::new()),
                "br" => Layer::Brotli(Box::new(DecompressorWriter::new(Vec::new(), BUFFER))),
                "zstd" => {
                    let decoder = zstd::stream::write::Decoder::new(Vec::new());
                    Layer::Zstd(Box::new(decoder.map_err(|why| why.to_string())?))
                }
                name => {
                    return Err(format!(
                        "the answer has the content encoding `{name}`, which fixfly does not read"
                    ));
                }
            });
        }
        layers.reverse();
        Ok(Decoder { layers })
    }

    /// Decodes more bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        for layer in &mut self.layers {
            bytes = layer.push(&bytes)?;
        }
        Ok(bytes)
    }
}

impl Layer {
    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if let Layer::Deflate(head) = self {
            head.extend_from_slice(bytes);
            let [first, second, ..] = head[..] else { return Ok(Vec::new()) };
            let zlib = first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0;
            let head = std::mem::take(head);
            *self = match zlib {
                true => Layer::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
                false => Layer::Raw(Box::new(DeflateDecoder::new(Vec::new()))),
            };
            return self.push(&head);
        }
        match self {
            Layer::Gzip(decoder) => written(&mut **decoder, bytes, |decoder| decoder.get_mut()),
            Layer::Zlib(decoder) => written(&mut **decoder, bytes, |decoder| decoder.get_mut()),
            Layer::Raw(decoder) => written(&mut **decoder, bytes, |decoder| decoder.get_mut()),
            Layer::Brotli(decoder) => written(&mut **decoder, bytes, |decoder| decoder.get_mut()),
            Layer::Zstd(decoder) => written(&mut **decoder, bytes, |decoder| decoder.get_mut()),
            Layer::Deflate(_) => Ok(Vec::new()),
        }
    }
}

/// What a decoder makes of more bytes.
fn written<D: Write>(
    decoder: &mut D,
    bytes: &[u8],
    out: impl FnOnce(&mut D) -> &mut Vec<u8>,
) -> io::Result<Vec<u8>> {
    match decoder.write_all(bytes).and_then(|()| decoder.flush()) {
        // Bytes after the end: other clients ignore them, too.
        Err(why) if why.kind() != ErrorKind::WriteZero => Err(why),
        _ => Ok(std::mem::take(out(decoder))),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = b"data: {\"choices\": []}\n\ndata: {\"choices\": []}\n\ndata: [DONE]\n\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(encodings: &str, bytes: &[u8]) {
        for size in [1, 2, 7, bytes.len()] {
            let mut decoder = Decoder::new(encodings).unwrap();
            let mut text = Vec::new();
            for part in bytes.chunks(size) {
                text.extend(decoder.push(part).unwrap());
            }
            assert_eq!(text, TEXT, "{encodings} in parts of {size}");
        }
    }

    #[test]
    fn each_encoding_is_decoded_in_parts() {
        check("", TEXT);
        check("identity", TEXT);
        check("gzip", &gzip(TEXT));
        check("X-GZIP", &gzip(TEXT));
        check("gzip, gzip", &gzip(&gzip(TEXT)));
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        check("deflate", &zlib.finish().unwrap());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        check("deflate", &raw.finish().unwrap());
        check("zstd", &zstd::stream::encode_all(TEXT, 0).unwrap());
        check("br", BROTLI);
        assert!(Decoder::new("compress").is_err());
    }

    /// A server flushes after each event: it can be read before the next one comes.
    #[test]
    fn a_part_is_decoded_when_it_arrives() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: a\n\n").unwrap();
        encoder.flush().unwrap();
        let mut decoder = Decoder::new("gzip").unwrap();
        assert_eq!(decoder.push(encoder.get_ref()).unwrap(), b"data: a\n\n");
    }

    /// `brotli.compress(TEXT)` of PyPI's Brotli 1.1.0.
    const BROTLI: &[u8] = b"\
        \x1b\x3b\x00\xf8\x1d\x07\xb9\x39\xf4\x16\x8b\xf2\x45\xba\x94\x6a\x05\x1d\xb2\xbe\xb5\xb5\
        \x97\x20\x22\x5d\xb0\x01\x07\xec\x61\x80\xf9\x20\x76\x5b\x60\x42\x35\x2a\x81\x65\x8d\x77\
        \xf1\x99\x1a\xc2\x0d";
}
