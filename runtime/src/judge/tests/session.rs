//! The order of answers, how far lines are read ahead, interrupts.

use super::*;

#[tokio::test(start_paused = true)]
async fn answers_come_as_they_are_ready_or_in_the_order_of_the_lines() {
    let lines = [("x", "pass 300"), ("y", "fail 100"), ("t", "half 200")];
    let three = JudgeOptions { jobs: 3, ..options() };
    let expected = ["2 not: failed 0/2", "3 not: failed 1/2", "1 solved confirmed: passed 2/2"];
    check(three.clone(), &lines, &expected).await;
    let ordered = JudgeOptions { ordered: true, ..three };
    let expected = ["1 solved confirmed: passed 2/2", "2 not: failed 0/2", "3 not: failed 1/2"];
    check(ordered, &lines, &expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_is_compared_in_the_order_of_lines_although_the_later_one_is_faster() {
    let lines = [("x", "half 300"), ("x", "pass 100"), ("y", "half 200")];
    let three = JudgeOptions { jobs: 3, ..options() };
    let expected =
        ["3 not: failed 1/2", "1 not: failed 1/2", "2 solved confirmed: passed 2/2 fixed b"];
    check(three, &lines, &expected).await;
}

/// A judge that is fed while the test looks on.
struct Served {
    input: mpsc::Sender<Vec<u8>>,
    output: mpsc::Receiver<JudgeAnswer>,
    press: mpsc::UnboundedSender<()>,
    counts: tokio::task::JoinHandle<JudgeCounts>,
}

async fn served(options: JudgeOptions) -> Served {
    let judge = judge(Arc::default(), options).await;
    let (input, lines) = mpsc::channel(1);
    let (answers, output) = mpsc::channel(1);
    let (press, mut interrupts) = Interrupts::channel();
    let counts = tokio::spawn(async move { judge.serve(lines, answers, &mut interrupts).await });
    Served { input, output, press, counts }
}

impl Served {
    /// Sends this line until nobody takes it for a second. Returns how often it was taken.
    async fn fill(&self, line: &[u8]) -> usize {
        let mut taken = 0;
        let second = Duration::from_secs(1);
        while tokio::time::timeout(second, self.input.send(line.to_vec())).await.is_ok() {
            taken += 1;
        }
        taken
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_taken_only_when_their_candidates_can_start() {
    let served = served(JudgeOptions { jobs: 2, ..options() }).await;
    // The third one waits in the channel.
    assert_eq!(served.fill(&line("x", "never")).await, 3);
}

#[tokio::test(start_paused = true)]
async fn lines_are_not_read_without_end_behind_one_that_others_wait_for() {
    for (task, ordered) in [("y", true), ("x", false)] {
        let served = served(JudgeOptions { jobs: 2, ordered, ..options() }).await;
        served.input.send(line("x", "never")).await.unwrap();
        assert_eq!(served.fill(&line(task, "fail")).await, 2 * 8 - 1 + 1, "{task}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_not_read_while_nobody_takes_answers() {
    let mut served = served(options()).await;
    // One answer is in the channel, and one line waits in the other.
    assert_eq!(served.fill(&line("x", "fail")).await, 8 + 1 + 1);
    assert_eq!(served.output.recv().await.unwrap().line, 1);
    assert_eq!(served.fill(&line("x", "fail")).await, 1);
}

#[tokio::test(start_paused = true)]
async fn after_the_first_interrupt_what_runs_is_answered_and_nothing_is_read() {
    let mut served = served(options()).await;
    served.input.send(line("x", "pass 1000")).await.unwrap();
    served.input.send(line("x", "pass")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.press.send(()).unwrap();
    assert_eq!(served.output.recv().await.unwrap().solved, Some(true));
    assert_eq!(served.output.recv().await, None);
    let counts = served.counts.await.unwrap();
    assert_eq!(counts, JudgeCounts { solved: 1, stopped: true, ..JudgeCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn the_second_interrupt_aborts_what_runs() {
    let mut served = served(options()).await;
    served.input.send(line("x", "never")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.press.send(()).unwrap();
    served.press.send(()).unwrap();
    assert_eq!(served.output.recv().await, None);
    let counts = served.counts.await.unwrap();
    assert_eq!(counts, JudgeCounts { aborted: 1, stopped: true, ..JudgeCounts::default() });
    assert_eq!(counts.to_string(), "0 candidates: 0 solved, 0 not solved, 1 aborted");
}

#[tokio::test(start_paused = true)]
async fn it_ends_if_nobody_reads_its_answers() {
    let served = served(JudgeOptions { jobs: 2, ..options() }).await;
    drop(served.output);
    served.input.send(line("x", "never")).await.unwrap();
    served.input.send(line("x", "{")).await.unwrap();
    served.input.send(line("y", "fail")).await.unwrap();
    let counts = served.counts.await.unwrap();
    assert!(counts.aborted > 0 && !counts.stopped, "{counts:?}");
}
