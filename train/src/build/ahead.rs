//! Episodes read and parsed by a second thread while the first works on those
//! before them: parsing is half of a build's time.

use std::sync::mpsc::sync_channel;
use std::thread;

use fixfly_runtime::Episode;

use super::Run;
use crate::error::DatasetError;

/// Episodes that wait at most, so that memory does not grow with their number.
const WAITING: usize = 16;

/// Hands over the episodes at these places, a run's number and the place in it,
/// in this order and each with what it is wanted for, until one is an error or
/// `work` makes one.
pub(super) fn ahead<T: Send>(
    runs: &[Run],
    places: impl Iterator<Item = ((usize, usize), T)> + Send,
    mut work: impl FnMut(T, Episode) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    thread::scope(|scope| {
        let (give, take) = sync_channel(WAITING);
        scope.spawn(move || {
            for ((run, at), wanted) in places {
                let episode = runs[run].recording.episode(at);
                // Nobody takes it: the work ended by an error.
                if give.send((wanted, episode)).is_err() {
                    break;
                }
            }
        });
        take.into_iter().try_for_each(|(wanted, episode)| work(wanted, episode?))
    })
}
