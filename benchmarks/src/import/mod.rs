//! Makes a benchmark of a published set of faulty programs.
//!
//! A converter reads the set (`Program`: module, function, tests, fault).
//! The programs become a project with `unittest` or pytest tests. The correct ones are its
//! source; the faulty ones lie beside it and are the faults of the benchmark `faults`. Each
//! task is checked as a build checks its items. The set's text stays in the benchmark
//! directory; the manifests hold names, spans and hashes.

mod cases;
mod check;
mod humaneval;
mod project;
mod quixbugs;
mod set;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, DescribedBy, Host, Parallel, Split};

use crate::build::{self, Environment};
use crate::faults::{self, Fault};
use crate::manifest::{
    Header, Item, Manifest, RunPath, Source, line, schema, short_hash, write_whole,
};
use crate::project::Project;
use crate::source::top_function;
use check::{Checker, Facts};
use set::{LeftOut, Program, Set};

/// Which programs are no tasks, and what shows it.
const LEFT_OUT: &str = "left-out.jsonl";

/// A set whose folders are written.
pub struct Import {
    set: Set,
    folder: PathBuf,
    split: Split,
    source: Source,
}

/// What an import has made.
#[derive(Debug)]
pub struct Imported {
    folder: PathBuf,
    split: Split,
    /// Number of tasks, and of their tests.
    tasks: [usize; 2],
    left_out: Vec<LeftOut>,
}

impl Import {
    /// Reads the set at `from` and writes its project to `folder`. All tasks will be of one
    /// split.
    ///
    /// # Errors
    /// One sentence if the set cannot be read, has no usable program, or the folder has
    /// something else.
    pub fn open(from: &Path, folder: &Path, split: Split) -> Result<Import, BenchmarkError> {
        let set = read(from)?;
        if set.programs.is_empty() {
            return Err(no_task(&from.display().to_string(), &set.left_out));
        }
        let source = project::write(folder, &set)?;
        Ok(Import { set, folder: folder.to_path_buf(), split, source })
    }

    /// Number of programs to check.
    pub fn programs(&self) -> usize {
        self.set.programs.len()
    }

    /// Makes the Python environment: pytest if the set's own tests need it, otherwise
    /// nothing.
    ///
    /// # Errors
    /// One sentence with pip's last line.
    pub fn environment(&self) -> Result<(), BenchmarkError> {
        let framework = self.set.framework.to_string();
        let more = if framework == "pytest" { vec![framework] } else { Vec::new() };
        let wanted = Environment::Declared { extras: &[], more: &more };
        build::environment(&self.folder, &wanted).map(drop)
    }

    /// Checks each program, `jobs` at a time, and writes the manifests. `checked` is called
    /// after each.
    ///
    /// # Errors
    /// [`BenchmarkError`] if tests cannot be run, or no program is a task.
    pub async fn run(
        self,
        (host, jobs): (Arc<dyn Host>, usize),
        mut checked: impl FnMut(),
    ) -> Result<Imported, BenchmarkError> {
        let project = Project::open(&self.folder, self.set.framework)?;
        build::warm(Arc::new(project), host.clone()).await?;
        let project = Arc::new(Project::open(&self.folder, self.set.framework)?);
        let checker = Arc::new(Checker { project, host });
        let tests = Arc::new(checker.tests().await?);
        let programs = self.set.programs.clone().into_iter();
        let checks = programs.map(move |one| checker.clone().check(one, tests.clone()));
        let mut checks = Parallel::new(jobs, checks);
        let (mut facts, mut left_out) = (BTreeMap::new(), self.set.left_out.clone());
        while let Some(done) = checks.next().await {
            let (program, found) = done.map_err(BenchmarkError::bug("a program"))??;
            match found {
                Ok(found) => drop(facts.insert(program.task_id, found)),
                Err(why) => left_out.push(why),
            }
            checked();
        }
        let order = |left_out: &LeftOut| (left_out.reason.clone(), left_out.task_id.clone());
        left_out.sort_by_key(order);
        self.write(&facts, left_out)
    }

    /// Writes the manifests of the checked programs.
    fn write(
        &self,
        facts: &BTreeMap<String, Facts>,
        left_out: Vec<LeftOut>,
    ) -> Result<Imported, BenchmarkError> {
        write_whole(&self.folder.join(LEFT_OUT), &left_out.iter().map(line).collect::<String>())?;
        if facts.is_empty() {
            return Err(no_task(self.set.name, &left_out));
        }
        let checked = |program: &Program| Some((program.clone(), facts.get(&program.task_id)?));
        let (mut items, mut faults, mut longest) = (Vec::new(), Vec::new(), 0);
        for (program, facts) in self.set.programs.iter().filter_map(checked) {
            let (item, fault) = entry(&program, facts, self.split)?;
            longest = longest.max(item.spans.iter().map(|[start, end]| end - start).sum());
            items.push(item);
            faults.push(fault);
        }
        let tests = items.iter().map(|item| item.tests.len()).sum();
        let manifest = Manifest { header: self.header(&left_out), items };
        write_whole(&self.folder.join("manifest.jsonl"), &manifest.text())?;
        // The methods are those of the same directory, wherever it is moved to.
        let header = faults::Header::new("python", Some(PathBuf::from(".")), longest);
        let text: String = [line(&header)].into_iter().chain(faults.iter().map(line)).collect();
        write_whole(&self.folder.join(faults::MANIFEST), &text)?;
        let (folder, split) = (self.folder.clone(), self.split);
        Ok(Imported { folder, split, tasks: [facts.len(), tests], left_out })
    }

