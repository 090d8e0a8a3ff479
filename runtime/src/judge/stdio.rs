//! Lines from a reader, and answers to a printer.

use std::io::{self, BufRead, Read};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::line::MAX_LINE;
use super::{Judge, JudgeAnswer, JudgeCounts};
use crate::run::Interrupts;

impl Judge {
    /// Answers the lines of `input`, as [`Judge::serve`] does. `print` gets each answer as a
    /// line of JSON and returns whether anybody reads it.
    ///
    /// # Errors
    /// The error of `print`, or an I/O error of the input.
    pub async fn serve_lines<E: From<io::Error> + Send + 'static>(
        self,
        mut input: impl BufRead + Send + 'static,
        print: impl FnMut(&str) -> Result<bool, E> + Send + 'static,
        interrupts: &mut Interrupts,
    ) -> Result<JudgeCounts, E> {
        let (sender, lines) = mpsc::channel(1);
        let (answers, receiver) = mpsc::channel(1);
        // Threads that nobody has to wait for: what waits for another program cannot be
        // cancelled.
        let read = on_thread(move || read_lines(&mut input, &sender));
        let mut printed = on_thread(move || print_all(receiver, print));
        let counts = self.serve(lines, answers, interrupts).await;
        let all_printed = tokio::select! {
            printed = &mut printed => printed.unwrap_or_else(|_| Err(ended("printer").into()))?,
            () = interrupts.next(), if counts.stopped => false,
        };
        if all_printed && !counts.stopped {
            read.await.unwrap_or_else(|_| Err(ended("reader")))?;
        }
        Ok(counts)
    }
}

fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(work()).is_ok());
    receiver
}

fn ended(what: &str) -> io::Error {
    io::Error::other(format!("the {what} of the lines hit a bug in fixfly; please report it"))
}

/// Prints answers until there are no more or nobody reads them. Returns whether all were
/// printed.
fn print_all<E: From<io::Error>>(
    mut answers: mpsc::Receiver<JudgeAnswer>,
    mut print: impl FnMut(&str) -> Result<bool, E>,
) -> Result<bool, E> {
    while let Some(answer) = answers.blocking_recv() {
        let line = serde_json::to_string(&answer).map_err(io::Error::from)?;
        if !print(&(line + "\n"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads lines until the input ends or nobody receives them. Waits while the receiver has
/// no room. Of a line that is too long, it keeps the beginning.
fn read_lines(input: &mut impl BufRead, lines: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        match line.last() {
            None => return Ok(()),
            Some(b'\n') => {
                line.pop();
            }
            Some(_) if line.len() > MAX_LINE => {
                input.skip_until(b'\n')?;
            }
            Some(_) => {}
        }
        if lines.blocking_send(line).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::request;
    use super::*;

    #[test]
    fn lines_are_read_and_the_rest_of_a_long_one_is_skipped() {
        let long = "x".repeat(MAX_LINE + 10);
        let exact = "y".repeat(MAX_LINE);
        let text = format!("a\n\n{long}\n{exact}\nb");
        let (sender, mut lines) = mpsc::channel(8);
        read_lines(&mut text.as_bytes(), &sender).unwrap();
        drop(sender);
        let mut read = Vec::new();
        while let Ok(line) = lines.try_recv() {
            read.push(line);
        }
        assert_eq!(
            read.iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 0, MAX_LINE + 1, MAX_LINE, 1]
        );
        assert_eq!((&read[0][..], &read[4][..]), (&b"a"[..], &b"b"[..]));
        assert!(request(4, &read[3]).unwrap_err().why.contains("not JSON"), "it is not too long");
    }

    /// What is printed for lines that are all bad, and how serving ended.
    async fn served(
        input: impl BufRead + Send + 'static,
        print: impl Fn(&str) -> io::Result<bool> + Send + 'static,
    ) -> (Vec<String>, io::Result<JudgeCounts>) {
        let (sender, printed) = std::sync::mpsc::channel();
        let print = move |line: &str| {
            sender.send(line.to_string()).unwrap();
            print(line)
        };
        let judge = super::super::tests::judge_of_nothing().await;
        let counts = judge.serve_lines(input, print, &mut Interrupts::none()).await;
        (printed.try_iter().collect(), counts)
    }

    #[tokio::test]
    async fn each_line_is_printed_as_one_line() {
        let (printed, counts) = served(&b"{\n\n[]"[..], |_| Ok(true)).await;
        let expected = [
            "{\"line\":1,\"solved\":null,\"confirmed\":false,\"error\":\"line 1 is not JSON: see its column 1\"}\n",
            "{\"line\":3,\"solved\":null,\"confirmed\":false,\"error\":\"line 3 is not a JSON object with `task` and `candidate`\"}\n",
        ];
        assert_eq!(printed, expected);
        assert_eq!(counts.unwrap().bad, 2);
    }

    /// A reader that breaks, or never ends.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match self.0 {
                true => Err(io::Error::other("the input broke")),
                false => {
                    to[..2].copy_from_slice(b"{\n");
                    Ok(2)
                }
            }
        }
    }

    #[tokio::test]
    async fn a_broken_input_is_an_error() {
        let (printed, counts) = served(io::BufReader::new(Broken(true)), |_| Ok(true)).await;
        assert_eq!((printed.len(), counts.unwrap_err().to_string()), (0, "the input broke".into()));
    }

    #[tokio::test]
    async fn a_broken_or_closed_output_ends_it_although_the_input_has_no_end() {
        let (printed, counts) = served(io::BufReader::new(Broken(false)), |_| Ok(false)).await;
        assert_eq!((printed.len(), counts.unwrap().stopped), (1, false));
        let broken = |_: &str| Err(io::Error::other("the output broke"));
        let (_, counts) = served(io::BufReader::new(Broken(false)), broken).await;
        assert_eq!(counts.unwrap_err().to_string(), "the output broke");
    }
}
