use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A balancer in which each step is checked. Time passes only where a step says so.
struct Steps {
    balancer: Balancer,
    now: Duration,
    open: Vec<(u64, Place)>,
}

impl Steps {
    fn new(servers: usize) -> Steps {
        Steps { balancer: Balancer::new(servers, 1.0), now: Duration::ZERO, open: Vec::new() }
    }

    /// Sends a request of this episode, to the expected server.
    #[track_caller]
    fn send(&mut self, episode: u64, expected: usize) -> &mut Steps {
        let place = self.balancer.place(episode, |_| 8.0);
        assert_eq!(place.server, expected, "episode {episode}");
        self.open.push((episode, place));
        self
    }

    /// Ends the episode's oldest request.
    #[track_caller]
    fn end(&mut self, episode: u64, outcome: Outcome, expected: Retry) -> &mut Steps {
        let at = self.open.iter().position(|(of, _)| *of == episode).unwrap();
        let (_, place) = self.open.remove(at);
        let retry = self.balancer.ended(place, outcome, "gone", self.now);
        assert_eq!(retry, expected, "episode {episode}: {outcome:?}");
        self
    }

    fn answer(&mut self, episode: u64) -> &mut Steps {
        self.end(episode, Outcome::Answered, Retry::Later)
    }

    /// Waits for this server's probe.
    #[track_caller]
    fn probe(&mut self, server: usize, fault: Option<&str>) -> &mut Steps {
        let due = self.balancer.down_until(server).expect("it is down");
        assert!(due > self.now, "it is not probed at once");
        assert!(self.balancer.due(due - Duration::from_millis(1)).is_empty());
        self.now = due;
        assert_eq!(self.balancer.due(self.now), [server]);
        self.balancer.probed(server, fault.map(str::to_owned), self.now);
        self
    }

    /// Which servers are up.
    #[track_caller]
    fn up(&mut self, expected: &[bool]) -> &mut Steps {
        let up: Vec<bool> = (0..expected.len()).map(|at| self.balancer.is_up(at)).collect();
        assert_eq!(up, expected);
        self
    }
}

#[test]
fn an_episode_stays_at_its_server_and_new_ones_go_where_the_load_is_lowest() {
    let mut steps = Steps::new(3);
    steps.send(1, 0).send(2, 1).send(3, 2).send(4, 0).answer(2);
    // Server 1 has nothing in flight; then all have one or two, and one has fewer episodes.
    steps.send(5, 1).answer(1).answer(4).answer(3).answer(5);
    steps.send(1, 0).send(4, 0).send(2, 1).send(3, 2);
    steps.send(6, 2).send(7, 1).answer(6).answer(7);
    for episode in [1, 4, 2, 3] {
        steps.answer(episode);
    }
    steps.send(2, 1).send(1, 0).send(3, 2).send(5, 1).send(6, 2).send(7, 1);
}

#[test]
fn load_is_relative_to_what_a_server_takes() {
    let mut balancer = Balancer::new(2, 1.0);
    let capacity = |at: usize| [2.0, 6.0][at];
    let servers: Vec<usize> =
        (0..8).map(|episode| balancer.place(episode, capacity).server).collect();
    assert_eq!(servers.iter().filter(|server| **server == 1).count(), 6, "{servers:?}");
    // The same calls place the same episodes at the same servers.
    let mut again = Balancer::new(2, 1.0);
    let repeated: Vec<usize> = (0..8).map(|at| again.place(at, capacity).server).collect();
    assert_eq!(servers, repeated);
}

#[test]
fn a_server_that_refuses_connections_is_down_and_its_episodes_go_elsewhere() {
    let mut steps = Steps::new(2);
    steps.send(1, 0).send(2, 1);
    steps.end(1, Outcome::Unreachable, Retry::Elsewhere).up(&[false, true]);
    steps.send(1, 1).send(3, 1).answer(1).answer(2).answer(3);
    assert_eq!(steps.balancer.last_error(0), "gone");
    // It fails its first probe, then passes one: a single request tries it.
    steps.probe(0, Some("still gone")).send(4, 1).answer(4);
    assert_eq!(steps.balancer.last_error(0), "still gone");
    steps.probe(0, None).up(&[false, true]);
    steps.send(5, 0).send(6, 1).send(7, 1).answer(6).answer(7);
    // What moved away stays where its prefix cache is now.
    steps.send(1, 1).answer(1).answer(5).up(&[true, true]);
    steps.send(8, 0).send(9, 1);
}

