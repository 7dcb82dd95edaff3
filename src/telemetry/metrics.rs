//! Names of metrics, and counters that cost a worker nothing shared.
//!
//! What happens on every request is counted in shards, one per worker and padded to its own cache
//! lines, and summed when scraped. Labels are bounded: routes come from the configuration, everything
//! else from the enums here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Why a request was refused, as a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Signing in could help.
    Challenge,
    /// The rule says no.
    Deny,
    /// A foreign site's page sent it.
    CrossSite,
    /// Malformed or ambiguous.
    Invalid,
    /// The store could not say.
    Unavailable,
    /// Over a limit.
    Limited,
}

/// How an upstream failed, as a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamFailure {
    /// No connection.
    Connect,
    /// It did not answer in time.
    Timeout,
    /// It closed or answered nonsense.
    Protocol,
}

// Labels, in the order of the enums' variants.
const REFUSED: [&str; 6] = ["challenge", "deny", "cross_site", "invalid", "unavailable", "limited"];
const FAILURES: [&str; 3] = ["connect", "timeout", "protocol"];
/// Labels of the hundreds of a status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the upstream latency histogram, in microseconds.
const BOUNDS: [u64; 10] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000];

/// One worker's counters of one route; its own cache lines, so workers do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    classes: [AtomicU64; 5],
    refused: [AtomicU64; 6],
    failures: [AtomicU64; 3],
    latency: [AtomicU64; 11],
    latency_sum: AtomicU64,
}

/// Sessions one worker recognised by what it remembers; on its own cache lines likewise.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Recalled(AtomicU64);

/// The counters of one route (or of `portal`, `-`).
#[derive(Debug)]
pub struct RouteMetrics {
    shards: Box<[Shard]>,
}

impl RouteMetrics {
    fn new(workers: usize) -> Self {
        Self { shards: (0..workers.max(1)).map(|_| Shard::default()).collect() }
    }

    fn shard(&self, worker: usize) -> &Shard {
        &self.shards[worker % self.shards.len()]
    }

