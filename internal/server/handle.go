package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const contentType = "application/x-amz-json-1.1"

// The answer's headers that never change. Nothing changes these slices.
var (
	headerContentType  = []string{contentType}
	headerXML          = []string{"text/xml"}
	headerREST         = []string{typeREST}
	headerCacheControl = []string{"no-cache, no-store, must-revalidate, private"}
	headerExpires      = []string{"0"}
	headerPragma       = []string{"no-cache"}
	headerClose        = []string{"close"}
)

// What the door answers by itself.
var (
	// notAPI is a request that is not of the protocol at all.
	notAPI   = &wire.Error{Code: "UnknownOperationException", Status: http.StatusNotFound}
	isSealed = wire.Sealed()
	tooSlow  = &wire.Error{
		Code: "RequestTimeoutException", Status: http.StatusRequestTimeout,
		Message: "The request was not received completely within the timeout period.",
	}
	brokenBody = &wire.Error{
		Code: "SerializationException", Status: http.StatusBadRequest,
		Message: "The request's body ended before its length.",
	}
	tooBusy = &wire.Error{
		Code: "ServiceUnavailableException", Status: http.StatusServiceUnavailable,
		Message: "The server is busy. Try again.",
	}
	twoHosts = &wire.Error{
		Code: "SerializationException", Status: http.StatusBadRequest,
		Message: "The request's host is not its :authority.",
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
	begun := s.now()
	// Not pooled: a permit is bound to its call, and must not fit another.
	c := newCall(r, begun)
	a := s.handle(w, r, c)
	// By now the call has left the gate: a client that reads slowly keeps
	// nobody waiting.
	defer a.out.release()
	now := s.now()
	if a.route != nil {
		took := now.Sub(begun)
		a.route.meter.add(took, a.err)
		if s.log.Enabled(s.ctx, slog.LevelDebug) {
			s.logCall(c, took)
		}
	}
	s.write(w, r, c.ID, &a, now)
}

// An answer is what a request is answered.
type answer struct {
	out    *output     // holds the body
	body   []byte      //
	err    *wire.Error // nil if it is a success
	route  *route      // nil if the request was refused at the door, and is no call
	unread bool        // the rest of the request is not read
	// protocol is how the client speaks, as far as that is known.
	protocol Protocol
}

// handle does all but the writing.
func (s *Server) handle(w http.ResponseWriter, r *http.Request, c *call.Call) (a answer) {
	in := inputs.Get().(*input)
	defer in.release()
	defer s.leaveLarge(in)
	var id identity
	e := s.receive(w, r, c, &id, in)
	a.unread = in.unread
	a.protocol = id.protocol
	a.out = outputs.Get().(*output)
	if e == nil {
		a.body, a.route, e = s.serve(c, r, &id, in, a.out)
	}
	if a.err = id.inTerms(e); a.err != nil {
		e = a.err
		switch {
		case a.protocol == Query:
			a.body = wire.AppendXMLError(a.out.b[:0], e, id.space(), c.ID)
		case id.service != nil && id.service.capital:
			a.body = wire.AppendErrorCapital(a.out.b[:0], e)
		default:
			a.body = wire.AppendError(a.out.b[:0], e)
		}
		a.out.grew(a.body)
	}
	return a
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

// receive finds out for whom the request claims to be, and reads it.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, c *call.Call, id *identity, in *input) (e *wire.Error) {
	defer s.panicked(c, in, nil, &e)
	e = s.identify(r, c, id)
	limit := 0
	if e == nil {
		limit = id.service.maxBody
		if id.unsigned {
			limit = min(limit, maxUnsigned)
		}
	}
	return s.read(w, r, c, in, limit, e)
}

// panicked is deferred around what is done before an operation is invoked, and
// after. It makes a panic a fault of ours.
func (s *Server) panicked(c *call.Call, in *input, out *output, e **wire.Error) {
	v := recover()
	if v == nil {
		return
	}
	err := panicked(v)
	s.log.Error("the door panicked", "request_id", c.ID, "error", err, "stack", string(debug.Stack()))
	in.b = in.b[:cap(in.b)] // all of it is to be wiped
	if out != nil {
		out.spoiled = true
	}
	*e = s.refuse(wire.Internal(err))
}

// serve verifies a request that was read, and runs the call that it is. The
// route is nil if the request was refused, and is no call.
func (s *Server) serve(c *call.Call, r *http.Request, id *identity, in *input, out *output) (body []byte, rt *route, e *wire.Error) {
	defer s.panicked(c, in, out, &e)
	if !s.gate.enter(r.Context()) {
		return nil, nil, s.refuse(tooBusy)
	}
	defer s.gate.leave()
	if err := s.verify(c, r, id, in.b); err != nil {
		if id.protocol == Query {
			c.Target, _ = wire.QueryAction(in.b)
		}
		return nil, nil, s.unauthenticated(c, &id.authorization, err)
	}
	c.Caller = id.caller // nil if the operation is to find out who calls
	back, svc := id.backend, id.service
	if back.used != nil {
		back.used(c)
	}
	var prefix, name string
	switch svc.protocol {
	case Query:
		name, prefix = wire.QueryAction(in.b)
	case REST:
		name = svc.paths[r.URL.Path]
	default:
		prefix, name = target(r)
	}
	c.Target = name
	known := prefix == svc.prefix
	if rt = svc.routes[name]; rt == nil || !known {
		rt = svc.unknown
		c.TargetReadOnly = known && svc.readOnly != nil && svc.readOnly(name)
	}
	if !s.enter(back) {
		return nil, nil, s.refuse(isSealed)
	}
	defer back.leave()

	if err := back.audit.Err(); err != nil && !mayRun(err, c, svc, rt) {
		s.metrics.auditFailures.Inc()
		if suppressed, ok := s.alarm.ring(c.Time); ok {
			s.log.Error("calls are refused since they could not be recorded", "error", err, "not_logged_before", suppressed)
		}
		return nil, rt, wire.Internal(err)
	}
	c.Operation = rt.operation
	if svc.admit != nil && c.Caller != nil {
		e = s.admit(c, svc)
	}
	switch {
	case e != nil:
	case c.Operation != nil:
		ctx := s.ctx
		if back.intend != nil && !c.Operation.ReadOnly {
			if c.Intent = back.intend(c); c.Intent != nil {
				defer c.Intent.Leave() // unless the record has ended it
				ctx = record.WithIntent(ctx, c.Intent)
			}
		}
		body, e = s.invoke(ctx, c, in, out)
	case svc.protocol == Query:
		e = unknownAction(name, prefix)
	default:
		e = wire.UnknownOperation()
	}
	if c.Caller == nil {
		return nil, nil, s.unknown(c, e)
	}
	e = id.inTerms(e) // as it will be on record
	if e != nil {
		body = nil
		c.Failure = call.Failure{Code: e.Code, Message: e.Message}
	}
	if err := s.record(back.audit, c); err != nil {
		s.metrics.auditFailures.Inc()
		s.log.Error("a call could not be recorded and is refused", "request_id", c.ID, "error", err)
		return nil, rt, wire.Internal(err)
	}
	return body, rt, e
}

// mayRun reports whether a call may run in spite of what the audit log says of
// itself: see safer, and [Service.Owner].
func mayRun(err error, c *call.Call, svc *service, rt *route) bool {
	switch {
	case errors.Is(err, audit.ErrReserve):
		return rt.safer
	case errors.Is(err, audit.ErrLast):
		return rt.safer && svc.owner != "" && c.Caller != nil && c.Caller.Account == svc.owner
	}
	return false
}

// verify checks the signature of a request that was read. Who may call with a
// certificate is known only after it.
func (s *Server) verify(c *call.Call, r *http.Request, id *identity, body []byte) (err error) {
	switch {
	case id.unsigned:
		if !id.isUnsigned(body) {
			return sigv4.ErrMissingToken
		}
		return nil
	case id.certificate == nil:
		return id.key.Verify(&id.authorization, r, body)
	}
	if err := id.certificate.Verify(r, body); err != nil {
		return err
	}
	id.caller, err = id.service.certs.Principal(s.ctx, c, id.certificate, body)
	return err
}

// isJSON reports whether the body is said to be of the JSON protocol.
func isJSON(r *http.Request) bool { return isOfType(r, contentType) }

func isOfType(r *http.Request, want string) bool {
	v := r.Header["Content-Type"]
	if len(v) != 1 {
		return false
	}
	if v[0] == want {
		return true
	}
	media, _, _ := strings.Cut(v[0], ";")
	return strings.EqualFold(strings.TrimSpace(media), want)
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

// An identity is for whom a request claims to be, and what it takes to verify
// that.
type identity struct {
	backend       *backend
	protocol      Protocol
	service       *service
	authorization sigv4.Authorization
	caller        *call.Principal
	key           *sigv4.Key
	certificate   *sigv4.X509 // nil if an access key's secret signed
	unsigned      bool        // there is no signature, and nobody is known yet
}

// identify checks all of a request but its signature and body.
func (s *Server) identify(r *http.Request, c *call.Call, id *identity) *wire.Error {
	id.backend = s.backend.Load()
	var known bool
	id.protocol, known = id.backend.protocol(r)
	if r.Method != http.MethodPost || !known {
		return s.refuse(notAPI)
	}
	if r.ProtoMajor >= 2 && !oneHost(r) {
		return s.refuse(twoHosts)
	}
	if id.backend == nil {
		return s.refuse(isSealed)
	}
	_, c.Target = target(r)
	a, err := id.parse(r)
	if err != nil {
		if errors.Is(err, sigv4.ErrMissingToken) && s.unsigned(r, c, id) {
			return nil
		}
		return s.unauthenticated(c, &a, err)
	}
	id.service = id.backend.service(id.protocol, a.Service, r)
	if id.service == nil {
		return s.refuse(notAPI)
	}
	if err := a.Check(c.Time, sigv4.Scope{Service: id.service.name, Region: id.service.region, Skew: id.service.skew}); err != nil {
		return s.unauthenticated(c, &a, err)
	}
	c.Region, c.Service = a.Region, id.service.name
	if id.service.global {
		c.Region = globalRegion
	}
	if id.certificate != nil {
		id.authorization = a
		c.Query, c.Certificate = r.URL.RawQuery, id.certificate.Certificate
		return nil
	}
	id.caller, id.key, err = id.backend.credentials.Credential(s.ctx, a.AccessKeyID, a.Token)
	if err != nil {
		return s.unauthenticated(c, &a, err)
	}
	if slices.Contains(id.caller.Closed, c.Region) {
		// AWS's Regions do not know the credentials of such an account.
		return s.unauthenticated(c, &a, sigv4.ErrUnrecognizedClient)
	}
	id.authorization = a
	return nil
}

// parse reads the request's signature, in the way of the service that it is for.
func (id *identity) parse(r *http.Request) (sigv4.Authorization, error) {
	if id.protocol == REST {
		if svc := id.backend.service(REST, "", r); svc != nil && svc.certs != nil {
			id.service = svc
			x, err := sigv4.ParseX509(r)
			id.certificate = &x
			return x.Authorization, err
		}
	}
	return sigv4.Parse(r)
}

// oneHost reports whether a request of HTTP/2 names no other host than its
// :authority, which is the one that is signed.
func oneHost(r *http.Request) bool {
	for _, host := range r.Header["Host"] {
		if host != r.Host {
			return false
		}
	}
	return true
}

// speaks reports whether a service speaks the protocol.
func (b *backend) speaks(p Protocol) bool {
	for _, svc := range b.services {
		if svc.protocol == p {
			return true
		}
	}
	return false
}

// protocol returns how a request speaks, by its content type, and whether it is
// sent to where that is spoken. Without a backend the paths of REST are not
// known.
func (b *backend) protocol(r *http.Request) (Protocol, bool) {
	root := r.URL.Path == "/"
	switch {
	case isJSON(r):
		return JSON, root
	case isForm(r) && (b == nil || b.speaks(Query)):
		return Query, root
	case isREST(r) && !root && (b == nil || b.service(REST, "", r) != nil):
		return REST, true
	}
	return JSON, false
}

// service returns the service of a protocol that a request is for: the one its
// target or path names, or else the one it is signed for, or else the first. If
// the signature is for another, that is for sigv4 to say. It is nil if no service
// speaks the protocol, or has the path.
func (b *backend) service(p Protocol, name string, r *http.Request) *service {
	var first, signed *service
	prefix, _ := target(r)
	for _, svc := range b.services {
		if svc.protocol != p {
			continue
		}
		if p == JSON && svc.prefix == prefix {
			return svc
		}
		if p == REST {
			if _, ok := svc.paths[r.URL.Path]; ok {
				return svc
			}
			continue
		}
		if svc.name == name {
			signed = svc
		}
		if first == nil {
			first = svc
		}
	}
	if signed != nil {
		return signed
	}
	return first
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
	key := printable(a.AccessKeyID)
	s.note(c, refused.Code, key)
	if suppressed, ok := s.alarm.ring(c.Time); ok {
		s.log.Warn("authentication failed", "code", refused.Code, "access_key", key,
			"source", c.Source.String(), "request_id", c.ID, "not_logged_before", suppressed)
	}
	return &wire.Error{Code: refused.Code, Message: refused.Message, Status: http.StatusBadRequest}
}

// note tells the security log of a request that failed authentication.
func (s *Server) note(c *call.Call, code, accessKeyID string) {
	if s.watch == nil {
		return
	}
	c.Failure.Code = code
	s.watch.Note(c, accessKeyID)
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

// admit asks whether the caller may call the service at all.
func (s *Server) admit(c *call.Call, svc *service) *wire.Error {
	err := svc.admit(c.Caller)
	if err == nil {
		return nil
	}
	c.DecisionText = "denied: the service does not admit the caller"
	return answerTo(err)
}

// invoke runs the operation. A panic in it is answered like any fault of ours.
func (s *Server) invoke(ctx context.Context, c *call.Call, in *input, out *output) (body []byte, e *wire.Error) {
	defer func() {
		if v := recover(); v != nil {
			err := panicked(v)
			s.log.Error("an operation panicked", "request_id", c.ID, "service", c.Service, "operation", c.Operation.Name,
				"error", err, "stack", string(debug.Stack()))
			out.spoiled = true
			body, e = nil, wire.Internal(err)
		}
	}()
	body, err := c.Operation.Invoke(ctx, c, in.b, out.b[:0])
	out.grew(body)
	if err == nil {
		return body, nil
	}
	out.spoiled = true
	e = answerTo(err)
	if e.Status >= http.StatusInternalServerError && e.Status != http.StatusServiceUnavailable {
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
	operation, caller := "unknown", ""
	if c.Operation != nil {
		operation = c.Operation.Name
	}
	if c.Caller != nil {
		caller = c.Caller.ARN
	}
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "call",
		slog.String("request_id", c.ID),
		slog.String("service", c.Service),
		slog.String("operation", operation),
		slog.String("region", c.Region),
		slog.String("caller", caller),
		slog.String("source", c.Source.String()),
		slog.String("code", c.Failure.Code),
		slog.Duration("took", took))
}

// write sends the answer.
func (s *Server) write(w http.ResponseWriter, r *http.Request, id string, a *answer, now time.Time) {
	h := w.Header()
	h["Content-Type"] = headerContentType
	switch a.protocol {
	case Query:
		h["Content-Type"] = headerXML
	case REST:
		h["Content-Type"] = headerREST
		if a.err != nil {
			h["x-amzn-ErrorType"] = []string{a.err.Code} // spelled as AWS does
		}
	}
	h["Cache-Control"] = headerCacheControl
	h["Expires"] = headerExpires
	h["Pragma"] = headerPragma
	h["Date"] = s.date(now)
	h["x-amzn-RequestId"] = []string{id} // spelled as AWS does
	if len(a.body) >= 2048 {
		// Shorter answers get theirs from net/http; longer ones would be chunked.
		h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	if a.unread && r.ProtoMajor < 2 {
		h["Connection"] = headerClose // what follows is no request
	}
	switch {
	case a.err != nil:
		w.WriteHeader(a.err.Status)
	case a.route != nil && a.route.operation != nil && a.route.operation.Status != 0:
		w.WriteHeader(a.route.operation.Status)
	}
	// Nobody is left to tell if this fails; the record says what happened.
	_, _ = w.Write(a.body)
}

// A date is the header Date in one second.
type date struct {
	second int64 // Unix time
	header []string
}

// date returns the header Date by the server's clock, which is the one that
// signatures are judged by: from it clients learn how far theirs is off.
func (s *Server) date(now time.Time) []string {
	second := now.Unix()
	if d := s.lastDate.Load(); d != nil && d.second == second {
		return d.header
	}
	d := &date{second: second, header: []string{now.UTC().Format(http.TimeFormat)}}
	s.lastDate.Store(d)
	return d.header
}
