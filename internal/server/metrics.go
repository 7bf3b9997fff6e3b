package server

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// metrics are what the server counts. Labels are names of services, operations
// and error codes: never a key, an account or anything else of a caller.
type metrics struct {
	calls         *prometheus.CounterVec   // by service, operation, code
	durations     *prometheus.HistogramVec // by service, operation
	authFailures  counters                 // by code
	refused       counters                 // by code
	auditFailures prometheus.Counter
}

// success is the code of calls that did not fail.
const success = "Success"

// newRegistry returns a registry with the metrics of Go and the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func newMetrics(s *Server) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyreeve_calls_total",
			Help: "Authenticated calls, by the code they were answered with.",
		}, []string{"service", "operation", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "keyreeve_call_duration_seconds",
			Help:    "Time from a call's header to its answer, record included.",
			Buckets: prometheus.ExponentialBucketsRange(25e-6, 10, 18),
		}, []string{"service", "operation"}),
		auditFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyreeve_audit_failures_total",
			Help: "Calls that were refused because they could not be recorded.",
		}),
	}
	authFailures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keyreeve_auth_failures_total",
		Help: "Requests whose caller could not be authenticated, by the code that the JSON protocol answers.",
	}, []string{"code"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keyreeve_refused_requests_total",
		Help: "Requests that were refused before authentication for other reasons, by such a code.",
	}, []string{"code"})
	m.authFailures.vec, m.refused.vec = authFailures, refused

	for _, c := range []prometheus.Collector{
		m.calls, m.durations, m.auditFailures, authFailures, refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keyreeve_requests_in_flight",
			Help: "Requests that are being served.",
		}, func() float64 { return float64(s.gate.inside.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keyreeve_requests_reading",
			Help: "Requests whose bodies are being read.",
		}, func() float64 { return float64(s.lobby.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keyreeve_requests_waiting",
			Help: "Requests that wait because too many are being served.",
		}, func() float64 { return float64(s.gate.waiting.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keyreeve_sealed",
			Help: "1 while the node is sealed.",
		}, func() float64 {
			if s.Sealed() {
				return 1
			}
			return 0
		}),
	} {
		if err := s.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// A meter counts the calls of one operation.
type meter struct {
	duration prometheus.Observer
	success  prometheus.Counter
	failures counters
}

func (m *metrics) meter(service, operation string) *meter {
	labels := prometheus.Labels{"service": service, "operation": operation}
	calls := m.calls.MustCurryWith(labels)
	return &meter{
		duration: m.durations.With(labels),
		success:  calls.WithLabelValues(success),
		failures: counters{vec: calls},
	}
}

// add counts a call that took so long and was answered e, or nil.
func (m *meter) add(took time.Duration, e *wire.Error) {
	m.duration.Observe(took.Seconds())
	if e == nil {
		m.success.Inc()
		return
	}
	m.failures.inc(e.Code)
}

// counters count by code. A code's counter is looked up in the vector, which
// takes a lock, once.
type counters struct {
	vec   *prometheus.CounterVec
	known atomic.Pointer[map[string]prometheus.Counter] // replaced, never changed
}

// inc counts one more of a code. The code is one of ours, so they are few.
func (c *counters) inc(code string) {
	known := c.known.Load()
	if known != nil {
		if counter, ok := (*known)[code]; ok {
			counter.Inc()
			return
		}
	}
	counter := c.vec.WithLabelValues(code)
	counter.Inc()
	next := map[string]prometheus.Counter{code: counter}
	if known != nil {
		maps.Copy(next, *known)
	}
	// If another goroutine was faster, a later call adds it.
	c.known.CompareAndSwap(known, &next)
}
