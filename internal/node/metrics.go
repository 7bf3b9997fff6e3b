package node

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/quota"
)

// auditMetrics are the metrics of what is recorded, delivered and copied. They
// are read where they are kept, when somebody asks. What belongs to the unsealed
// part of a node is told while there is one; counters begin anew with it.
//
// No label names anything of a tenant's.
type auditMetrics struct{ n *Node }

// The metrics, by what they are of. Those of the journal are there always.
var (
	auditRefusing = prometheus.NewDesc("keyreeve_audit_refusing",
		"1 while calls are refused because they could not be recorded: the disk is failing, or all but the reserve of it is full.", []string{"reason"}, nil)
	auditJournal = prometheus.NewDesc("keyreeve_audit_journal_bytes",
		"Size of the audit journal: records that are in no file of the archive yet.", nil, nil)
	auditOldest = prometheus.NewDesc("keyreeve_audit_journal_oldest_timestamp_seconds",
		"Time of the oldest of those records; 0 if there is none.", nil, nil)
	auditUnsettled = prometheus.NewDesc("keyreeve_audit_unsettled",
		"Changes that stand, and whose records could not be written yet.", nil, nil)
	auditDamage = prometheus.NewDesc("keyreeve_audit_damage",
		"What was found altered since the node was started, of the journal, and since it was unsealed, of the archive.", []string{"part"}, nil)
	securityDropped = prometheus.NewDesc("keyreeve_security_log_dropped_total",
		"Events that are not in the security log: there were too many of them, or they could not be written.", nil, nil)

	archiveDelivered = prometheus.NewDesc("keyreeve_audit_delivered_total",
		"What was delivered to the archive since the node was unsealed.", []string{"what"}, nil)
	archiveFailures = prometheus.NewDesc("keyreeve_audit_delivery_failures_total",
		"Attempts to deliver to the archive, to make digests or to remove what is too old that failed, since the node was unsealed.", nil, nil)
	archiveDigest = prometheus.NewDesc("keyreeve_audit_last_digest_timestamp_seconds",
		"When digests were made last since the node was unsealed; 0 if they were not.", nil, nil)
	indexEvents = prometheus.NewDesc("keyreeve_audit_index_events",
		"Events of the archive that are found by the index.", nil, nil)
	indexBytes = prometheus.NewDesc("keyreeve_audit_index_bytes",
		"Size of the index of the archive.", nil, nil)

	trailTrails = prometheus.NewDesc("keyreeve_trails",
		"Trails that copy to sinks of a kind.", []string{"sink"}, nil)
	trailFailing = prometheus.NewDesc("keyreeve_trails_failing",
		"Trails whose last attempt to copy failed.", []string{"sink"}, nil)
	trailLag = prometheus.NewDesc("keyreeve_trail_lag_seconds",
		"Age of the oldest file of the archive that some trail still has to copy; 0 if there is none.", []string{"sink"}, nil)
	trailEvents = prometheus.NewDesc("keyreeve_trail_events_total",
		"Events that trails have copied since the node was unsealed.", []string{"sink"}, nil)
	trailObjects = prometheus.NewDesc("keyreeve_trail_objects_total",
		"Objects that trails have put into buckets since the node was unsealed.", []string{"sink"}, nil)
	trailFailures = prometheus.NewDesc("keyreeve_trail_failures_total",
		"Attempts of trails to copy that failed, since the node was unsealed.", []string{"sink"}, nil)
	trailLost = prometheus.NewDesc("keyreeve_trail_lost_files_total",
		"Files of the archive that were removed for their age before trails had copied them, since the node was unsealed.", []string{"sink"}, nil)
)

// Describe implements [prometheus.Collector].
func (auditMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		auditRefusing, auditJournal, auditOldest, auditUnsettled, auditDamage, securityDropped,
		archiveDelivered, archiveFailures, archiveDigest, indexEvents, indexBytes,
		trailTrails, trailFailing, trailLag, trailEvents, trailObjects, trailFailures, trailLost,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m auditMetrics) Collect(ch chan<- prometheus.Metric) {
	n := m.n
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	err := n.audit.Err()
	reserve := errors.Is(err, audit.ErrReserve) || errors.Is(err, audit.ErrLast)
	gauge(auditRefusing, flag(err != nil && !reserve), "failing")
	gauge(auditRefusing, flag(reserve), "reserve")
	gauge(auditUnsettled, float64(n.audit.Unsettled()))
	gauge(auditDamage, float64(len(n.audit.Damage())), "journal")
	if n.security != nil {
		counter(securityDropped, n.security.Dropped())
	}
	u := n.open.Load()
	if segments, err := n.audit.Segments(); err == nil {
		var through uint64
		if u != nil && u.index != nil {
			through = u.index.Through()
		}
		var size int64
		oldest := 0.0
		for _, s := range segments {
			// The newest that was delivered stays in the journal until
			// another begins.
			if !s.Open && s.Number <= through {
				continue
			}
			size += s.Size
			if at := s.First; !at.IsZero() && (oldest == 0 || float64(at.Unix()) < oldest) {
				oldest = float64(at.Unix())
			}
		}
		gauge(auditJournal, float64(size))
		gauge(auditOldest, oldest)
	}
	if u == nil {
		return
	}
	if u.archive != nil {
		s := u.archive.Stats()
		gauge(auditDamage, float64(s.Damage), "archive")
		counter(archiveDelivered, s.Records, "records")
		counter(archiveDelivered, s.Files, "files")
		counter(archiveDelivered, s.Digests, "digests")
		counter(archiveFailures, s.Failures)
		last := 0.0
		if !s.LastDigest.IsZero() {
			last = float64(s.LastDigest.Unix())
		}
		gauge(archiveDigest, last)
	}
	if u.index != nil {
		s := u.index.Stats()
		gauge(indexEvents, float64(s.Events))
		gauge(indexBytes, float64(s.Bytes))
	}
	for _, s := range u.trails.Sinks() {
		gauge(trailTrails, float64(s.Trails), s.Kind)
		gauge(trailFailing, float64(s.Failing), s.Kind)
		gauge(trailLag, s.Lag.Seconds(), s.Kind)
		counter(trailEvents, s.Delivered, s.Kind)
		counter(trailObjects, s.Objects, s.Kind)
		counter(trailFailures, s.Failures, s.Kind)
		counter(trailLost, s.Lost, s.Kind)
	}
}

// quotaMetrics are the metrics of request quotas.
type quotaMetrics struct{ limits *quota.Limits }

var throttledCalls = prometheus.NewDesc("keyreeve_throttled_calls_total",
	"Calls that were refused for being over a request quota.", []string{"quota"}, nil)

// Describe implements [prometheus.Collector].
func (quotaMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- throttledCalls }

// Collect implements [prometheus.Collector].
func (m quotaMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, r := range m.limits.Refused() {
		ch <- prometheus.MustNewConstMetric(throttledCalls, prometheus.CounterValue, float64(r.Calls), r.Quota)
	}
}

// flag is a Boolean as a metric.
func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
