use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::tests::{episode, record};
use super::super::{RunDirectory, read_episodes};
use super::*;
use crate::checksum::seal;
use crate::episode::End;

/// A run directory, and a folder for the indexes of those that cannot be written to.
struct Folder {
    run: TempDir,
    cache: TempDir,
    /// Seconds of the file's time of change, so that each change has its own.
    clock: u64,
}

impl Folder {
    fn new() -> Self {
        let (run, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        RunDirectory::open(run.path(), &record()).unwrap();
        Folder { run, cache, clock: 0 }
    }

    fn of(lines: &[(&str, u32)]) -> Self {
        let folder = Folder::new();
        folder.append(lines).unwrap();
        folder
    }

    fn episodes(&self) -> PathBuf {
        self.run.path().join(EPISODES)
    }

    fn index(&self) -> PathBuf {
        self.run.path().join(INDEX)
    }

    /// Appends as a run does.
    fn append(&self, lines: &[(&str, u32)]) -> Result<(), RunError> {
        let (mut run, _) = RunDirectory::open(self.run.path(), &record())?;
        lines.iter().try_for_each(|(task, sample)| run.append(&made(task, *sample)))
    }

    /// Changes the file as no run does, with checksums that match.
    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.episodes()).unwrap();
        change(&mut bytes);
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let bytes: Vec<u8> = lines.flat_map(resealed).collect();
        fs::write(self.episodes(), bytes).unwrap();
        self.clock += 1;
        self.set_time(SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock));
    }

    fn time(&self) -> SystemTime {
        fs::metadata(self.episodes()).unwrap().modified().unwrap()
    }

    fn set_time(&self, time: SystemTime) {
        File::options().write(true).open(self.episodes()).unwrap().set_modified(time).unwrap();
    }

    fn open(&self) -> Result<Recording, RunError> {
        Recording::open_with(self.run.path(), self.cache.path())
    }

    /// Compares with the lines read one by one.
    #[track_caller]
    fn check(&self) {
        let expected = plainly(&fs::read(self.episodes()).unwrap());
        check_same(&self.open(), expected.as_deref());
    }
}

#[track_caller]
fn check_same(found: &Result<Recording, RunError>, expected: Option<&[Episode]>) {
    let (Ok(found), Some(expected)) = (found, expected) else {
        return assert!(found.is_err() && expected.is_none(), "{found:?}, not {expected:?}");
    };
    let summaries: Vec<_> = expected.iter().map(EpisodeSummary::of).collect();
    assert_eq!(found.summaries(), summaries);
    let read: Vec<_> = (0..found.len()).map(|at| found.episode(at).unwrap()).collect();
    assert_eq!(read, expected);
}

fn made(task: &str, sample: u32) -> Episode {
    Episode {
        policy: format!("x{}", "é".repeat(sample as usize)),
        ..episode(task, sample, End::Solved)
    }
}

/// A line with the checksum of its present bytes, if it has one.
fn resealed(line: &[u8]) -> Vec<u8> {
    let sum = b",\"crc32c\":\"";
    match line.windows(sum.len()).position(|found| found == sum) {
        Some(at) if line.ends_with(b"\"}\n") => {
            [seal([&line[..at], b"}"].concat()), b"\n".to_vec()].concat()
        }
        _ => line.to_vec(),
    }
}

fn line(task: &str, sample: u32) -> Vec<u8> {
    let mut line = serde_json::to_vec(&made(task, sample)).unwrap();
    line.push(b'\n');
    line
}

/// The latest episode of each task and sample; `None` if a line before the last is damaged.
fn plainly(bytes: &[u8]) -> Option<Vec<Episode>> {
    let (mut all, mut known) = (Vec::<Episode>::new(), HashMap::new());
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let last = lines.peek().is_none();
        if last
            && (!line.ends_with(b"\n")
                || serde_json::from_slice::<serde_json::Value>(line).is_err())
        {
            break;
        }
        let episode: Episode = serde_json::from_slice(line).ok()?;
        let key = (episode.task.id.clone(), episode.provenance.sample);
        match known.get(&key) {
            Some(&at) => all[at] = episode,
            None => {
                known.insert(key, all.len());
                all.push(episode);
            }
        }
    }
    Some(all)
}

/// The first bytes of the lines that no later line replaces: an index does not have the others.
fn latest_starts(bytes: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (HashMap::new(), 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let episode = serde_json::from_slice::<Episode>(line);
        let key = episode.map(|episode| (episode.task.id, episode.provenance.sample));
        starts.insert(key.unwrap_or_else(|_| (at.to_string(), 0)), at);
        at += line.len();
    }
    let mut starts: Vec<_> = starts.into_values().collect();
    starts.sort_unstable();
    starts
}

