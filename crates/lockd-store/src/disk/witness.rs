//! What the test of power cuts is told about what this code asks of the file system. Nothing in a program.

#[cfg(not(test))]
pub(super) use silent::*;
#[cfg(test)]
pub(super) use telling::*;

#[cfg(not(test))]
mod silent {
    use std::path::Path;

    pub(in crate::disk) fn wrote(_: &Path) {}
    pub(in crate::disk) fn synced(_: &Path) {}
    pub(in crate::disk) fn renamed(_: &Path) {}
    pub(in crate::disk) fn synced_directory(_: &Path) {}
}

#[cfg(test)]
mod telling {
    use std::cell::{Cell, RefCell};
    use std::panic::resume_unwind;
    use std::path::Path;

    /// A call that has returned.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::disk) enum Step<'a> {
        Wrote,
        /// The content of this file.
        Synced(&'a Path),
        /// To this name.
        Renamed,
        /// The names in this directory.
        SyncedDirectory(&'a Path),
    }

    type Watch = Box<dyn FnMut(Step<'_>)>;

    /// What a kill at some step unwinds with.
    pub(in crate::disk) struct Killed;

    thread_local! {
        /// Whether this thread dies after the next step.
        pub(in crate::disk) static KILL: Cell<bool> = const { Cell::new(false) };
        /// Whoever watches this thread.
        pub(in crate::disk) static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
    }

    fn tell(step: Step<'_>) {
        // Not to whoever is looking already: it opens stores itself.
        let watch = WATCH.with_borrow_mut(Option::take);
        if let Some(mut watch) = watch {
            watch(step);
            WATCH.set(Some(watch));
            if KILL.take() {
                resume_unwind(Box::new(Killed));
            }
        }
    }

    pub(in crate::disk) fn wrote(_: &Path) {
        tell(Step::Wrote);
    }
    pub(in crate::disk) fn synced(path: &Path) {
        tell(Step::Synced(path));
    }
    pub(in crate::disk) fn renamed(_: &Path) {
        tell(Step::Renamed);
    }
    pub(in crate::disk) fn synced_directory(path: &Path) {
        tell(Step::SyncedDirectory(path));
    }
}
