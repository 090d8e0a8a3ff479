use std::sync::Arc;

use fixfly_runtime::EpisodeSummary;

use super::address::Address;
use super::engine::Polling;
use super::facts::Facts;
use super::filter::Filter;
use super::fixture::{self, episodes, many, record, write_run};
use super::site::Site;
use super::sources::RowOrigin;

/// Two runs of the same tasks.
fn two_runs() -> (tempfile::TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    write_run(&folder.path().join("first"), &record(), &episodes());
    let mut later = record();
    later.started = "2026-01-01T04:30:00Z".into();
    let mut others = episodes();
    others.truncate(2);
    others[1].turns.truncate(1);
    others[1].verdict = None;
    others[1].patch = None;
    others[1].end = fixfly_runtime::End::Submitted;
    write_run(&folder.path().join("second"), &later, &others);
    let site = fixture::site(folder.path());
    (folder, site)
}

/// The content of a page, without the folder it was made in.
fn main_of(site: &Site, folder: &tempfile::TempDir, address: &Address, query: &str) -> String {
    let html = site.html(address, query, false).unwrap();
    let (_, main) = html.split_once("<main").unwrap();
    let (main, _) = main.split_once("</main>").unwrap();
    let escaped = folder.path().display().to_string().replace('/', "&#x2f;");
    let main = main.replace(&escaped, "FOLDER");
    let lines = main.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_home_page_lists_runs_newest_first() {
    let (folder, site) = two_runs();
    let html = main_of(&site, &folder, &Address::Home, "");
    assert!(html.find("second").unwrap() < html.find("first<").unwrap());
    insta::assert_snapshot!(html);
}

#[test]
fn a_run_s_page_has_its_facts_and_its_episodes() {
    let (folder, site) = two_runs();
    insta::assert_snapshot!(main_of(&site, &folder, &Address::Run("first".into()), ""));
}

#[test]
fn a_filter_changes_the_list_and_its_links() {
    let (folder, site) = two_runs();
    let run = Address::Run("first".into());
    let html = main_of(&site, &folder, &run, "error=TypeError&sort=-tokens");
    assert!(html.contains("1–2 of 2 episodes"), "{html}");
    assert!(!html.contains("app%2Fb.py%3A%3AB.g"), "{html}");
    let link = "/run/first/episode/app%2Fa.py%3A%3AA.f/0?error=TypeError&amp;sort=-tokens";
    assert!(html.contains(link), "{html}");
    assert!(html.contains("<option selected>TypeError</option>"), "{html}");
}

#[test]
fn an_episode_s_page_leads_to_its_neighbours_and_to_other_runs() {
    let (folder, site) = two_runs();
    let address = Address::episode("first", "app/a.py::A.f", 0);
    let html = main_of(&site, &folder, &address, "sort=task");
    assert!(html.contains("1 of 3 in"), "{html}");
    assert!(
        html.contains(r#"rel="next" href="/run/first/episode/app%2Fb.py%3A%3AB.g/0?sort=task""#)
    );
    assert!(!html.contains(r#"rel="prev""#), "{html}");
    assert!(html.contains(r#"href="/run/second/episode/app%2Fa.py%3A%3AA.f/0""#), "{html}");
    assert!(
        html.contains("/compare?a=first&amp;b=second&amp;task=app%2Fa.py%3A%3AA.f&amp;sample=0")
    );
    let elsewhere = main_of(&site, &folder, &address, "solved=no");
    assert!(elsewhere.contains("Not in <a"), "{elsewhere}");
}

#[test]
fn a_comparison_counts_who_solved_what() {
    let (folder, site) = two_runs();
    insta::assert_snapshot!(main_of(&site, &folder, &Address::Compare, "a=first&b=second"));
    let only = main_of(&site, &folder, &Address::Compare, "a=first&b=second&cell=first");
    assert!(only.contains("1–1 of 1 tasks") && only.contains("aria-current"), "{only}");
    let beside = "a=first&b=second&task=app%2Fa.py%3A%3AA.f&sample=0";
    let beside = main_of(&site, &folder, &Address::Compare, beside);
    assert!(beside.contains("id=\"a-") && beside.contains("id=\"b-"), "{beside}");
}

#[test]
fn a_run_that_grows_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    write_run(&run, &record(), &episodes()[..1]);
    let site = fixture::site(folder.path());
    let address = Address::Run("r".into());
    let before = site.live(&address).unwrap();
    assert!(
        before.polling == Polling::Waiting
            && site.html(&address, "", false).unwrap().contains("1–1 of 1 episodes")
    );
    let (mut writer, _) = fixfly_runtime::RunDirectory::open(&run, &record()).unwrap();
    writer.append(&episodes()[1]).unwrap();
    let later = site.live(&address).unwrap();
    assert!(later.polling == Polling::Running && later.version != before.version);
    let html = site.html(&address, "", false).unwrap();
    assert!(html.contains("1–2 of 2 episodes") && html.contains("data-live"), "{html}");
    let home = site.html(&Address::Home, "", false).unwrap();
    assert!(home.contains("state running") && home.contains("data-live"), "{home}");
}

#[test]
fn a_run_that_starts_later_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    write_run(&folder.path().join("first"), &record(), &episodes());
    let site = fixture::site(folder.path());
    let home = site.html(&Address::Home, "", false).unwrap();
    assert!(home.contains(r#"data-seconds="10""#), "{home}");
    let before = site.live(&Address::Home).unwrap();
    write_run(&folder.path().join("second"), &record(), &episodes()[..1]);
    let after = site.live(&Address::Home).unwrap();
    assert!(before.version != after.version && after.polling == Polling::Waiting);
    // Only a run that is complete is not asked for again.
    let polling = |name: &str| site.live(&Address::Run(name.into())).unwrap().polling;
    assert_eq!([polling("first"), polling("second")], [Polling::Ended, Polling::Waiting]);
    let export = site.html(&Address::Home, "", true).unwrap();
    assert!(!export.contains("data-live"), "{export}");
}

#[test]
fn a_row_leads_to_the_run_whose_path_ends_alike() {
    let folder = tempfile::tempdir().unwrap();
    for run in ["old/x", "new/x", "new/y"] {
        write_run(&folder.path().join(run), &record(), &episodes());
    }
    let site = fixture::site(folder.path());
    let check = |recorded: &str, task: &str, expected: Option<&str>| {
        let origin = RowOrigin { run: recorded.into(), task: task.into(), ..RowOrigin::default() };
        let found = site.episode_of(&origin);
        let expected = expected.map(|run| Address::episode(run, task, 0));
        assert_eq!(found, expected, "{recorded}");
    };
    let task = "app/a.py::A.f";
    check("new/x", task, Some("new/x"));
    check("/elsewhere/old/x/", task, Some("old/x"));
    check("../new/x", task, Some("new/x"));
    check("./y", task, Some("new/y"));
    check("x", task, None);
    check("other/x", task, None);
    check("z", task, None);
    check("", task, None);
    check("new/x", "app/a.py::A.nothing", None);
}

#[test]
fn a_sweep_has_its_runs_and_its_tables_before_and_after_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = folder.path().join("mine");
    write_run(&sweep.join("runs/base-1"), &record(), &episodes());
    write_run(&sweep.join("runs/empty-2"), &record(), &[]);
    std::fs::write(sweep.join("runs/base-1.done"), "fixfly run").unwrap();
    let site = fixture::site(folder.path());
    let address = Address::Training("mine".into());
    let html = site.html(&address, "", false).unwrap();
    for part in [
        "The sweep has not ended",
        "no student is in training yet",
        r#"&#x2f;run&#x2f;mine%2Fruns%2Fbase-1""#,
        "66.7 % (20.8–93.9)",
        "<svg",
        r#"data-seconds="10""#,
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let before = site.live(&address).unwrap();
    let set = "[[run]]\npath = \"runs/base-1\"\nmodel = \"Small-1B\"\nmode = \"nothink\"\n";
    std::fs::write(sweep.join("runs.toml"), set).unwrap();
    assert_ne!(site.live(&address).unwrap(), before);
    let html = site.html(&address, "", false).unwrap();
    assert!(html.contains("Small-1B") && html.contains("newly solved at each turn"), "{html}");
    assert!(!html.contains("The sweep has not ended"), "{html}");
    std::fs::write(sweep.join("runs.toml"), "[[run]]\n").unwrap();
    let html = site.html(&address, "", false).unwrap();
    assert!(html.contains(r#"role="alert""#) && html.contains("base-1"), "{html}");
}

#[test]
fn what_is_unfinished_or_damaged_is_shown_as_far_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    let address = Address::Run("r".into());
    let page = |site: &Site| site.html(&address, "", false).unwrap();
    write_run(&run, &record(), &[]);
    let none = page(&fixture::site(folder.path()));
    assert!(
        none.contains("No episodes") && none.contains("No episode has a verdict yet."),
        "{none}"
    );
    let mut failure = fixture::episode("app/a.py", "A.f", Vec::new());
    failure.end = fixfly_runtime::End::Failed {
        at: fixfly_runtime::Boundary::Sandbox,
        kind: fixfly_runtime::FailureKind::Infrastructure,
        why: "no space left".into(),
    };
    write_run(&run, &record(), std::slice::from_ref(&failure));
    let file = run.join("episodes.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    // A process writes the second line.
    std::fs::write(&file, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
    let html = page(&fixture::site(folder.path()));
    assert!(html.contains("1–1 of 1 episodes") && html.contains("no verdict"), "{html}");
    let episode = Address::episode("r", "app/a.py::A.f", 0);
    let shown = fixture::site(folder.path()).html(&episode, "", false).unwrap();
    assert!(shown.contains("the environment ended the episode"), "{shown}");
    assert!(shown.contains("The episode has no turn."), "{shown}");
    std::fs::write(&file, &whole).unwrap();
    let expected = page(&fixture::site(folder.path()));
    let index = run.join("episodes.index.jsonl");
    for damage in [None, Some("{\"frame\""), Some("not JSON\n"), Some("")] {
        match damage {
            None => std::fs::remove_file(&index).unwrap_or_default(),
            Some(text) => std::fs::write(&index, text).unwrap(),
        }
        assert_eq!(page(&fixture::site(folder.path())), expected, "{damage:?}");
    }
}

#[test]
fn a_run_of_a_newer_version_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("new");
    write_run(&run, &record(), &episodes());
    write_run(&folder.path().join("old"), &record(), &episodes());
    let file = run.join("run.json");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"schema\": 1", "\"schema\": 99");
    std::fs::write(&file, text).unwrap();
    let error = Site::open(std::slice::from_ref(&run), Box::new(fixture::Nothing)).err().unwrap();
    assert!(error.to_string().contains("was written by a newer fixfly"), "{error}");
    // Among others, it hides none of them.
    let home = fixture::site(folder.path()).html(&Address::Home, "", false).unwrap();
    assert!(home.contains("was written by a newer fixfly") && home.contains("/run/old"), "{home}");
}

/// Prints how long the first pages of a large run take: `--run-ignored only --no-capture`.
#[test]
#[ignore = "prints a measurement"]
fn a_hundred_thousand_episodes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r");
    write_run(&file, &record(), &episodes()[..1]);
    let mut text = String::new();
    for episode in many(100_000) {
        text += &serde_json::to_string(&episode).unwrap();
        text.push('\n');
    }
    std::fs::write(file.join("episodes.jsonl"), text).unwrap();
    let start = std::time::Instant::now();
    let site = Arc::new(fixture::site(folder.path()));
    println!("open: {:?}", start.elapsed());
    for query in ["", "page=1000", "sort=-tokens", "error=TypeError&sort=task", "text=f77"] {
        let start = std::time::Instant::now();
        let html = site.html(&Address::Run("r".into()), query, false).unwrap();
        println!("{query:?}: {:?}, {} bytes", start.elapsed(), html.len());
    }
    let summaries: Vec<EpisodeSummary> = many(100_000).iter().map(EpisodeSummary::of).collect();
    let start = std::time::Instant::now();
    let facts = Facts::of(&record(), &summaries);
    println!("facts of {} episodes: {:?}", facts.finished, start.elapsed());
    let start = std::time::Instant::now();
    let found = Filter::parse("sort=-tokens").select(&summaries).len();
    println!("a sorted list of {found}: {:?}", start.elapsed());
}