    fn header(&self, left_out: &[LeftOut]) -> Header {
        Header {
            schema: schema(None),
            benchmark: "python".to_string(),
            source: self.source.clone(),
            framework: self.set.framework.to_string(),
            python: fs::read_to_string(self.folder.join("python")).unwrap_or_default(),
            left_out: reasons(left_out).into_iter().map(|(why, all)| (why, all.len())).collect(),
            unexamined: 0,
            tests_left_out: BTreeMap::new(),
            mask_copies: false,
            span: None,
        }
    }
}

/// Reads a set in one of the known formats.
fn read(from: &Path) -> Result<Set, BenchmarkError> {
    let refused = |what: &str| BenchmarkError::Broken(format!("{} {what}", from.display()));
    if quixbugs::is_set(from) {
        return quixbugs::read(from);
    }
    if !from.is_dir() {
        return humaneval::read(from);
    }
    let mut entries =
        fs::read_dir(from).map_err(|why| refused(&format!("cannot be read: {why}")))?;
    Err(refused(match entries.next() {
        None => "is an empty folder; name a file of HumanEvalFix or a folder of QuixBugs",
        Some(_) => {
            "is no set that fixfly can import: a folder of QuixBugs has python_programs and \
             correct_python_programs; of HumanEvalFix, name the file"
        }
    }))
}

/// The item of a checked program, and its fault.
fn entry(program: &Program, facts: &Facts, split: Split) -> Result<(Item, Fault), BenchmarkError> {
    let function = |text: &str| {
        let broken = |why| BenchmarkError::Broken(format!("{}: {why}", program.file));
        top_function(text, &program.function).map_err(broken)
    };
    let (correct, faulty) = (function(&program.correct)?, function(&program.faulty)?);
    let item = Item {
        id: format!("{}::{}", program.file, program.function),
        split,
        spans: vec![[correct.span.start, correct.span.end]],
        hash: short_hash(&program.correct[correct.span]),
        path: RunPath::Cold,
        tests: facts.tests.iter().collect(),
        wider: [""; 0].iter().collect(),
        seconds: facts.seconds,
        described_by: match correct.docstring.is_some() {
            true => DescribedBy::Docstring,
            false => DescribedBy::Nothing,
        },
        lines: correct.body_lines,
        mutants: [0, 0],
        copies: Vec::new(),
    };
    let given =
        faults::Given { task_id: program.task_id.clone(), bug_type: program.bug_type.clone() };
    let fault = Fault::given(&item.id, split, &program.faulty[faulty.span], given);
    Ok((item, fault))
}

/// The names of what was left out, by reason.
fn reasons(left_out: &[LeftOut]) -> BTreeMap<String, Vec<&str>> {
    let mut reasons = BTreeMap::<String, Vec<&str>>::new();
    for one in left_out {
        reasons.entry(one.reason.clone()).or_default().push(&one.task_id);
    }
    reasons
}

/// One line for each reason, with the first names.
fn listed(left_out: &[LeftOut]) -> Vec<String> {
    const NAMED: usize = 5;
    let row = |(reason, names): (String, Vec<&str>)| {
        let more = if names.len() > NAMED { ", …" } else { "" };
        let named: Vec<_> = names.iter().take(NAMED).copied().collect();
        format!("{:5}  {reason}: {}{more}", names.len(), named.join(", "))
    };
    reasons(left_out).into_iter().map(row).collect()
}

/// An error about a set without a usable program: the first reason.
fn no_task(set: &str, left_out: &[LeftOut]) -> BenchmarkError {
    let why = left_out.first().map_or_else(String::new, |one| {
        let evidence = one.evidence.lines().next().unwrap_or_default();
        format!("; of {}, {}: {evidence}", one.task_id, one.reason)
    });
    let count = left_out.len();
    BenchmarkError::Broken(format!("none of the {count} programs of {set} can be a task{why}"))
}

impl Imported {
    /// A summary: how many tasks there are, and what was left out.
    pub fn text(&self) -> String {
        let [tasks, tests] = self.tasks;
        let mean = tests as f64 / tasks.max(1) as f64;
        let mut text = format!(
            "Benchmark directory: {}\n  {:10} {tasks:5} faults caught by tests, {mean:.1} tests each\n",
            self.folder.display(),
            self.split.name()
        );
        for row in listed(&self.left_out) {
            text += &format!("  left out: {row}\n");
        }
        if !self.left_out.is_empty() {
            text += &format!("  why: {}\n", self.folder.join(LEFT_OUT).display());
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests;
