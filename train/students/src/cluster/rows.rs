//! Plans and states as rows of a table.

use fixfly_runtime::one_line;

use super::state::{Part, PartState};
use super::words::ranges;
use super::{Cluster, Kind, Plan, PlannedJob, Survey};

/// Parts of a job with the same state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The job.
    pub(super) stage: String,
    /// The numbers of its parts; empty without an array.
    pub(super) shards: String,
    /// The state.
    pub(super) state: &'static str,
    /// Episodes recorded, of those to record.
    pub(super) episodes: String,
    /// Slurm's ids.
    pub(super) jobs: String,
    /// Nodes, reasons, or the last line of a log.
    pub(super) detail: String,
}

/// The rows of a survey.
pub(super) fn rows(cluster: &Cluster, survey: &Survey) -> Vec<Row> {
    let of_jobs = cluster.plan.jobs.iter().zip(&survey.parts);
    of_jobs
        .flat_map(|(job, parts)| rows_of(job, parts, &|part| cluster.episodes(job, part)))
        .collect()
}

/// The states as a table for people.
pub fn state_table(cluster: &Cluster, survey: &Survey) -> String {
    let rows = rows(cluster, survey).into_iter().map(|row| {
        [row.stage, row.shards, row.state.into(), row.episodes, row.jobs, one_line(&row.detail)]
    });
    aligned(["Job", "Parts", "State", "Episodes", "Slurm", "Detail"], rows)
}

/// The plan as a table for people.
pub fn plan_table(plan: &Plan) -> String {
    aligned(["Job", "Parts", "After", "Resources", "Command"], planned_rows(plan))
}

/// Lines of columns; the last column may be as long as it is.
fn aligned<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let all: Vec<[String; N]> = std::iter::once(header.map(String::from)).chain(rows).collect();
    let width = |at: usize| all.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    all.iter().map(line).collect()
}

/// Episodes that a part recorded, and how many it is to record.
type Episodes<'a> = &'a dyn Fn(u32) -> (Option<usize>, Option<usize>);

pub(super) fn rows_of(job: &PlannedJob, parts: &[Part], episodes: Episodes<'_>) -> Vec<Row> {
    let mut groups: Vec<(&'static str, String, Vec<&Part>)> = Vec::new();
    for part in parts {
        let (state, detail) = shown(&part.state);
        match groups.iter_mut().find(|(s, d, _)| (*s, d) == (state, &detail)) {
            Some((_, _, parts)) => parts.push(part),
            None => groups.push((state, detail, vec![part])),
        }
    }
    let rows = groups.into_iter().map(|(state, detail, parts)| {
        let numbers: Vec<u32> = parts.iter().map(|part| part.number).collect();
        let mut jobs: Vec<&str> = Vec::new();
        for part in &parts {
            let id = part.id.as_deref().and_then(|id| id.split('_').next());
            jobs.extend(id.filter(|id| !jobs.contains(id)));
        }
        Row {
            stage: job.name.clone(),
            shards: if job.parts > 1 { ranges(&numbers) } else { String::new() },
            state,
            episodes: counted(&numbers, episodes),
            jobs: jobs.join(", "),
            detail,
        }
    });
    rows.collect()
}

fn shown(state: &PartState) -> (&'static str, String) {
    match state {
        PartState::New => ("not submitted", String::new()),
        PartState::Pending(reason) => ("pending", reason.clone()),
        PartState::Running(nodes) => ("running", nodes.clone()),
        PartState::Done => ("done", String::new()),
        PartState::Failed(why) => ("failed", why.clone()),
        PartState::Cancelled => ("cancelled", String::new()),
        PartState::Lost(loss) => ("lost", loss.shown()),
        PartState::Unknown(word) => ("unknown", word.clone()),
    }
}

/// `12/30`; without the second number where a part has not stated how many it records.
fn counted(parts: &[u32], episodes: Episodes<'_>) -> String {
    let all: Vec<_> = parts.iter().map(|part| episodes(*part)).collect();
    if all.iter().all(|(done, _)| done.is_none()) {
        return String::new();
    }
    let done: usize = all.iter().filter_map(|(done, _)| *done).sum();
    let planned: Option<usize> = all.iter().map(|(_, planned)| *planned).sum();
    match planned {
        Some(planned) => format!("{done}/{planned}"),
        None => done.to_string(),
    }
}

/// The rows of a plan: stage, jobs, what comes before, resources, command.
pub(super) fn planned_rows(plan: &Plan) -> Vec<[String; 5]> {
    let rows = plan.jobs.iter().map(|job| {
        let count = match (job.kind, job.parts) {
            (Kind::Shards, parts) => format!("1-{parts}"),
            (Kind::Sweep, _) if job.held => "as stages are ready".into(),
            _ => "1".into(),
        };
        let options = &job.options;
        let mut needs = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            needs.extend(value.map(|value| format!("{name} {value}")));
        };
        add("partition", options.partition.clone());
        add("nodes", options.nodes.filter(|nodes| *nodes > 1).map(|nodes| nodes.to_string()));
        add("cpus", options.cpus.map(|cpus| cpus.to_string()));
        add("memory", options.memory.clone());
        add("gpus", options.gpus().map(String::from));
        add("time", options.time.clone());
        add("apptainer", options.apptainer().map(String::from));
        add("pyxis", options.pyxis().map(String::from));
        let command = match job.kind {
            Kind::Merge => format!("merge-runs … -o {}", job.output.display()),
            _ => super::words::shown(&job.command),
        };
        let after = job.after.join(", ");
        [job.name.clone(), count, after, needs.join(", "), format!("fixfly {command}")]
    });
    rows.collect()
}
