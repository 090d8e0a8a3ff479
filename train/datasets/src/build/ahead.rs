//! Reads and parses episodes in other threads while this one works on earlier episodes:
//! parsing takes more than half of a build's time.

use std::sync::mpsc::sync_channel;
use std::thread;

use fixfly_runtime::Episode;

use super::Run;
use crate::error::DatasetError;

/// Maximum number of parsed episodes that wait per reader. It limits memory.
const WAITING: usize = 8;

/// Passes the episodes at these places to `work`, in this order. A place is the number of a
/// run and an index in it; `work` also gets the value beside the place. Stops at the first
/// error.
pub(super) fn ahead<T: Copy + Sync>(
    runs: &[Run],
    places: &[((usize, usize), T)],
    mut work: impl FnMut(T, Episode) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let readers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        // Each reader gets every n-th place, so that taking from the readers in turn keeps
        // the order.
        let reader = |first: usize| {
            let (give, take) = sync_channel(WAITING);
            scope.spawn(move || {
                for ((run, at), _) in places.iter().skip(first).step_by(readers) {
                    // The receiver is closed: the work ended with an error.
                    if give.send(runs[*run].recording.episode(*at)).is_err() {
                        break;
                    }
                }
            });
            take
        };
        let taken: Vec<_> = (0..readers).map(reader).collect();
        for (nth, (_, wanted)) in places.iter().enumerate() {
            // The reader panicked, and the scope reports it.
            let Ok(episode) = taken[nth % readers].recv() else { break };
            work(*wanted, episode?)?;
        }
        Ok(())
    })
}