    /// Counts an answer by its status' class.
    pub fn answered(&self, worker: usize, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.shard(worker).classes[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal.
    pub fn refused(&self, worker: usize, kind: Refused) {
        self.shard(worker).refused[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an upstream's failure.
    pub fn failed(&self, worker: usize, kind: UpstreamFailure) {
        self.shard(worker).failures[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long an upstream took to the head of its answer.
    pub fn took(&self, worker: usize, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        let shard = self.shard(worker);
        shard.latency[bucket].fetch_add(1, Ordering::Relaxed);
        shard.latency_sum.fetch_add(micros, Ordering::Relaxed);
    }

    fn sum(&self, read: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| read(shard).load(Ordering::Relaxed)).sum()
    }
}

/// How a sign-in ended, as a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignInOutcome {
    /// A session was made.
    Succeeded,
    /// Wrong credentials, or an account that may not sign in.
    Failed,
    /// Too many failures before, or too many waiting.
    Limited,
    /// The store or the pool failed.
    Error,
}

/// Labels, in the order of the variants.
const OUTCOMES: [&str; 4] = ["succeeded", "failed", "limited", "error"];

/// What became of a letter, as a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MailOutcome {
    /// It was asked for and put into the outbox.
    Queued,
    /// A mail server or a directory took it.
    Sent,
    /// An attempt to send it failed.
    Failed,
    /// It will not be tried again.
    GivenUp,
}

/// Labels, in the order of the variants.
const MAILED: [&str; 4] = ["queued", "sent", "failed", "given_up"];

/// Counters of the control plane, shared.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sign-ins with a password, by outcome.
    pub password_sign_ins: [AtomicU64; 4],
    /// Letters, by what became of them.
    pub letters: [AtomicU64; 4],
    /// Sessions found in the cache and used, but for those that workers still remember.
    pub session_hits: AtomicU64,
    /// Sessions loaded from the store.
    pub session_loads: AtomicU64,
    /// Store errors met.
    pub store_errors: AtomicU64,
    /// Reloads that took effect.
    pub reloads_applied: AtomicU64,
    /// Reloads that were refused.
    pub reloads_refused: AtomicU64,
    /// 1 while the running configuration is not the file's.
    pub configuration_stale: AtomicI64,
    /// Client connections open.
    pub open_connections: AtomicI64,
    /// Requests whose handler panicked.
    pub panics: AtomicU64,
}

impl Counters {
    /// Counts a sign-in with a password.
    pub fn signed_in(&self, outcome: SignInOutcome) {
        self.password_sign_ins[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what became of a letter.
    pub fn mailed(&self, outcome: MailOutcome) {
        self.letters[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Values read at scrape time from their owners.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    /// Sign-ins waiting for the hashing pool.
    pub hash_waiting: u64,
    /// Verifications running.
    pub hash_running: u64,
    /// Verifications done.
    pub hash_verified: u64,
    /// Time waited for the pool, summed.
    pub hash_waited: Duration,
    /// Age of the last good read of the change log.
    pub freshness: Duration,
    /// Sessions in the cache.
    pub cached_sessions: u64,
    /// Access lines dropped.
    pub access_dropped: u64,
}

/// Everything counted by one gateway.
pub struct Metrics {
    workers: usize,
    /// Shared counters.
    pub counters: Counters,
    recalled: Box<[Recalled]>,
    routes: Mutex<BTreeMap<String, Arc<RouteMetrics>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Metrics {
    /// For a number of workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        let (counters, routes) = (Counters::default(), Mutex::default());
        let recalled = (0..workers.max(1)).map(|_| Recalled::default()).collect();
        Arc::new(Self { workers, counters, recalled, routes })
    }

    /// Counts a session that a worker still remembers.
    pub fn recalled(&self, worker: usize) {
        self.recalled[worker % self.recalled.len()].0.fetch_add(1, Ordering::Relaxed);
    }

    /// Sessions found in memory and used.
    fn session_hits(&self) -> u64 {
        let recalled = self.recalled.iter().map(|one| one.0.load(Ordering::Relaxed));
        self.counters.session_hits.load(Ordering::Relaxed) + recalled.sum::<u64>()
    }

    /// The counters of a route, made on first sight and kept over reloads.
    #[must_use]
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = routes.get(name) {
            return Arc::clone(found);
        }
        let made = Arc::new(RouteMetrics::new(self.workers));
        routes.insert(name.to_owned(), Arc::clone(&made));
        made
    }

    /// The text exposition (`OpenMetrics` 1.0).
    #[must_use]
    pub fn expose(self: &Arc<Self>, readings: Readings) -> String {
        let mut registry = Registry::with_prefix("portcullis");
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        registry.register_collector(Box::new(Scrape {
            metrics: Arc::clone(self),
            routes,
            readings,
        }));
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _infallible = prometheus_client::encoding::text::encode(&mut out, &registry);
        out
    }
}

/// One scrape: a snapshot written out.
#[derive(Debug)]
struct Scrape {
    metrics: Arc<Metrics>,
    routes: BTreeMap<String, Arc<RouteMetrics>>,
    readings: Readings,
}

type Pairs<'a> = [(&'a str, &'a str)];

impl Scrape {
    fn counters<'a>(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (Vec<(&'a str, &'a str)>, u64)>,
    ) -> fmt::Result {
        let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            let labels: &Pairs<'_> = &labels;
            ConstCounter::new(value).encode(descriptor.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: u64,
    ) -> fmt::Result {
        let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(descriptor)
    }

    fn gauge(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: i64,
    ) -> fmt::Result {
        let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(descriptor)
    }

    fn seconds(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: Duration,
        kind: MetricType,
    ) -> fmt::Result {
        let descriptor = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
        if matches!(kind, MetricType::Counter) {
            ConstCounter::new(value.as_secs_f64()).encode(descriptor)
        } else {
            ConstGauge::new(value.as_secs_f64()).encode(descriptor)
        }
    }

    fn labelled<'a, const N: usize>(
        &'a self,
        label: &'a str,
        values: &'static [&'static str; N],
        read: impl Fn(&Shard, usize) -> &AtomicU64 + Copy + 'a,
    ) -> impl Iterator<Item = (Vec<(&'a str, &'a str)>, u64)> + 'a {
        self.routes.iter().flat_map(move |(route, metrics)| {
            values.iter().enumerate().filter_map(move |(index, value)| {
                let count = metrics.sum(|shard| read(shard, index));
                (count > 0).then(|| (vec![("route", route.as_str()), (label, *value)], count))
            })
        })
    }

    fn encode_routes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let rows = self.labelled("status", &CLASSES, |shard, i| &shard.classes[i]);
        Self::counters(encoder, "requests", "Requests by route and status class", rows)?;
        let rows = self.labelled("kind", &REFUSED, |shard, i| &shard.refused[i]);
        Self::counters(encoder, "refusals", "Requests refused, by route and kind", rows)?;
        let rows = self.labelled("kind", &FAILURES, |shard, i| &shard.failures[i]);
        Self::counters(encoder, "upstream_errors", "Upstream failures, by route and kind", rows)?;
        let help = "Time from a request sent upstream to the head of its answer";
        let unit = Some(&Unit::Seconds);
        let kind = MetricType::Histogram;
        let mut descriptor = encoder.encode_descriptor("upstream_latency", help, unit, kind)?;
        for (route, metrics) in &self.routes {
            let counts: Vec<u64> =
                (0..=BOUNDS.len()).map(|i| metrics.sum(|shard| &shard.latency[i])).collect();
            let total = counts.iter().sum();
            if total == 0 {
                continue;
            }
            let buckets: Vec<(f64, u64)> = BOUNDS
                .iter()
                .map(|bound| seconds(*bound))
                .chain([f64::INFINITY])
                .zip(counts)
                .collect();
            let labels: &Pairs<'_> = &[("route", route.as_str())];
            descriptor.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                seconds(metrics.sum(|shard| &shard.latency_sum)),
                total,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn encode_control(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = &self.metrics.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rows = OUTCOMES.iter().zip(&counters.password_sign_ins).map(|(outcome, count)| {
            let labels = vec![("method", "password"), ("outcome", *outcome)];
            (labels, count.load(Ordering::Relaxed))
        });
        Self::counters(encoder, "sign_ins", "Sign-ins by method and outcome", rows)?;
        let rows = MAILED
            .iter()
            .zip(&counters.letters)
            .map(|(outcome, count)| (vec![("outcome", *outcome)], count.load(Ordering::Relaxed)));
        Self::counters(encoder, "mail", "Letters by what became of them", rows)?;
        let rows = [("applied", &counters.reloads_applied), ("refused", &counters.reloads_refused)]
            .into_iter()
            .map(|(outcome, count)| (vec![("outcome", outcome)], count.load(Ordering::Relaxed)));
        Self::counters(encoder, "configuration_reloads", "Reloads by outcome", rows)?;
        for (name, help, value) in [
            ("session_cache_hits", "Sessions found in the cache", self.metrics.session_hits()),
            ("session_loads", "Sessions loaded from the store", read(&counters.session_loads)),
            ("store_errors", "Errors of the store", read(&counters.store_errors)),
            ("panics", "Requests whose handler panicked", read(&counters.panics)),
        ] {
            Self::counter(encoder, name, help, value)?;
        }
        for (name, help, value) in [
            ("open_connections", "Client connections open", &counters.open_connections),
            (
                "configuration_stale",
                "1 while the file's configuration was refused and the former one serves",
                &counters.configuration_stale,
            ),
        ] {
            Self::gauge(encoder, name, help, value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn encode_readings(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let readings = &self.readings;
        for (name, help, value) in [
            ("hash_queue_depth", "Sign-ins waiting for the hashing pool", readings.hash_waiting),
            ("hash_running", "Verifications running", readings.hash_running),
            ("cached_sessions", "Sessions in the cache", readings.cached_sessions),
        ] {
            Self::gauge(encoder, name, help, i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        let help = "Verifications done";
        Self::counter(encoder, "hash_verifications", help, readings.hash_verified)?;
        let help = "Access lines dropped because the writer could not keep up";
        Self::counter(encoder, "access_lines_dropped", help, readings.access_dropped)?;
        let help = "Time sign-ins have waited for the hashing pool";
        let kind = MetricType::Counter;
        Self::seconds(encoder, "hash_queue_wait", help, readings.hash_waited, kind)?;
        let help = "Age of the last good read of the change log";
        Self::seconds(encoder, "freshness_age", help, readings.freshness, MetricType::Gauge)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sum of microseconds shown in seconds")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_routes(&mut encoder)?;
        self.encode_control(&mut encoder)?;
        self.encode_readings(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_count_is_summed_when_scraped() {
        let metrics = Metrics::new(2);
        let route = metrics.route("/admin/**");
        route.answered(0, 200);
        route.answered(1, 204);
        route.answered(1, 503);
        route.refused(0, Refused::Deny);
        route.failed(1, UpstreamFailure::Timeout);
        route.took(0, Duration::from_millis(3));
        metrics.counters.signed_in(SignInOutcome::Failed);
        metrics.counters.session_hits.fetch_add(1, Ordering::Relaxed);
        metrics.recalled(0);
        metrics.recalled(1);
        let text = metrics.expose(Readings { hash_waiting: 4, ..Readings::default() });
        for line in [
            "portcullis_requests_total{route=\"/admin/**\",status=\"2xx\"} 2",
            "portcullis_requests_total{route=\"/admin/**\",status=\"5xx\"} 1",
            "portcullis_refusals_total{route=\"/admin/**\",kind=\"deny\"} 1",
            "portcullis_upstream_errors_total{route=\"/admin/**\",kind=\"timeout\"} 1",
            "portcullis_upstream_latency_seconds_count{route=\"/admin/**\"} 1",
            "portcullis_upstream_latency_seconds_bucket{le=\"0.005\",route=\"/admin/**\"} 1",
            "portcullis_sign_ins_total{method=\"password\",outcome=\"failed\"} 1",
            "portcullis_session_cache_hits_total 3",
            "portcullis_hash_queue_depth 4",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
