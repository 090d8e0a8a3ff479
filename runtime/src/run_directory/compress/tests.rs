use super::super::frames::{HEADER, MAX_LINES};
use super::super::seal::tests::{check, copy, line, made, plain_run, some, stored};
use super::super::tests::record;
use super::super::{RunRecord, read_episodes};
use super::*;
use crate::episode::Episode;

/// A compressed run of three frames.
fn compressed() -> (tempfile::TempDir, Vec<Episode>) {
    let episodes = some(3 * MAX_LINES);
    let run = plain_run(&episodes);
    compress_run(run.path()).unwrap();
    (run, episodes)
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x20;
    fs::write(file, bytes).unwrap();
}

/// The first bytes of all frames, and the end.
fn bounds(file: &Path) -> Vec<usize> {
    let open = File::open(file).unwrap();
    let length = open.metadata().unwrap().len();
    let frames = super::super::frames::frames(&open, length).unwrap();
    frames.all.iter().map(|frame| frame.at as usize).chain([length as usize]).collect()
}

fn shown(error: &RunError, run: &Path) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text.replace(&run.display().to_string(), "RUN")
}

#[test]
fn compressing_and_decompressing_gives_the_same_bytes() {
    let episodes = some(2 * MAX_LINES + 1);
    let run = plain_run(&episodes);
    let all: Vec<u8> = episodes.iter().flat_map(line).collect();
    let packing = compress_run(run.path()).unwrap();
    assert_eq!((packing.lines, packing.text), (episodes.len(), all.len() as u64));
    assert_eq!(stored(run.path()), (all.clone(), Vec::new()));
    assert_eq!(packing.stored, fs::metadata(run.path().join(COMPRESSED)).unwrap().len());
    assert_eq!(read_run(run.path()).unwrap().schema, 3, "earlier versions refuse it");
    assert_eq!(bounds(&run.path().join(COMPRESSED)).len(), 4);
    assert_eq!(compress_run(run.path()).unwrap(), packing, "nothing is left to do");

    let packing = decompress_run(run.path()).unwrap();
    assert_eq!(packing.stored, all.len() as u64);
    assert_eq!(stored(run.path()), (Vec::new(), all));
    assert!(!run.path().join(COMPRESSED).exists());
    assert_eq!(read_run(run.path()).unwrap(), record());
    assert_eq!(decompress_run(run.path()).unwrap(), packing);
    check(run.path(), &episodes, "the end");
}

#[test]
fn a_run_that_is_open_is_refused() {
    let run = plain_run(&some(1));
    let record = read_run(run.path()).unwrap();
    let _open = RunDirectory::open(run.path(), &record).unwrap();
    let before = copy(run.path());
    let errors = [
        compress_run(run.path()).unwrap_err(),
        decompress_run(run.path()).unwrap_err(),
        set_damaged_aside(run.path()).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, RunError::Busy { .. }), "{error}");
    }
    assert_eq!(stored(run.path()), stored(before.path()));
}

#[test]
fn a_damaged_frame_is_named_and_the_others_are_read() {
    let (run, episodes) = compressed();
    let file = run.path().join(COMPRESSED);
    let middle = bounds(&file)[1];
    // The index has the summaries already.
    let opened = Recording::open(run.path()).unwrap();
    flip(&file, middle + HEADER + 30);
    let error = opened.episode(MAX_LINES).unwrap_err();
    let text = shown(&error, run.path());
    let expected = format!(
        "RUN/episodes.jsonl.zst: frame 2 ({MAX_LINES} episodes, lines {} to {}) is damaged (",
        MAX_LINES + 1,
        2 * MAX_LINES
    );
    assert!(text.starts_with(&expected), "{text}");
    let remedy = "restore the file from a copy, or run `fixfly compress RUN --set-aside` and \
                  then the run's own command again, which runs these episodes again";
    assert!(text.ends_with(remedy), "{text}");
    assert_eq!(opened.episode(0).unwrap(), episodes[0]);
    assert_eq!(opened.episode(2 * MAX_LINES).unwrap(), episodes[2 * MAX_LINES]);

    let _ = fs::remove_file(run.path().join(INDEX));
    let again = read_episodes(run.path()).unwrap_err();
    assert_eq!(shown(&again, run.path()), text);
    assert!(matches!(compress_run(run.path()), Err(RunError::Damaged { .. })));
    assert!(matches!(decompress_run(run.path()), Err(RunError::Damaged { .. })));
}

#[test]
fn a_damaged_frame_is_set_aside_and_its_episodes_run_again() {
    // In the data, and in the header.
    for place in [HEADER + 30, 3, 20] {
        let (run, episodes) = compressed();
        let file = run.path().join(COMPRESSED);
        let (bytes, bounds) = (fs::read(&file).unwrap(), bounds(&file));
        flip(&file, bounds[1] + place);
        let _ = fs::remove_file(run.path().join(INDEX));
        assert!(matches!(read_episodes(run.path()), Err(RunError::Damaged { .. })), "{place}");
        let (parts, aside) = set_damaged_aside(run.path()).unwrap().unwrap();
        assert_eq!((parts, aside.file_name().unwrap()), (1, "episodes.torn-1.jsonl.zst".as_ref()));
        assert_eq!(fs::metadata(&aside).unwrap().len() as usize, bounds[2] - bounds[1]);
        let left = [&bytes[..bounds[1]], &bytes[bounds[2]..]].concat();
        assert_eq!(fs::read(&file).unwrap(), left);
        let lines = [&episodes[..MAX_LINES], &episodes[2 * MAX_LINES..]].concat();
        assert_eq!(read_episodes(run.path()).unwrap(), lines);
        assert_eq!(set_damaged_aside(run.path()).unwrap(), None);
    }
}

#[test]
fn a_last_frame_that_is_cut_is_moved_away_and_its_episodes_run_again() {
    let (run, episodes) = compressed();
    let file = run.path().join(COMPRESSED);
    let (bytes, bounds) = (fs::read(&file).unwrap(), bounds(&file));
    fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    let whole = &episodes[..2 * MAX_LINES];
    assert_eq!(read_episodes(run.path()).unwrap(), whole);
    let (mut open, recorded) = RunDirectory::open(run.path(), &record()).unwrap();
    assert_eq!(recorded.len(), whole.len());
    let aside = run.path().join("episodes.torn-1.jsonl.zst");
    assert_eq!(fs::read(aside).unwrap(), bytes[bounds[2]..bytes.len() - 5]);
    open.append(&made("next", 0)).unwrap();
    let expected = [whole, &[made("next", 0)]].concat();
    assert_eq!(read_episodes(run.path()).unwrap(), expected);
}

#[test]
fn a_file_that_fixfly_did_not_compress_is_refused() {
    let run = plain_run(&some(1));
    let file = run.path().join(COMPRESSED);
    fs::write(&file, zstd::encode_all(&b"{}\n"[..], 1).unwrap()).unwrap();
    for error in
        [read_episodes(run.path()).unwrap_err(), set_damaged_aside(run.path()).unwrap_err()]
    {
        let text = shown(&error, run.path());
        assert!(text.starts_with("RUN/episodes.jsonl.zst was not written by fixfly;"), "{text}");
    }
}

#[test]
fn a_run_that_begins_with_another_one_s_record_is_not_compressed() {
    let (run, _) = compressed();
    let record = read_run(run.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    RunDirectory::open(&other.path().join("new"), &record).unwrap();
    let begun = read_run(&other.path().join("new")).unwrap();
    assert_eq!(begun, RunRecord { schema: SCHEMA, ..record });
}
