use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::index::INDEX;
use super::super::tests::{episode, record};
use super::super::{Recording, compress_run, decompress_run, read_episodes, read_run};
use super::*;
use crate::checksum::sealed_line;
use crate::episode::{End, Episode};
use crate::summary::EpisodeSummary;

type Look = Box<dyn FnMut()>;

thread_local! {
    static LOOK: RefCell<Option<Look>> = const { RefCell::new(None) };
}

pub(in crate::run_directory) fn step() {
    LOOK.with_borrow_mut(|look| look.iter_mut().for_each(|look| look()));
}

/// Copies of a folder after each write of `work`: what is left if it is killed there.
pub(in crate::run_directory) fn states<T>(folder: &Path, work: impl FnOnce() -> T) -> Vec<TempDir> {
    let (taken, from) = (Rc::new(RefCell::new(Vec::new())), folder.to_path_buf());
    let into = taken.clone();
    LOOK.set(Some(Box::new(move || into.borrow_mut().push(copy(&from)))));
    let _ = work();
    LOOK.set(None);
    taken.take()
}

pub(in crate::run_directory) fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

pub(in crate::run_directory) fn made(task: &str, sample: u32) -> Episode {
    Episode { policy: format!("p{sample}"), ..episode(task, sample, End::Solved) }
}

pub(in crate::run_directory) fn line(episode: &Episode) -> Vec<u8> {
    sealed_line(episode).unwrap()
}

/// A plain run of these episodes.
pub(in crate::run_directory) fn plain_run(episodes: &[Episode]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    RunDirectory::open(folder.path(), &record()).unwrap();
    let lines: Vec<u8> = episodes.iter().flat_map(line).collect();
    fs::write(folder.path().join(EPISODES), lines).unwrap();
    folder
}

pub(in crate::run_directory) fn some(count: usize) -> Vec<Episode> {
    (0..count).map(|at| made(&format!("task {at}"), 0)).collect()
}

/// All lines that the files have, as `zstdcat` and `cat` print them.
pub(in crate::run_directory) fn stored(run: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut packed = Vec::new();
    if let Ok(file) = File::open(run.join(COMPRESSED)) {
        zstd::Decoder::new(file).unwrap().read_to_end(&mut packed).unwrap();
    }
    (packed, fs::read(run.join(EPISODES)).unwrap_or_default())
}

/// The latest episode of each task and sample.
fn latest(lines: &[Episode]) -> Vec<Episode> {
    let (mut all, mut known) = (Vec::<Episode>::new(), HashMap::new());
    for episode in lines {
        let key = (episode.task.id.clone(), episode.provenance.sample);
        match known.get(&key) {
            Some(&at) => all[at] = episode.clone(),
            None => {
                known.insert(key, all.len());
                all.push(episode.clone());
            }
        }
    }
    all
}

/// Readers find exactly these lines, with and without the index, and so does the next process
/// that writes: afterwards each is in the files once.
#[track_caller]
pub(in crate::run_directory) fn check(run: &Path, lines: &[Episode], place: &str) {
    let expected = latest(lines);
    let summaries: Vec<_> = expected.iter().map(EpisodeSummary::of).collect();
    for _ in 0..2 {
        assert_eq!(read_episodes(run).unwrap(), expected, "{place}");
        let _ = fs::remove_file(run.join(INDEX));
    }
    let (mut open, recorded) = RunDirectory::open(run, &record()).unwrap();
    assert_eq!(recorded.summaries(), summaries, "{place}");
    let (packed, plain) = stored(run);
    let all: Vec<u8> = lines.iter().flat_map(line).collect();
    assert_eq!([packed, plain].concat(), all, "{place}: each line is there once");
    let more = made("more", 7);
    open.append(&more).unwrap();
    drop(open);
    let expected = latest(&[lines, &[more]].concat());
    assert_eq!(read_episodes(run).unwrap(), expected, "{place}");
    assert!(torn_files(run).is_empty(), "{place}");
}

fn torn_files(run: &Path) -> Vec<String> {
    let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.contains("torn")).collect()
}

/// Checks each state, and that with a shorter compressed file wherever its last write may end.
fn check_states(states: &[TempDir], lines: &[Episode]) {
    let size = |run: &Path| fs::metadata(run.join(COMPRESSED)).map_or(0, |facts| facts.len());
    let mut before = 0;
    assert!(states.len() >= 5, "{} states", states.len());
    for (nth, state) in states.iter().enumerate() {
        let now = size(state.path());
        for cut in
            (before..now).step_by(29).chain([before + 87, before + 88, now.saturating_sub(1)])
        {
            if !(before..now).contains(&cut) {
                continue;
            }
            let cut_state = copy(state.path());
            let file = File::options().write(true).open(cut_state.path().join(COMPRESSED));
            file.unwrap().set_len(cut).unwrap();
            check(cut_state.path(), lines, &format!("state {nth}, cut at {cut}"));
        }
        check(state.path(), lines, &format!("state {nth}"));
        before = now;
    }
}

#[test]
fn a_kill_at_any_step_of_a_move_loses_and_doubles_nothing() {
    let episodes = some(3 * MAX_LINES + 2);
    let run = plain_run(&episodes);
    let all = states(run.path(), || compress_run(run.path()).unwrap());
    check_states(&all, &episodes);
    check(run.path(), &episodes, "the end");

    // The same while a run goes on, with frames before.
    let (mut open, _) = RunDirectory::open(run.path(), &record()).unwrap();
    let mut lines = [&episodes[..], &[made("more", 7)]].concat();
    for at in 0..MAX_LINES - 2 {
        lines.push(made("next", at as u32));
        open.append(&lines[lines.len() - 1]).unwrap();
    }
    lines.push(made("last", 0));
    let last = lines[lines.len() - 1].clone();
    let packed = fs::metadata(run.path().join(COMPRESSED)).unwrap().len();
    let all = states(run.path(), || open.append(&last).unwrap());
    drop(open);
    assert!(fs::metadata(run.path().join(COMPRESSED)).unwrap().len() > packed, "a frame");
    for (nth, state) in all.iter().enumerate() {
        check(state.path(), &lines, &format!("state {nth}"));
    }
    assert_eq!(fs::metadata(run.path().join(EPISODES)).unwrap().len(), 0);
}

