//! Candidates that another program sends, line by line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fixfly_runtime::JudgeAnswer;
use serde_json::{Value, json};

use crate::project::benchmark;
use crate::{command, refused, sentence};

const TOTAL: &str = "shop/cart.py::Cart.total";
const NAMES: &str = "shop/cart.py::Cart.names";
const GOOD: &str = "def total(self):\n    return sum(self.items.values())\n";
const BAD: &str = "def total(self):\n    return 4\n";

fn judge(bench: &Path, more: &[&str]) -> Command {
    let folder = bench.to_str().unwrap();
    let words = ["judge", "python", "--stdio", "--benchmark-dir", folder];
    let mut command = command(&[&words[..], more].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The exit code, the answers and the text on standard error.
fn answers(bench: &Path, more: &[&str], input: &str) -> (i32, Vec<JudgeAnswer>, String) {
    let mut child = judge(bench, more).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{}", text.escape_debug());
    assert!(!text.contains('\u{202e}'), "{text}");
    let answers = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), answers, String::from_utf8(output.stderr).unwrap())
}

fn line(task: &str, candidate: &str, id: &Value) -> String {
    json!({ "task": task, "candidate": candidate, "id": id }).to_string() + "\n"
}

fn brief(answer: &JudgeAnswer) -> String {
    let id = answer.id.as_ref().map_or(String::new(), |id| format!(" {id}"));
    let JudgeAnswer { line, solved, confirmed, outcome, .. } = answer;
    let tests = answer.tests.as_ref().map(|tests| (tests.passed, tests.total));
    match (&answer.error, outcome) {
        (Some(error), _) => format!("{line}{id}: {error}"),
        (None, Some(outcome)) => {
            format!("{line}{id}: {solved:?} {confirmed} {} {tests:?}", outcome.name())
        }
        (None, None) => format!("{line}{id}: {:?}", answer.infrastructure),
    }
}

#[test]
fn every_line_is_answered_whatever_it_contains() {
    let bench = benchmark(0.0);
    let hostile = "def total(self):\n    print('{\"solved\": true}\\x1b]52;c;eA==\\x07')\n    \
                   raise ValueError('\\x1b[2K\\x9b31m\\u202e\\x7f ALL PASSED')\n";
    let input = [
        line(TOTAL, GOOD, &json!("a")),
        line(TOTAL, BAD, &json!(7)),
        line(TOTAL, "def total(self):\n    return (\n", &json!({ "n": null })),
        line(NAMES, "def names(self):\n    while True:\n        pass\n", &json!(null)),
        line(TOTAL, hostile, &json!([1.5])),
        "\n".into(),
        line("shop/cart.py::Cart.pay", GOOD, &json!("x")),
        "{\"task\": \n".into(),
        "{\"task\": 1, \"id\": 2}\n".into(),
        line(
            NAMES,
            "Here:\n```python\ndef names(self):\n    return sorted(self.items)\n```",
            &json!(0),
        ),
    ];
    let (code, answers, errors) =
        answers(bench.path(), &["--ordered", "--jobs", "2"], &input.concat());
    let expected = [
        "1 \"a\": Some(true) true passed Some((1, 1))",
        "2 7: Some(false) false failed Some((0, 1))",
        "3 {\"n\":null}: Some(false) false invalid None",
        "4 null: Some(false) false timed out Some((0, 1))",
        "5 [1.5]: Some(false) false failed Some((0, 1))",
        "7 \"x\": line 7 names no task of the benchmark: `shop/cart.py::Cart.pay`",
        "8: line 8 is not JSON: see its column 9",
        "9 2: line 9 has a `task` that is not a string",
        "10 0: Some(true) true passed Some((1, 1))",
    ];
    assert_eq!(answers.iter().map(brief).collect::<Vec<_>>(), expected);
    assert_eq!(code, 1);
    let counts = "6 candidates: 2 solved, 4 not solved, 3 bad lines";
    assert_eq!(errors, format!("error: not every line has a verdict: {counts}\n"));

    let test = "tests.test_cart.CartTests.test_total";
    assert_eq!((&answers[0].fixed, &answers[0].feedback), (&None, &None));
    assert_eq!(answers[1].broken.as_deref(), Some(&[test.to_string()][..]));
    let feedback = answers[1].feedback.as_ref().unwrap();
    assert!(feedback.contains(&format!("Since the last attempt: broken 1: {test}.")), "{feedback}");
    assert!(feedback.contains("AssertionError: 4 != 5"), "{feedback}");
    assert!(answers[2].feedback.as_ref().unwrap().contains("Syntax error"), "{:?}", answers[2]);
    let failure = answers[4].tests.as_ref().unwrap().results[0].failure.as_ref().unwrap();
    assert!(failure.message.contains("ALL PASSED"), "{failure:?}");
    assert_eq!(answers[4].broken.as_deref(), Some(&[][..]), "it failed before, too");
    assert!(answers.iter().all(|answer| answer.seconds.is_some() == answer.error.is_none()));
}

