package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const contentType = "application/x-amz-json-1.1"

// The answer's headers that never change. Nothing changes these slices.
var (
	headerContentType  = []string{contentType}
	headerCacheControl = []string{"no-cache, no-store, must-revalidate, private"}
	headerExpires      = []string{"0"}
	headerPragma       = []string{"no-cache"}
	headerClose        = []string{"close"}
)

// What the door answers by itself.
var (
	// notAPI is a request that is not of the protocol at all.
	notAPI   = &wire.Error{Code: "UnknownOperationException", Status: http.StatusNotFound}
	isSealed = &wire.Error{
		Code: "ServiceUnavailableException", Status: http.StatusServiceUnavailable,
		Message: "This node is sealed. It serves requests once an operator has unsealed it.",
	}
	tooSlow = &wire.Error{
		Code: "RequestTimeoutException", Status: http.StatusRequestTimeout,
		Message: "The request was not received completely within the timeout period.",
	}
	brokenBody = &wire.Error{
		Code: "SerializationException", Status: http.StatusBadRequest,
		Message: "The request's body ended before its length.",
	}
)

func tooLarge(limit int) *wire.Error {
	return &wire.Error{
		Code: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge,
		Message: "The request's body is longer than " + strconv.Itoa(limit) + " bytes.",
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.gate.enter(r.Context()) {
		return // the client did not wait for its turn
	}
	defer s.gate.leave()

	begun := s.now()
	// Not pooled: a permit is bound to its call, and must not fit another.
	c := newCall(r, begun)
	b := buffers.Get().(*buffer)
	defer b.release()

	answer, rt, e := s.serve(c, r, b)
	if e != nil {
		answer = wire.AppendError(b.out[:0], e)
		b.grew(answer)
	}
	write(w, c.ID, answer, e)
	if rt != nil {
		took := s.now().Sub(begun)
		rt.meter.add(took, e)
		if s.log.Enabled(s.ctx, slog.LevelDebug) {
			s.logCall(c, took)
		}
	}
}

// newCall returns the call that r is, with all that is known before it is
// authenticated.
func newCall(r *http.Request, begun time.Time) *call.Call {
	c := &call.Call{
		ID:   newID(),
		Time: begun.Round(0).UTC(),
		Host: r.Host,
	}
	if v := r.Header["User-Agent"]; len(v) > 0 {
		c.UserAgent = v[0]
	}
	if source, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.Source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
	}
	if t := r.TLS; t != nil {
		c.TLS = call.TLS{Version: t.Version, CipherSuite: t.CipherSuite, Group: uint16(t.CurveID)}
	}
	return c
}

// newID returns a random UUID (RFC 9562, version 4).
func newID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], u[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], u[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], u[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], u[10:16])
	return string(b[:])
}

// serve does all but the writing. The route is nil if the request was refused
// at the door, and is no call.
func (s *Server) serve(c *call.Call, r *http.Request, b *buffer) (answer []byte, rt *route, e *wire.Error) {
	defer func() {
		if v := recover(); v != nil {
			err := panicked(v)
			s.log.Error("the door panicked", "request_id", c.ID, "error", err, "stack", string(debug.Stack()))
			b.spoiled = true
			answer, rt, e = nil, nil, s.refuse(wire.Internal(err))
		}
	}()
	if r.Method != http.MethodPost || r.URL.Path != "/" || !isJSON(r) {
		return nil, nil, s.refuse(notAPI)
	}
	back := s.backend.Load()
	if back == nil {
		return nil, nil, s.refuse(isSealed)
	}
	prefix, name := target(r)
	svc, e := s.authenticate(back, c, r, prefix, b)
	if e != nil {
		return nil, nil, e
	}
	c.Target = name
	rt = svc.routes[name]
	if rt == nil || prefix != svc.prefix {
		rt = svc.unknown
	}
	if !s.enter(back) {
		return nil, nil, s.refuse(isSealed)
	}
	defer back.leave()

	if err := back.audit.Err(); err != nil {
		s.metrics.auditFailures.Inc()
		if suppressed, ok := s.alarm.ring(c.Time); ok {
			s.log.Error("calls are refused since they could not be recorded", "error", err, "not_logged_before", suppressed)
		}
		return nil, rt, wire.Internal(err)
	}
	if c.Operation = rt.operation; c.Operation != nil {
		answer, e = s.invoke(c, b)
	} else {
		e = wire.UnknownOperation()
	}
	if e != nil {
		answer = nil
		c.Failure = call.Failure{Code: e.Code, Message: e.Message}
	}
	if err := s.record(back.audit, c); err != nil {
		s.metrics.auditFailures.Inc()
		s.log.Error("a call could not be recorded and is refused", "request_id", c.ID, "error", err)
		return nil, rt, wire.Internal(err)
	}
	return answer, rt, e
}