/// What can happen to a run directory.
#[derive(Clone, Debug)]
enum Event {
    Append(Vec<(u8, u32)>),
    Torn(usize),
    Cut(usize),
    Edit(usize),
    Damage(usize),
    Replace(Vec<(u8, u32)>),
    NoIndex,
    TornIndex(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let lines = || prop::collection::vec((0..4u8, 0..3u32), 0..4);
    let event = prop_oneof![
        4 => lines().prop_map(Event::Append),
        1 => any::<usize>().prop_map(Event::Torn),
        1 => any::<usize>().prop_map(Event::Cut),
        1 => any::<usize>().prop_map(Event::Edit),
        1 => any::<usize>().prop_map(Event::Damage),
        1 => lines().prop_map(Event::Replace),
        1 => Just(Event::NoIndex),
        1 => any::<usize>().prop_map(Event::TornIndex),
    ];
    prop::collection::vec(event, 1..12)
}

fn happens(folder: &mut Folder, event: Event) {
    let name = |task: u8| format!("task {task}");
    match event {
        Event::Append(lines) => {
            let lines: Vec<_> = lines.iter().map(|(task, sample)| (name(*task), *sample)).collect();
            let lines: Vec<_> = lines.iter().map(|(task, sample)| (&**task, *sample)).collect();
            // A damaged run cannot be resumed.
            let _ = folder.append(&lines);
        }
        Event::Torn(at) => folder.change(|bytes| {
            let line = line("torn", 0);
            bytes.extend(&line[..at % line.len()]);
        }),
        Event::Cut(at) => folder.change(|bytes| bytes.truncate(at % (bytes.len() + 1))),
        Event::Edit(nth) => folder.change(|bytes| {
            let text = b"\"policy\":\"";
            let places = bytes.windows(text.len()).enumerate();
            let places: Vec<_> =
                places.filter(|(_, found)| *found == text).map(|(at, _)| at + text.len()).collect();
            let at = nth.checked_rem(places.len()).map(|nth| places[nth]);
            // The line can end here, if it is torn.
            if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
                *byte = if *byte == b'x' { b'y' } else { b'x' };
            }
        }),
        Event::Damage(nth) => folder.change(|bytes| {
            let starts = latest_starts(bytes);
            if let Some(byte) = starts.get(nth % starts.len().max(1)).map(|at| &mut bytes[*at]) {
                *byte = b'!';
            }
        }),
        Event::Replace(lines) => {
            let name = |task: u8| format!("other {task} at {}", folder.clock);
            let lines = lines.iter().flat_map(|(task, sample)| line(&name(*task), *sample));
            let lines: Vec<u8> = lines.collect();
            folder.change(|bytes| *bytes = lines);
        }
        Event::NoIndex => drop(fs::remove_file(folder.index())),
        Event::TornIndex(at) => {
            let index = fs::read(folder.index()).unwrap_or_default();
            fs::write(folder.index(), &index[..at % (index.len() + 1)]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn an_index_never_changes_what_is_read(events in events()) {
        let mut folder = Folder::new();
        let mut follower = folder.open().unwrap();
        for event in events {
            happens(&mut folder, event);
            // First the one that wrote no index.
            let refreshed = follower.refresh();
            let expected = plainly(&fs::read(folder.episodes()).unwrap());
            prop_assert_eq!(refreshed.is_ok(), expected.is_some());
            let expected = expected.unwrap_or_default();
            let expected: Vec<_> = expected.iter().map(EpisodeSummary::of).collect();
            prop_assert_eq!(follower.summaries(), expected, "nothing after an error");
            folder.check();
            folder.check();
        }
    }
}

#[test]
fn an_index_that_is_cut_anywhere_is_continued_or_made_anew() {
    let folder = Folder::of(&[("a", 0), ("a", 0)]);
    let whole = fs::read(folder.index()).unwrap();
    for cut in 0..whole.len() {
        fs::write(folder.index(), &whole[..cut]).unwrap();
        folder.check();
    }
    fs::write(folder.index(), &whole[..whole.len() - 1]).unwrap();
    folder.append(&[("c", 0)]).unwrap();
    let found = index::load(&folder.index(), |_, _| ()).unwrap();
    assert!(found.complete && found.covered.lines == 3);
    folder.check();
}

#[test]
fn a_run_without_an_index_gets_one() {
    let folder = Folder::of(&[("a", 0), ("b", 1), ("a", 0)]);
    let written = fs::read_to_string(folder.index()).unwrap();
    assert_eq!(written.lines().count(), 6, "two for each: {written}");
    fs::remove_file(folder.index()).unwrap();
    folder.check();
    let made = fs::read_to_string(folder.index()).unwrap();
    assert_eq!(made.lines().count(), 3, "the latest of each: {made}");
    assert_eq!(read_episodes(folder.run.path()).unwrap().len(), 2);
}

#[test]
fn an_index_that_matches_is_trusted() {
    let mut folder = Folder::of(&[("a", 0), ("b", 0)]);
    let time = folder.time();
    folder.change(|bytes| {
        let at = bytes.windows(10).position(|found| found == b"\"id\":\"a\",\"").unwrap();
        bytes[at + 6] = b'z';
    });
    folder.set_time(time);
    let recording = folder.open().unwrap();
    assert_eq!(recording.summaries()[0].task, "a");
    let error = recording.episode(0).unwrap_err().to_string();
    assert!(
        error.ends_with("episodes.jsonl:1 changed while it was read; run the same command again")
    );
    assert!(recording.episode(1).is_ok());
    // An edit has its own time, and is found.
    folder.change(|_| ());
    folder.check();
    assert_eq!(folder.open().unwrap().summaries()[0].task, "z");
}

#[test]
fn of_a_longer_file_only_the_new_lines_are_read() {
    let mut folder = Folder::of(&[("a", 0), ("b", 0), ("a", 0)]);
    folder.change(|bytes| {
        bytes[0] = b'!';
        bytes.extend(line("c", 0));
    });
    assert_eq!(folder.open().unwrap().len(), 3, "the first line was not read again");
    fs::remove_file(folder.index()).unwrap();
    let error = folder.open().unwrap_err().to_string();
    assert!(error.contains("episodes.jsonl:1 is not JSON"), "{error}");
}

#[test]
fn an_edit_before_new_lines_is_found_too() {
    for edited in ["a", "b", "c"] {
        let mut folder = Folder::of(&[("a", 0), ("b", 0), ("c", 0)]);
        let mut follower = folder.open().unwrap();
        folder.change(|bytes| {
            let text = format!("\"id\":\"{edited}\"");
            let at = bytes.windows(text.len()).position(|found| found == text.as_bytes());
            bytes[at.unwrap() + 6] = b'z';
            bytes.extend(line("d", 0));
        });
        assert!(follower.refresh().unwrap());
        check_same(&Ok(follower), plainly(&fs::read(folder.episodes()).unwrap()).as_deref());
        folder.check();
    }
}

#[test]
fn a_run_that_cannot_be_written_to_has_its_index_in_the_cache() {
    let mut folder = Folder::of(&[("a", 0), ("b", 0)]);
    fs::remove_file(folder.index()).unwrap();
    // Nothing can be moved there, even by root.
    fs::create_dir(folder.index()).unwrap();
    let cached = || fs::read_dir(folder.cache.path()).unwrap().count();
    assert_eq!(cached(), 0);
    folder.check();
    assert_eq!(cached(), 1);
    let time = folder.time();
    folder.change(|bytes| {
        let at = bytes.windows(10).position(|found| found == b"\"id\":\"a\",\"").unwrap();
        bytes[at + 6] = b'z';
    });
    folder.set_time(time);
    assert_eq!(folder.open().unwrap().summaries()[0].task, "a", "the one in the cache is read");
    folder.change(|bytes| bytes.extend(line("c", 0)));
    let no_folder = folder.episodes();
    let recording = Recording::open_with(folder.run.path(), &no_folder);
    check_same(&recording, plainly(&fs::read(folder.episodes()).unwrap()).as_deref());
}

#[test]
fn readers_follow_a_run_that_continues() {
    const EPISODES: usize = 150;
    let folder = Folder::new();
    let names: Vec<String> = (0..EPISODES).map(|at| format!("task {at}")).collect();
    let mut follower = folder.open().unwrap();
    thread::scope(|scope| {
        let (path, all) = (folder.run.path(), &names);
        scope.spawn(move || {
            let (mut run, _) = RunDirectory::open(path, &record()).unwrap();
            all.iter().for_each(|task| run.append(&made(task, 0)).unwrap());
        });
        while follower.len() < EPISODES {
            follower.refresh().unwrap();
            let opened = folder.open().unwrap();
            for recording in [&follower, &opened] {
                let found: Vec<&str> = recording.summaries().iter().map(|one| &*one.task).collect();
                assert_eq!(found, names[..found.len()]);
                if let Some(last) = recording.len().checked_sub(1) {
                    assert_eq!(recording.episode(last).unwrap().task.id, names[last]);
                }
            }
        }
    });
    assert!(!follower.refresh().unwrap(), "nothing is new");
    folder.check();
}

#[test]
fn a_recording_without_summaries_still_reads() {
    let folder = Folder::of(&[("a", 0), ("b", 0)]);
    let recording = folder.open().unwrap().without_summaries();
    assert!(recording.summaries().is_empty());
    assert_eq!((recording.len(), recording.episode(1).unwrap()), (2, made("b", 0)));
}

#[test]
fn a_removed_file_of_episodes_is_a_run_without_episodes() {
    let folder = Folder::of(&[("a", 0)]);
    let mut recording = folder.open().unwrap();
    fs::remove_file(folder.episodes()).unwrap();
    assert!(recording.refresh().unwrap() && recording.is_empty());
    assert!(!recording.refresh().unwrap());
    assert!(folder.open().unwrap().is_empty());
    let mut file = File::create(folder.episodes()).unwrap();
    file.write_all(&line("b", 0)).unwrap();
    assert!(recording.refresh().unwrap());
    assert_eq!(recording.summaries()[0].task, "b");
}
