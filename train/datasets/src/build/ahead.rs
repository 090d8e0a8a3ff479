//! Episodes read and parsed by other threads while the first works on those
//! before them: parsing is more than half of a build's time.

use std::sync::mpsc::sync_channel;
use std::thread;

use fixfly_runtime::Episode;

use super::Run;
use crate::error::DatasetError;

/// Episodes of a reader that wait at most, so that memory does not grow with
/// their number.
const WAITING: usize = 8;

/// Hands over the episodes at these places, a run's number and the place in it,
/// in this order and each with what it is wanted for, until one is an error or
/// `work` makes one.
pub(super) fn ahead<T: Copy + Sync>(
    runs: &[Run],
    places: &[((usize, usize), T)],
    mut work: impl FnMut(T, Episode) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let readers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        // Each reader has every so many-th place, so that taking in turn keeps
        // the order.
        let reader = |first: usize| {
            let (give, take) = sync_channel(WAITING);
            scope.spawn(move || {
                for ((run, at), _) in places.iter().skip(first).step_by(readers) {
                    // Nobody takes it: the work ended by an error.
                    if give.send(runs[*run].recording.episode(*at)).is_err() {
                        break;
                    }
                }
            });
            take
        };
        let taken: Vec<_> = (0..readers).map(reader).collect();
        for (nth, (_, wanted)) in places.iter().enumerate() {
            // A reader that is gone panicked, and the scope says so.
            let Ok(episode) = taken[nth % readers].recv() else { break };
            work(*wanted, episode?)?;
        }
        Ok(())
    })
}
