//! Who drives an upstream connection: most often the request that waits for its answer.
//!
//! A connection in a task of its own costs a request three runs of that task and as many wake-ups. So
//! a connection has no task until it needs one: whoever waits for an answer polls the connection in
//! the same breath. While it lies idle nobody polls it; what happens to it then is noted by its
//! [`Bell`] and looked at before it is used again. A request whose body streams, or that asks for
//! another protocol, gives its connection a task for good: both directions must go on whatever the
//! client does with the answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A connection's future. How an exchange ended is told to the one who waits for its answer.
type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a driven connection wakes. It passes the call on to the task that waits, if one does.
#[derive(Default)]
struct Bell {
    task: AtomicWaker,
    /// Nobody waits, or whoever does is at it already: the call is noted.
    is_muted: AtomicBool,
    has_rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        if !self.is_muted.load(Ordering::Acquire) {
            self.task.wake();
        }
    }
}

/// A connection and who drives it.
pub(super) struct Drive {
    /// `None` once it has ended or has a task of its own.
    connection: Option<Connection>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_driven = self.connection.is_some();
        f.debug_struct("Drive").field("is_driven", &is_driven).finish_non_exhaustive()
    }
}

impl Drive {
    pub(super) fn new(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        let bell = Arc::<Bell>::default();
        bell.is_muted.store(true, Ordering::Release);
        let waker = Waker::from(Arc::clone(&bell));
        Self { connection: Some(Box::pin(connection)), bell, waker }
    }

    /// Gives the connection a task of its own.
    pub(super) fn detach(&mut self) {
        if let Some(connection) = self.connection.take() {
            tokio::spawn(connection);
        }
    }

    /// Waits for something that comes over the connection, and drives it meanwhile. `part` is asked
    /// before and after, and is woken like the connection.
    pub(super) fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut part: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(connection) = &mut self.connection else { return part(cx) };
        self.bell.is_muted.store(true, Ordering::Release);
        let mut inner = Context::from_waker(&self.waker);
        let had_rung = self.bell.has_rung.load(Ordering::Acquire);
        if let Poll::Ready(done) = part(&mut inner) {
            // Taking a piece rings for the next, which is not wanted before this is asked again.
            self.bell.has_rung.store(had_rung, Ordering::Release);
            return Poll::Ready(done);
        }
        self.bell.has_rung.store(false, Ordering::Release);
        if connection.as_mut().poll(&mut inner).is_ready() {
            self.connection = None;
        }
        if let Poll::Ready(done) = part(&mut inner) {
            self.bell.has_rung.store(false, Ordering::Release);
            return Poll::Ready(done);
        }
        self.bell.task.register(cx.waker());
        self.bell.is_muted.store(false, Ordering::Release);
        if self.bell.has_rung.load(Ordering::Acquire) {
            // It asked to go on before anybody listened.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Looks at what has happened since the connection was last driven, if anything has or `must`.
    pub(super) fn look(&mut self, must: bool) {
        if !self.bell.has_rung.swap(false, Ordering::AcqRel) && !must {
            return;
        }
        let mut inner = Context::from_waker(&self.waker);
        if self.connection.as_mut().is_some_and(|one| one.as_mut().poll(&mut inner).is_ready()) {
            self.connection = None;
        }
    }

    /// Nobody waits any more.
    pub(super) fn rest(&self) {
        self.bell.is_muted.store(true, Ordering::Release);
        let _task = self.bell.task.take();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A connection that counts how often it is driven and keeps its waker.
    #[derive(Default)]
    struct Line {
        polls: AtomicUsize,
        has_ended: AtomicBool,
        waker: Mutex<Option<Waker>>,
    }

    impl Line {
        fn drive(self: &Arc<Self>) -> Drive {
            let line = Arc::clone(self);
            Drive::new(poll_fn(move |cx| {
                line.polls.fetch_add(1, Ordering::Relaxed);
                *line.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                    Some(cx.waker().clone());
                let has_ended = line.has_ended.load(Ordering::Relaxed);
                if has_ended { Poll::Ready(()) } else { Poll::Pending }
            }))
        }

        fn ring(&self) {
            let waker = self.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(waker) = &*waker {
                waker.wake_by_ref();
            }
        }

        fn polls(&self) -> usize {
            self.polls.load(Ordering::Relaxed)
        }
    }

    /// A task that counts its wake-ups.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_waits_drives_the_connection_and_is_woken_by_it() {
        let (line, task) = (Arc::<Line>::default(), Arc::<Task>::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let mut drive = line.drive();
        assert!(drive.poll_with(&mut cx, |_| Poll::<()>::Pending).is_pending());
        assert_eq!((line.polls(), task.0.load(Ordering::Relaxed)), (1, 0));
        line.ring();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        // What is there already does not need the connection.
        assert!(drive.poll_with(&mut cx, |_| Poll::Ready(())).is_ready());
        assert_eq!(line.polls(), 1);
    }

    #[test]
    fn a_call_while_the_connection_is_driven_is_not_lost() {
        let task = Arc::<Task>::default();
        let waker = Waker::from(Arc::clone(&task));
        let mut drive = Drive::new(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let mut cx = Context::from_waker(&waker);
        assert!(drive.poll_with(&mut cx, |_| Poll::<()>::Pending).is_pending());
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_happens_to_an_idle_connection_wakes_nobody_and_is_seen_before_its_next_use() {
        let (line, task) = (Arc::<Line>::default(), Arc::<Task>::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let mut drive = line.drive();
        assert!(drive.poll_with(&mut cx, |_| Poll::<()>::Pending).is_pending());
        drive.rest();
        drive.look(false);
        assert_eq!(line.polls(), 1, "nothing happened");
        line.has_ended.store(true, Ordering::Relaxed);
        line.ring();
        assert_eq!(task.0.load(Ordering::Relaxed), 0);
        drive.look(false);
        assert_eq!(line.polls(), 2);
        assert!(drive.connection.is_none());
    }

    #[tokio::test]
    async fn a_connection_with_a_task_of_its_own_goes_on_by_itself() {
        let line = Arc::<Line>::default();
        let mut drive = line.drive();
        drive.detach();
        while line.polls() == 0 {
            tokio::task::yield_now().await;
        }
        let asked = poll_fn(|cx| drive.poll_with(cx, |_| Poll::Ready(line.polls()))).await;
        assert_eq!(asked, 1);
    }
}