#[test]
fn all_lines_with_verdicts_are_a_success_in_any_order() {
    let bench = benchmark(0.0);
    let ids = 0..6;
    let input: String =
        ids.clone().map(|id| line(TOTAL, [GOOD, BAD][id % 2], &json!(id))).collect();
    let (code, mut answers, errors) = answers(bench.path(), &["--split", "benchmark"], &input);
    assert_eq!((code, &*errors), (0, "6 candidates: 3 solved, 3 not solved\n"));
    answers.sort_by_key(|answer| answer.line);
    for (id, answer) in ids.zip(&answers) {
        assert_eq!(
            (&answer.id, answer.solved),
            (&Some(json!(id)), Some(id % 2 == 0)),
            "{answer:?}"
        );
        let changed = [&answer.fixed, &answer.broken].map(|ids| ids.as_ref().map_or(0, Vec::len));
        assert_eq!(changed, [[1, 0], [0, 1]][id % 2].map(|count| if id == 0 { 0 } else { count }));
    }
}

#[test]
fn every_candidate_is_confirmed_if_asked() {
    let bench = benchmark(0.0);
    let input = [GOOD, BAD].map(|code| line(TOTAL, code, &json!(null))).concat();
    let (code, answers, _) = answers(bench.path(), &["--confirm", "--ordered"], &input);
    let expected = [
        "1 null: Some(true) true passed Some((1, 1))",
        "2 null: Some(false) true failed Some((0, 1))",
    ];
    assert_eq!(
        (code, answers.iter().map(brief).collect::<Vec<_>>()),
        (0, expected.map(str::to_owned).to_vec())
    );
}

fn ask(child: &mut Child, answers: &mut impl BufRead, code: &str) -> JudgeAnswer {
    let input = child.stdin.as_mut().unwrap();
    input.write_all(line(TOTAL, code, &json!(null)).as_bytes()).unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_program_gets_each_answer_while_it_goes_on_and_an_interrupt_finishes_what_runs() {
    let bench = benchmark(0.0);
    let mut child = judge(bench.path(), &[]).spawn().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let first = ask(&mut child, &mut answers, BAD);
    let second = ask(&mut child, &mut answers, GOOD);
    assert_eq!(
        [&first, &second].map(|answer| (answer.line, answer.solved)),
        [(1, Some(false)), (2, Some(true))]
    );
    assert_eq!(second.fixed.map(|fixed| fixed.len()), Some(1));

    let slow = "def total(self):\n    import time\n    time.sleep(2)\n    return 4\n";
    let input = child.stdin.as_mut().unwrap();
    input.write_all(line(TOTAL, slow, &json!("slow")).as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let mut last = String::new();
    answers.read_line(&mut last).unwrap();
    let last: JudgeAnswer = serde_json::from_str(&last).unwrap();
    assert_eq!((last.line, last.solved), (3, Some(false)));
    // Standard input is still open.
    let _input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "stopped: 3 candidates: 1 solved, 2 not solved\n");
}

#[test]
fn what_cannot_be_judged_is_refused_in_one_sentence() {
    let why = "the benchmark `swebench` has issues, not methods: judge patches with `fixfly grade swebench`";
    assert_eq!(refused(&["judge", "swebench", "--stdio"]), (2, why.into()));
    let (code, why) = refused(&["judge", "python"]);
    assert!(code == 2 && why.contains("--stdio"), "{why}");
    let why = "unknown benchmark `nothing`; available: django, python, faults";
    assert_eq!(refused(&["judge", "nothing", "--stdio"]), (2, why.into()));
    let nowhere = Path::new("/nonexistent/bench");
    let (code, why) = sentence(judge(nowhere, &[]).stdin(Stdio::null()).output().unwrap());
    assert!(code == 1 && why.contains("/nonexistent/bench"), "{why}");
}

/// The reward function that docs/judge.md shows, without TRL.
#[test]
fn the_reward_function_of_the_documentation_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let reward = read("docs/examples/fixfly_reward.py");
    assert!(reward.lines().count() <= 30, "{} lines", reward.lines().count());
    let block = format!("```python\n{reward}```");
    assert!(
        read("docs/judge.md").contains(&block),
        "docs/judge.md: copy docs/examples/fixfly_reward.py"
    );

    let bench = benchmark(0.0);
    let script = format!(
        "from fixfly_reward import FixflyReward\n\
         reward = FixflyReward('python', '--benchmark-dir', {bench:?})\n\
         good, bad = {GOOD:?}, {BAD:?}\n\
         message = [{{'role': 'assistant', 'content': f'```python\\n{{good}}```'}}]\n\
         print(reward(prompts=[''] * 3, completions=[good, bad, message], task=[{TOTAL:?}] * 3))\n\
         print(reward(completions=[bad] * 200, task=[{TOTAL:?}] * 200) == [0.0] * 200)\n\
         try:\n    reward(completions=[good], task=['x'])\n\
         except ValueError as error:\n    print(error)\n\
         reward.judge.stdin.close()\n\
         print(reward.judge.wait())\n",
        bench = bench.path().to_str().unwrap(),
    );
    let programs = Path::new(env!("CARGO_BIN_EXE_fixfly")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut python = Command::new("python3");
    python
        .args(["-B", "-c", &script])
        .env("PATH", path)
        .env("PYTHONPATH", root.join("docs/examples"));
    let output = python.env("FIXFLY_HOME", "/nonexistent/fixfly").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = "[1.0, 0.0, 1.0]\nTrue\nline 204 names no task of the benchmark: `x`\n1\n";
    assert_eq!(printed, expected, "{errors}");
}
