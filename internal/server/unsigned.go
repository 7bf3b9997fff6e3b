package server

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// maxUnsigned is the largest body of a request without a signature, in bytes:
// the longest token and session policy, escaped, have room in it.
const maxUnsigned = 128 << 10

// unsigned takes a request without a signature for one of the service that has
// operations which need none, if there is one. Which operation it is for stands
// in its body.
func (s *Server) unsigned(r *http.Request, c *call.Call, id *identity) bool {
	if id.protocol != Query || r.Header[headerAuthorization] != nil {
		return false
	}
	for _, svc := range id.backend.services {
		if svc.protocol == Query && len(svc.unsigned) > 0 {
			id.service, id.unsigned = svc, true
			c.Service, c.Region = svc.name, s.regionOf(r.Host)
			return true
		}
	}
	return false
}

const headerAuthorization = "Authorization"

// regionOf returns the Region that a host is named after, such as that of
// sts.eu-central-1.amazonaws.com, or else that of the global endpoints: there is
// no credential scope to tell it.
func (s *Server) regionOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for label := range strings.SplitSeq(strings.ToLower(host), ".") {
		if s.region(label) {
			return strings.Clone(label)
		}
	}
	return globalRegion
}

// isUnsigned reports whether a request without a signature is for an operation
// that needs none.
func (id *identity) isUnsigned(body []byte) bool {
	name, _ := wire.QueryAction(body)
	return slices.Contains(id.service.unsigned, name)
}

// unknown counts and logs a call of somebody who could not show who he is. It
// is on no record, or else anybody could fill that; nor is it answered if
// nothing is wrong with it, which would be a mistake of the operation.
func (s *Server) unknown(c *call.Call, e *wire.Error) *wire.Error {
	if e == nil {
		s.log.Error("an operation succeeded for nobody", "request_id", c.ID, "service", c.Service)
		return s.refuse(wire.Internal(nil))
	}
	s.metrics.authFailures.inc(e.Code)
	if e.Status < http.StatusInternalServerError {
		s.note(c, e.Code, "")
	}
	if suppressed, ok := s.alarm.ring(c.Time); ok {
		s.log.LogAttrs(s.ctx, slog.LevelWarn, "authentication failed", slog.String("code", e.Code),
			slog.String("source", c.Source.String()), slog.String("request_id", c.ID), slog.Uint64("not_logged_before", uint64(suppressed)))
	}
	return e
}
