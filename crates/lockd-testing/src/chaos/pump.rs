//! Moves the bytes of one direction of a connection, late, slowly, in pieces, or not at all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::counts::{Record, What};
use super::dice::Dice;
use super::epoch::Epoch;
use super::proxy::proxy_gone;
use super::stream::Stream;
use super::{Chaos, Direction, Harm, Plan};

/// How much may be under way, so that a sender feels it when a reader is slow. Enough for 40 MB/s at 100 ms.
const UNDER_WAY: usize = 4 << 20;
/// What a piece costs beside its bytes.
const COST_OF_PIECE: usize = 256;
/// A limited bandwidth is spent in steps of this length. Also how much an idle connection may save up.
const STEP: Duration = Duration::from_millis(20);

/// Why a direction has no more to move, while the other may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    /// The sender has said all, and the receiver knows.
    Said,
    /// The receiver is gone. It may have said something before, so that the other direction is not disturbed.
    Unheard,
}

/// Why a whole connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Harm was planned.
    Harm(Harm),
    /// One side has broken it off.
    Broken,
}

#[derive(Debug)]
struct Piece {
    came: Instant,
    /// How much of the jitter it suffers, from 0 to 1.
    luck: f64,
    what: Content,
}

#[derive(Debug)]
enum Content {
    Bytes { bytes: Box<[u8]>, written: usize },
    End,
    Break,
}

/// What to do about the first piece, now that its time has come.
enum Step {
    Write(usize),
    Harm(Harm),
    End(Result<Finished, End>),
}

pub(super) struct Pump<'a> {
    pub(super) from: &'a Stream,
    pub(super) to: &'a Stream,
    pub(super) direction: Direction,
    pub(super) connection: u64,
    pub(super) epochs: watch::Receiver<Arc<Epoch>>,
    pub(super) record: &'a Record,
    pub(super) dice: Dice,
}

impl Pump<'_> {
    pub(super) async fn run(self) -> Result<Finished, End> {
        let Pump { from, to, direction, connection, mut epochs, record, mut dice } = self;
        let mut epoch = epochs.borrow_and_update().clone();
        let mut course = Course::new(epoch.plan(connection), direction);
        let mut line = Line::default();
        let mut free_at = Instant::now();
        let mut buffer = Vec::new();
        loop {
            let chaos = epoch.of(connection);
            buffer.resize(chaos.chunk, 0);
            let held = course.stalled || chaos.frozen;
            let step = line.pieces.front().map(|piece| course.step(piece, chaos));
            let due = line.pieces.front().map_or(free_at, |piece| piece.due(chaos).max(free_at));
            tokio::select! {
                biased;
                changed = epochs.changed() => {
                    if changed.is_err() {
                        return proxy_gone().await;
                    }
                    epoch = epochs.borrow_and_update().clone();
                    course = Course::new(epoch.plan(connection), direction);
                    free_at = Instant::now();
                }
                moved = take(to, &line, step.as_ref(), due), if !held && step.is_some() => match (step, moved) {
                    (Some(Step::Harm(harm)), _) => {
                        if !epoch.may_harm(connection) {
                            course.harm = None;
                            continue;
                        }
                        let what = What::Harmed {
                            harm,
                            direction,
                            after_bytes: course.passed,
                        };
                        record.note(connection, what);
                        if harm != Harm::Stall {
                            return Err(End::Harm(harm));
                        }
                        course.stalled = true;
                    }
                    (Some(Step::End(end)), _) => {
                        if end.is_ok() {
                            to.finish();
                        }
                        return end;
                    }
                    (_, Ok(written)) => {
                        course.passed += written as u64;
                        free_at = chaos.busy_until(free_at, written);
                        let delayed = line.wrote(written).is_some_and(|luck| !chaos.delay(luck).is_zero());
                        record.passed(direction, written, delayed);
                    }
                    (_, Err(_)) => return Ok(Finished::Unheard),
                },
                read = from.read(&mut buffer), if !held && !line.ended && line.cost < UNDER_WAY => {
                    let what = match read {
                        Ok(0) => Content::End,
                        Ok(read) => Content::Bytes { bytes: buffer[..read].into(), written: 0 },
                        Err(_) => Content::Break,
                    };
                    line.add(Piece { came: Instant::now(), luck: dice.unit(), what });
                }
            }
        }
    }
}

/// Waits for the time of the first piece, and writes what may be written of it. Can be dropped at any time.
async fn take(to: &Stream, line: &Line, step: Option<&Step>, due: Instant) -> std::io::Result<usize> {
    if due > Instant::now() {
        sleep_until(due).await;
    }
    match (step, line.pieces.front()) {
        (Some(Step::Write(most)), Some(Piece { what: Content::Bytes { bytes, written }, .. })) => {
            let rest = bytes.get(*written..).unwrap_or_default();
            to.write(rest.get(..*most).unwrap_or(rest)).await
        }
        _ => Ok(0),
    }
}