// isJSON reports whether the body is said to be of the protocol.
func isJSON(r *http.Request) bool {
	v := r.Header["Content-Type"]
	if len(v) != 1 {
		return false
	}
	if v[0] == contentType {
		return true
	}
	media, _, _ := strings.Cut(v[0], ";")
	return strings.EqualFold(strings.TrimSpace(media), contentType)
}

// target takes X-Amz-Target apart; both parts are empty if it is not there or
// is no target.
func target(r *http.Request) (prefix, name string) {
	v := r.Header["X-Amz-Target"]
	if len(v) != 1 {
		return "", ""
	}
	i := strings.LastIndexByte(v[0], '.')
	if i < 0 {
		return "", ""
	}
	return v[0][:i], v[0][i+1:]
}

// authenticate finds out which service the request is for, and that its
// caller signed it. It reads the body into b.in, once the rest is right.
func (s *Server) authenticate(back *backend, c *call.Call, r *http.Request, prefix string, b *buffer) (*service, *wire.Error) {
	a, err := sigv4.Parse(r)
	if err != nil {
		return nil, s.unauthenticated(c, &a, err)
	}
	svc := back.service(a.Service, prefix)
	if err := a.Check(c.Time, sigv4.Scope{Service: svc.name, Region: s.region, Skew: svc.skew}); err != nil {
		return nil, s.unauthenticated(c, &a, err)
	}
	c.Region, c.Service = a.Region, svc.name
	caller, key, err := back.credentials.Credential(s.ctx, a.AccessKeyID, a.Token)
	if err != nil {
		return nil, s.unauthenticated(c, &a, err)
	}
	if e := b.readBody(r, svc.maxBody); e != nil {
		return nil, s.refuse(e)
	}
	if err := key.Verify(&a, r, b.in); err != nil {
		return nil, s.unauthenticated(c, &a, err)
	}
	c.Caller = caller
	return svc, nil
}

// service returns the service that a request is for: the one its target names,
// or else the one it is signed for, or else the first. If the signature is for
// another, that is for sigv4 to say.
func (b *backend) service(name, prefix string) *service {
	var signed *service
	for _, svc := range b.services {
		if svc.prefix == prefix {
			return svc
		}
		if svc.name == name {
			signed = svc
		}
	}
	if signed != nil {
		return signed
	}
	return b.services[0]
}

// refuse counts a request that was refused at the door, not for its signature.
func (s *Server) refuse(e *wire.Error) *wire.Error {
	s.metrics.refused.inc(e.Code)
	return e
}

// unauthenticated counts and logs a request whose caller is not known. The log
// has the code alone: the text may quote what the client sent.
func (s *Server) unauthenticated(c *call.Call, a *sigv4.Authorization, err error) *wire.Error {
	var refused *sigv4.Error
	if errors.Is(err, seal.ErrSealed) {
		return s.refuse(isSealed) // while it was looked up
	}
	if !errors.As(err, &refused) {
		s.log.Error("a credential could not be looked up", "request_id", c.ID, "error", err)
		return s.refuse(wire.Internal(err))
	}
	s.metrics.authFailures.inc(refused.Code)
	if suppressed, ok := s.alarm.ring(c.Time); ok {
		s.log.Warn("authentication failed", "code", refused.Code, "access_key", printable(a.AccessKeyID),
			"source", c.Source.String(), "request_id", c.ID, "not_logged_before", suppressed)
	}
	return &wire.Error{Code: refused.Code, Message: refused.Message, Status: http.StatusBadRequest}
}

// printable returns an access key id for the log if it looks like one, so that
// nobody finds there a secret that was sent in its place.
func printable(accessKeyID string) string {
	if len(accessKeyID) > 128 {
		return "malformed"
	}
	for i := range len(accessKeyID) {
		if c := accessKeyID[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return "malformed"
		}
	}
	return accessKeyID
}

