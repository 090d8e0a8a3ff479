//! The Parquet files of a part, none of them over a limit.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::columns::{Columns, Values, record, schema};
use crate::error::DatasetError;
use crate::row::{Part, Row};

/// The most rows and bytes of text of a row group. The hub's viewer reads whole groups.
const GROUP_ROWS: usize = 1_000;
const GROUP_BYTES: usize = 32_000_000;

pub(super) struct Shards {
    folder: PathBuf,
    part: Part,
    /// The most bytes of a file.
    limit: usize,
    /// Files that are complete, under the names that they have until their number is known.
    done: Vec<PathBuf>,
    open: Option<Shard>,
}

struct Shard {
    file: PathBuf,
    writer: SerializedFileWriter<File>,
    schema: Arc<Type>,
    columns: Columns,
}

impl Shards {
    pub(super) fn new(folder: &Path, part: Part, limit: usize) -> Self {
        Shards { folder: folder.into(), part, limit, done: Vec::new(), open: None }
    }

    pub(super) fn add(&mut self, row: &Row) -> Result<(), DatasetError> {
        let mut shard = match self.open.take() {
            Some(shard) => shard,
            None => {
                let name = format!("{}-{}.unfinished", self.part.name(), self.done.len());
                Shard::create(self.folder.join(name))?
            }
        };
        // What waits is counted uncompressed, so that a file cannot grow over the limit.
        let group = GROUP_BYTES.min(self.limit / 4);
        shard.add(row)?;
        if shard.columns.rows >= GROUP_ROWS || shard.columns.bytes >= group {
            shard.flush()?;
        }
        match shard.writer.bytes_written() + 2 * group >= self.limit {
            true => self.done.push(shard.close()?),
            false => self.open = Some(shard),
        }
        Ok(())
    }

    /// Closes the files and returns their names.
    pub(super) fn finish(mut self) -> Result<Vec<String>, DatasetError> {
        self.done.extend(self.open.take().map(Shard::close).transpose()?);
        let count = self.done.len();
        let mut names = Vec::with_capacity(count);
        for (at, file) in self.done.iter().enumerate() {
            let name = format!("{}-{at:05}-of-{count:05}.parquet", self.part.name());
            fs::rename(file, self.folder.join(&name)).map_err(DatasetError::io("make", file))?;
            names.push(name);
        }
        Ok(names)
    }
}

impl Shard {
    fn create(file: PathBuf) -> Result<Self, DatasetError> {
        let out = File::create(&file).map_err(DatasetError::io("write", &file))?;
        let (schema, writer) = begin(out).map_err(failed(&file))?;
        let columns = Columns::new(&schema);
        Ok(Shard { file, writer, schema, columns })
    }

    fn add(&mut self, row: &Row) -> Result<(), DatasetError> {
        self.columns.add(&self.schema, &record(row)).map_err(|why| DatasetError::Corrupt {
            place: row.id.clone(),
            what: "a row that the hub's columns can hold",
            why,
        })
    }

    /// Writes the waiting rows as a row group.
    fn flush(&mut self) -> Result<(), DatasetError> {
        if self.columns.rows == 0 {
            return Ok(());
        }
        let columns = std::mem::replace(&mut self.columns, Columns::new(&self.schema));
        write_group(&mut self.writer, columns).map_err(failed(&self.file))
    }

    fn close(mut self) -> Result<PathBuf, DatasetError> {
        self.flush()?;
        self.writer.close().map_err(failed(&self.file))?;
        Ok(self.file)
    }
}

fn begin(out: File) -> Result<(Arc<Type>, SerializedFileWriter<File>), ParquetError> {
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let schema = Arc::new(schema()?);
    let writer = SerializedFileWriter::new(out, schema.clone(), Arc::new(properties))?;
    Ok((schema, writer))
}

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    columns: Columns,
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for column in columns.all {
        let Some(mut out) = group.next_column()? else { break };
        let levels = (Some(column.defined.as_slice()), Some(column.repeated.as_slice()));
        match &column.values {
            Values::Text(all) => {
                out.typed::<ByteArrayType>().write_batch(all, levels.0, levels.1)?
            }
            Values::Whole(all) => out.typed::<Int64Type>().write_batch(all, levels.0, levels.1)?,
            Values::Real(all) => out.typed::<DoubleType>().write_batch(all, levels.0, levels.1)?,
            Values::Flag(all) => out.typed::<BoolType>().write_batch(all, levels.0, levels.1)?,
            Values::Unknown => 0,
        };
        out.close()?;
    }
    group.close()?;
    Ok(())
}

fn failed(file: &Path) -> impl FnOnce(ParquetError) -> DatasetError {
    let file = file.to_path_buf();
    move |why| DatasetError::Io { verb: "write", file, why: std::io::Error::other(why) }
}
