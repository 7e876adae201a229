"""What Prometheus may know. No ids in labels."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "remit_requests_total",
    "Requests answered. The operation of a call to an agent is its JSON-RPC method; where the agent failed it, its "
    "outcome is agent_error whatever the status.",
    ["route", "method", "status", "operation", "outcome"],
)
REQUEST_SECONDS = Histogram(
    "remit_request_seconds",
    "Time from the first byte of a request to the start of its answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CHECKS = Counter("remit_authorization_checks_total", "Authorization questions.", ["type", "permission", "outcome"])
CHECKS_PER_REQUEST = Histogram(
    "authorization_checks_per_request",
    "Authorization questions asked in one request; a growing tail is an N+1.",
    buckets=(0, 1, 2, 3, 5, 10, 50, 100),
)
AGENT_CALLS = Counter("remit_agent_calls_total", "Calls to agents.", ["method", "outcome"])
OPEN_STREAMS = Gauge("remit_open_streams", "Task streams open at the moment.")
SHADOW_COMPARISONS = Counter(
    "remit_shadow_comparisons_total",
    "Answers of roles compared with what relationships would have answered.",
    ["type", "permission", "outcome", "class"],
)
SHADOW_DROPPED = Counter("remit_shadow_dropped_total", "Answers that were not compared because too many waited.")
AUDIT_LOST = Counter("remit_audit_lost_total", "Audit entries that could not be written.")
LIMITED = Counter("remit_limited_total", "Requests answered 429.", ["limit"])
REDIS_LOST = Counter("remit_redis_updates_lost_total", "Live updates that Redis did not take.")
