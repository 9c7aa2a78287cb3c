//! Lets async code wait for blocking work, on whichever executor it runs.

use std::io;

use tokio::sync::oneshot;

use crate::Error;

/// Does the work on a thread of its own. Not `spawn_blocking`, which needs a tokio runtime around it.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("lockd-testing-wait".to_owned())
        .spawn(move || {
            // Nobody to tell: the caller has lost interest.
            let _ = done.send(work());
        })
        .map_err(Error::io("start a thread to wait on"))?;
    result.await.map_err(|_| Error::io("wait on a thread")(io::Error::other("it has panicked")))
}