#[test]
fn a_kill_at_any_step_of_decompressing_loses_and_doubles_nothing() {
    let episodes = some(2 * MAX_LINES + 1);
    let run = plain_run(&episodes);
    compress_run(run.path()).unwrap();
    let mut lines = episodes;
    lines.push(made("tail", 0));
    RunDirectory::open(run.path(), &record()).unwrap().0.append(&made("tail", 0)).unwrap();
    let all = states(run.path(), || decompress_run(run.path()).unwrap());
    assert!(all.len() >= 3);
    for (nth, state) in all.iter().enumerate() {
        check(state.path(), &lines, &format!("state {nth}"));
    }
    assert!(!run.path().join(COMPRESSED).exists());
    assert_eq!(read_run(run.path()).unwrap(), record());
    check(run.path(), &lines, "the end");
}

#[test]
fn an_open_reader_goes_on_while_lines_move() {
    let episodes = some(MAX_LINES);
    let run = plain_run(&episodes);
    let (mut open, recorded) = RunDirectory::open(run.path(), &record()).unwrap();
    let mut follower = Recording::open(run.path()).unwrap();
    open.compress();
    open.append(&made("next", 0)).unwrap();
    for (at, expected) in episodes.iter().enumerate() {
        assert_eq!(recorded.episode(at).unwrap(), *expected, "the file that it opened");
    }
    assert!(follower.refresh().unwrap());
    assert!(!follower.refresh().unwrap(), "nothing is new");
    let read: Vec<_> = (0..follower.len()).map(|at| follower.episode(at).unwrap()).collect();
    assert_eq!(read, [&episodes[..], &[made("next", 0)]].concat());
    // The same lines are at other places of the files, and nothing is read again.
    open.compress_rest().unwrap();
    assert!(!follower.refresh().unwrap());
    assert_eq!(follower.episode(MAX_LINES).unwrap(), made("next", 0));
}

/// What can happen to a run.
#[derive(Clone, Debug)]
enum Event {
    /// A process appends these and ends.
    Append(Vec<(u8, u32)>),
    /// The same, compressing.
    AppendCompressed(Vec<(u8, u32)>),
    /// It compresses everything, and is killed at this step.
    Killed(usize),
    DecompressKilled(usize),
    Compress,
    Decompress,
    NoIndex,
    TornIndex(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let lines = || prop::collection::vec((0..4u8, 0..3u32), 0..7);
    let event = prop_oneof![
        3 => lines().prop_map(Event::Append),
        3 => lines().prop_map(Event::AppendCompressed),
        2 => any::<usize>().prop_map(Event::Killed),
        1 => any::<usize>().prop_map(Event::DecompressKilled),
        1 => Just(Event::Compress),
        1 => Just(Event::Decompress),
        1 => Just(Event::NoIndex),
        1 => any::<usize>().prop_map(Event::TornIndex),
    ];
    prop::collection::vec(event, 1..10)
}

/// Lets it happen. A kill leaves another folder.
fn happens(run: TempDir, lines: &mut Vec<Episode>, event: &Event) -> TempDir {
    let path = run.path();
    let killed = |all: Vec<TempDir>, at: usize| {
        let nth = at.checked_rem(all.len());
        nth.and_then(|nth| all.into_iter().nth(nth))
    };
    match event {
        Event::Append(new) | Event::AppendCompressed(new) => {
            let (mut open, _) = RunDirectory::open(path, &record()).unwrap();
            if matches!(event, Event::AppendCompressed(_)) {
                open.compress();
            }
            for (task, sample) in new {
                let mut episode = made(&format!("task {task}"), *sample);
                episode.policy = format!("p{}", lines.len());
                open.append(&episode).unwrap();
                lines.push(episode);
            }
        }
        Event::Killed(at) => {
            let all = states(path, || compress_run(path).unwrap());
            return killed(all, *at).unwrap_or(run);
        }
        Event::DecompressKilled(at) => {
            let all = states(path, || decompress_run(path).unwrap());
            return killed(all, *at).unwrap_or(run);
        }
        Event::Compress => {
            compress_run(path).unwrap();
        }
        Event::Decompress => {
            decompress_run(path).unwrap();
        }
        Event::NoIndex => drop(fs::remove_file(path.join(INDEX))),
        Event::TornIndex(at) => {
            let index = fs::read(path.join(INDEX)).unwrap_or_default();
            fs::write(path.join(INDEX), &index[..at % (index.len() + 1)]).unwrap();
        }
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn readers_find_each_recorded_episode_once_whatever_happens(events in events()) {
        let (mut run, mut lines) = (plain_run(&[]), Vec::new());
        let mut follower = Recording::open(run.path()).unwrap();
        for event in events {
            let before = run.path().to_path_buf();
            run = happens(run, &mut lines, &event);
            let expected = latest(&lines);
            prop_assert_eq!(&read_episodes(run.path()).unwrap(), &expected);
            match run.path() == before {
                true => assert!(follower.refresh().is_ok()),
                false => follower = Recording::open(run.path()).unwrap(),
            }
            let read: Vec<_> =
                (0..follower.len()).map(|at| follower.episode(at).unwrap()).collect();
            prop_assert_eq!(&read, &expected);
        }
        check(run.path(), &lines, "the end");
    }
}