#[test]
fn a_trial_that_fails_closes_the_server_for_longer() {
    let mut steps = Steps::new(2);
    steps.send(1, 0).send(2, 1).end(1, Outcome::Unreachable, Retry::Elsewhere);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let before = steps.now;
        steps.probe(0, None);
        waits.push(steps.now - before);
        let episode = 1000 + waits.len() as u64;
        steps.send(episode, 0).end(episode, Outcome::Broken, Retry::Elsewhere).up(&[false, true]);
    }
    assert!(waits.windows(2).all(|two| two[0] < two[1]), "{waits:?}");
    // Who does not wait for the answer leaves the trial to the next.
    steps.probe(0, None).send(7, 0).end(7, Outcome::Dropped, Retry::Later);
    steps.send(8, 0).send(9, 1).answer(8).up(&[true, true]);
}

#[test]
fn only_what_shows_that_a_server_is_dead_counts() {
    use Outcome::{Answered, Broken, Dropped, Failed, Resting, Unreachable};
    #[track_caller]
    fn check(outcomes: &[(Outcome, Retry)], up: bool) {
        let mut steps = Steps::new(2);
        for (outcome, retry) in outcomes {
            steps.send(1, 0).end(1, *outcome, *retry);
        }
        steps.up(&[up, true]);
    }
    let again = (Broken, Retry::Again);
    let failed = (Failed, Retry::Later);
    check(&[again], true);
    check(&[again, (Broken, Retry::Elsewhere)], false);
    check(&[again, (Answered, Retry::Later), again], true);
    check(&[again, (Dropped, Retry::Later), (Broken, Retry::Elsewhere)], false);
    check(&[(Answered, Retry::Later); 9], true);
    check(&[failed; 5], true);
    check(&[failed, failed, failed, failed, failed, (Failed, Retry::Elsewhere)], false);
    check(&[failed, failed, failed, (Answered, Retry::Later), failed, failed, failed], true);
    check(&[(Unreachable, Retry::Elsewhere)], false);
    check(&[(Resting(60 * SECOND), Retry::Elsewhere)], false);
}

#[test]
fn a_server_rests_for_as_long_as_it_asks() {
    let mut steps = Steps::new(2);
    steps.now = SECOND;
    steps.send(1, 0).end(1, Outcome::Resting(600 * SECOND), Retry::Elsewhere);
    assert_eq!(steps.balancer.next_probe(), Some(601 * SECOND));
}

#[test]
fn what_was_sent_before_a_server_went_down_does_not_bring_it_back_or_close_it_again() {
    let mut steps = Steps::new(2);
    steps.send(1, 0).send(2, 1).send(3, 0).send(4, 1).send(5, 0);
    steps.end(1, Outcome::Unreachable, Retry::Elsewhere).answer(3).up(&[false, true]);
    let waiting = steps.open.iter().find(|(episode, _)| *episode == 5).unwrap().1;
    assert!(!steps.balancer.is_current(waiting), "a request that waited is placed again");
    steps.probe(0, None).send(6, 0).answer(6).up(&[true, true]);
    steps.end(5, Outcome::Broken, Retry::Again).up(&[true, true]);
}

#[test]
fn without_a_server_that_is_up_the_rules_of_a_single_server_hold() {
    let mut steps = Steps::new(2);
    steps.send(1, 0).send(2, 1);
    steps.end(1, Outcome::Unreachable, Retry::Elsewhere);
    steps.end(2, Outcome::Unreachable, Retry::Later).up(&[false, false]);
    // Each is tried in turn.
    for server in [0, 1, 0, 1] {
        steps.send(1, server);
        assert!(steps.balancer.is_current(steps.open[0].1), "there is no other");
        steps.end(1, Outcome::Unreachable, Retry::Later).up(&[false, false]);
    }
    // One that answers although it was down is up.
    steps.send(3, 0).answer(3).up(&[true, false]).send(1, 0).send(4, 0);
}

#[test]
fn a_single_server_is_never_left_out() {
    let mut steps = Steps::new(1);
    for _ in 0..9 {
        steps.send(1, 0).end(1, Outcome::Unreachable, Retry::Later).up(&[true]);
    }
    assert_eq!(steps.balancer.next_probe(), None);
}

#[test]
fn memory_does_not_grow_with_the_number_of_episodes() {
    let mut homes = Homes::default();
    for episode in 0..3 * MAX_EPISODES as u64 {
        homes.set(episode, 1);
        homes.set(0, 2);
    }
    assert!(homes.all.len() <= MAX_EPISODES);
    assert_eq!((homes.get(0), homes.get(1)), (Some(2), None));
}
