//! A report in each format.

use std::fmt::Write as _;

use super::measure::RunReport;
use super::sheets::{self, Table, sheets};
use super::{Format, Report, claims};

/// `columns`: those of the terminal that it is for.
pub(super) fn format(
    report: &Report,
    format: Format,
    columns: Option<u16>,
) -> anyhow::Result<String> {
    match format {
        Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(report)?)),
        Format::Csv => csv(report),
        Format::Table => Ok(document(report, "", |sheet| sheets::table(sheet, columns))),
        Format::Markdown => Ok(document(report, "## ", sheets::markdown)),
    }
}

/// Tables of all runs together.
fn together(report: &Report) -> Vec<Table> {
    let mut all = report.tables.clone();
    if !report.claims.is_empty() {
        all.push(claims::sheet(&report.claims));
    }
    all.extend(report.comparison.iter().flat_map(|comparison| comparison.sheets()));
    all
}

fn document(report: &Report, heading: &str, draw: impl Fn(&Table) -> String) -> String {
    let mut text = String::new();
    for run in &report.runs {
        gap(&mut text);
        let _ = writeln!(text, "{heading}{}\n\n{}", run.run, caption(run));
        for sheet in sheets(run) {
            let _ = writeln!(text, "\n{}:\n\n{}", sheet.title, draw(&sheet));
        }
    }
    for sheet in together(report) {
        gap(&mut text);
        let _ = writeln!(text, "{heading}{}", sheet.title);
        if !sheet.rows.is_empty() {
            let _ = writeln!(text, "\n{}", draw(&sheet));
        }
        for note in &sheet.notes {
            let _ = writeln!(text, "\n{note}");
        }
    }
    if let Some(first) = report.left_out.first() {
        gap(&mut text);
        let all = report.left_out.join(", ");
        let _ = writeln!(text, "Tables without a row: {all}; --table {first} says what it needs.");
    }
    text
}

fn gap(text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
}

fn caption(run: &RunReport) -> String {
    let failures = match run.infrastructure_failures {
        0 => String::new(),
        n => format!("; {n} more failed for reasons outside the policy and are in no number"),
    };
    let unjudged = match run.unjudged {
        0 => String::new(),
        n => format!(
            "; {n} have a patch that nobody judged and are in no share of what was solved \
             (`fixfly grade swebench --predictions {}/preds.json` judges them)",
            run.run
        ),
    };
    format!(
        "{} episodes on {} tasks of {} ({}), policy {}, seed {}, fixfly {}{failures}{unjudged}",
        run.episodes, run.tasks, run.benchmark, run.split, run.policy, run.seed, run.fixfly
    )
}

fn csv(report: &Report) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["run", "table", "row", "column", "value"])?;
    for run in &report.runs {
        let failures = run.infrastructure_failures.to_string();
        writer.write_record([&run.run, "overall", "infrastructure failed", "count", &failures])?;
        for sheet in sheets(run) {
            values(&mut writer, &run.run, &sheet)?;
        }
    }
    for sheet in together(report) {
        values(&mut writer, "", &sheet)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn values(writer: &mut csv::Writer<Vec<u8>>, run: &str, sheet: &Table) -> anyhow::Result<()> {
    for row in &sheet.rows {
        for (column, value) in sheet.header.iter().zip(row).skip(1) {
            writer.write_record([run, &sheet.title, &row[0], column, value])?;
        }
    }
    Ok(())
}
