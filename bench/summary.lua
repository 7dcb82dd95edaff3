-- wrk's own summary rounds; this line holds what it measured.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'SUMMARY {"requests": %d, "micros": %d, "p50": %d, "p99": %d, "not_ok": %d, "broken": %d, "late": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write, errors.timeout))
end