/// How far one direction has come under the chaos of now.
#[derive(Debug)]
struct Course {
    /// What is in store for this direction, and after how many bytes.
    harm: Option<(Harm, u64)>,
    passed: u64,
    stalled: bool,
}

impl Course {
    fn new(plan: Plan, direction: Direction) -> Course {
        let harm = plan.harm.filter(|harm| *harm != Harm::Refuse && plan.direction == direction);
        Course { harm: harm.map(|harm| (harm, plan.after_bytes)), passed: 0, stalled: false }
    }

    fn step(&self, piece: &Piece, chaos: &Chaos) -> Step {
        let left = match &piece.what {
            Content::End => return Step::End(Ok(Finished::Said)),
            Content::Break => return Step::End(Err(End::Broken)),
            Content::Bytes { bytes, written } => bytes.len().saturating_sub(*written),
        };
        let most = left.min(chaos.in_one_step());
        match self.harm.map(|(harm, after)| (harm, after.saturating_sub(self.passed))) {
            Some((harm, 0)) => Step::Harm(harm),
            Some((_, unharmed)) => Step::Write(most.min(usize::try_from(unharmed).unwrap_or(usize::MAX))),
            None => Step::Write(most),
        }
    }
}

impl Piece {
    fn due(&self, chaos: &Chaos) -> Instant {
        self.came + chaos.delay(self.luck)
    }
}

/// What is under way, in order.
#[derive(Debug, Default)]
struct Line {
    pieces: VecDeque<Piece>,
    cost: usize,
    /// No more will come.
    ended: bool,
}

impl Line {
    fn add(&mut self, piece: Piece) {
        match &piece.what {
            Content::Bytes { bytes, .. } => self.cost += bytes.len() + COST_OF_PIECE,
            Content::End | Content::Break => self.ended = true,
        }
        self.pieces.push_back(piece);
    }

    /// So much of the first piece was written. Tells its luck when that was all of it.
    fn wrote(&mut self, count: usize) -> Option<f64> {
        let Piece { what: Content::Bytes { bytes, written }, luck, .. } = self.pieces.front_mut()? else {
            return None;
        };
        *written += count;
        if *written < bytes.len() {
            return None;
        }
        let luck = *luck;
        self.cost = self.cost.saturating_sub(bytes.len() + COST_OF_PIECE);
        self.pieces.pop_front();
        Some(luck)
    }
}

impl Chaos {
    fn delay(&self, luck: f64) -> Duration {
        self.latency + self.jitter.mul_f64(luck)
    }

    /// How many bytes may leave at once.
    fn in_one_step(&self) -> usize {
        let Some(bandwidth) = self.bandwidth else {
            return usize::MAX;
        };
        let steps = (Duration::from_secs(1).as_millis() / STEP.as_millis()) as u64;
        usize::try_from(bandwidth / steps).unwrap_or(usize::MAX).max(1)
    }

    /// Until when the bytes that just left keep the line busy.
    fn busy_until(&self, free_at: Instant, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(bandwidth) = self.bandwidth else {
            return now;
        };
        // Timers are late; what they lose is made good, or the bandwidth would never be reached.
        let from = now.checked_sub(STEP).map_or(free_at, |earliest| free_at.max(earliest));
        from + Duration::from_secs_f64(bytes as f64 / bandwidth as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &[u8]) -> Piece {
        Piece { came: Instant::now(), luck: 0.5, what: Content::Bytes { bytes: bytes.into(), written: 0 } }
    }

    #[test]
    fn a_line_is_charged_for_what_is_in_it() {
        let mut line = Line::default();
        line.add(piece(b"abc"));
        line.add(piece(b"d"));
        assert_eq!(line.cost, 4 + 2 * COST_OF_PIECE);
        assert_eq!([line.wrote(2), line.wrote(1)], [None, Some(0.5)]);
        assert_eq!(line.cost, 1 + COST_OF_PIECE);
        assert!(line.wrote(1).is_some() && line.cost == 0 && line.wrote(1).is_none());
    }

    #[test]
    fn the_bandwidth_is_spent_in_steps() {
        assert_eq!(Chaos::calm().in_one_step(), usize::MAX);
        assert_eq!(Chaos::calm().bandwidth(50_000).in_one_step(), 1000);
        assert_eq!(Chaos::calm().bandwidth(0).in_one_step(), 1);
        let now = Instant::now();
        let busy = Chaos::calm().bandwidth(1000).busy_until(now + Duration::from_secs(60), 500);
        assert_eq!(busy, now + Duration::from_millis(60_500), "it adds up");
        let long_ago = now.checked_sub(Duration::from_secs(5)).unwrap_or(now);
        let busy = Chaos::calm().bandwidth(1000).busy_until(long_ago, 500);
        assert!(busy >= now + Duration::from_millis(400), "little is saved up by being idle");
    }
}