// invoke runs the operation. A panic in it is answered like any fault of ours.
func (s *Server) invoke(c *call.Call, b *buffer) (answer []byte, e *wire.Error) {
	defer func() {
		if v := recover(); v != nil {
			err := panicked(v)
			s.log.Error("an operation panicked", "request_id", c.ID, "service", c.Service, "operation", c.Operation.Name,
				"error", err, "stack", string(debug.Stack()))
			b.spoiled = true
			answer, e = nil, wire.Internal(err)
		}
	}()
	out, err := c.Operation.Invoke(s.ctx, c, b.in, b.out[:0])
	b.grew(out)
	if err == nil {
		return out, nil
	}
	b.spoiled = true
	e = answerTo(err)
	if e.Status >= http.StatusInternalServerError && e != isSealed {
		s.log.Error("a call failed", "request_id", c.ID, "service", c.Service, "operation", c.Operation.Name, "error", err)
	}
	return nil, e
}

// record appends the call to the audit log. A panic there is a failure.
func (s *Server) record(to Recorder, c *call.Call) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
			s.log.Error("recording a call panicked", "request_id", c.ID, "error", err, "stack", string(debug.Stack()))
		}
	}()
	return to.Append(c)
}

// panicked describes a panic without showing its value, which may hold parts
// of a request; what the runtime itself says holds none.
func panicked(v any) error {
	if err, ok := v.(runtime.Error); ok {
		return fmt.Errorf("panic: %w", err)
	}
	return fmt.Errorf("panic with a %T", v)
}

// answerTo is the table of what a caller is answered for an error. What is not
// in it is our fault, and its cause stays here.
func answerTo(err error) *wire.Error {
	var answer *wire.Error
	var denied *authz.Denied
	switch {
	case errors.Is(err, seal.ErrSealed): // while the call ran
		return isSealed
	case errors.As(err, &answer):
		if answer.Status == 0 {
			answer = answer.WithCause(answer.Unwrap())
			answer.Status = http.StatusBadRequest
		}
		return answer
	case errors.As(err, &denied):
		return wire.AccessDenied(denied.Text)
	default:
		return wire.Internal(err)
	}
}

// logCall logs one call, without anything of its bodies.
func (s *Server) logCall(c *call.Call, took time.Duration) {
	operation := "unknown"
	if c.Operation != nil {
		operation = c.Operation.Name
	}
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "call",
		slog.String("request_id", c.ID),
		slog.String("service", c.Service),
		slog.String("operation", operation),
		slog.String("region", c.Region),
		slog.String("caller", c.Caller.ARN),
		slog.String("source", c.Source.String()),
		slog.String("code", c.Failure.Code),
		slog.Duration("took", took))
}

// write sends the answer; e is nil if it is a success.
func write(w http.ResponseWriter, id string, answer []byte, e *wire.Error) {
	h := w.Header()
	h["Content-Type"] = headerContentType
	h["Cache-Control"] = headerCacheControl
	h["Expires"] = headerExpires
	h["Pragma"] = headerPragma
	h["x-amzn-RequestId"] = []string{id} // spelled as AWS does
	if len(answer) >= 2048 {
		// Shorter answers get theirs from net/http; longer ones would be chunked.
		h["Content-Length"] = []string{strconv.Itoa(len(answer))}
	}
	if e != nil {
		if e.Status == http.StatusRequestEntityTooLarge || e.Status == http.StatusRequestTimeout {
			h["Connection"] = headerClose // the rest of the body is not read
		}
		w.WriteHeader(e.Status)
	}
	// Nobody is left to tell if this fails; the record says what happened.
	_, _ = w.Write(answer)
}

// readBody reads the request's body into b.in, if it is no longer than limit.
func (b *buffer) readBody(r *http.Request, limit int) *wire.Error {
	if r.ContentLength > int64(limit) {
		return tooLarge(limit)
	}
	if r.ContentLength >= int64(cap(b.in)) {
		b.growIn(int(r.ContentLength) + 1)
	}
	for {
		if len(b.in) == cap(b.in) {
			b.growIn(2 * cap(b.in))
		}
		n, err := r.Body.Read(b.in[len(b.in):cap(b.in)])
		b.in = b.in[:len(b.in)+n]
		switch {
		case len(b.in) > limit:
			return tooLarge(limit)
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return tooSlow
		default:
			return brokenBody
		}
	}
}
