// Package server turns an HTTP request into a call and back: verify, decode,
// run, record, answer.
//
// A [Server] is an http.Handler for the API and the listeners around it. It
// begins sealed and answers every call with a ServiceUnavailableException,
// until [Server.Unseal] gives it the services, the credentials and the audit
// log. One request takes this path:
//
//	POST /, awsJson1_1 or a form    else UnknownOperationException, 404
//	(or another path: restJson1)
//	signature read, scope, clock    else as package sigv4 says
//	credential looked up            else UnrecognizedClientException
//	Region enabled by the account   else UnrecognizedClientException
//	body read, at most MaxBody      else RequestEntityTooLargeException, 413
//	let in, of Limits.Requests      else ServiceUnavailableException, 503
//	signature verified              else InvalidSignatureException
//	X-Amz-Target or Action routed   else UnknownOperationException, 400
//	audit log in order              else KMSInternalException, 500; on its
//	                                reserve, what makes things safer goes on
//	operation invoked
//	call recorded                   else KMSInternalException, 500
//	let out; answer written, then wiped
//
// An operation may take calls without a signature, and find out by itself who
// calls; until it knows, what it refuses is refused at the door.
//
// A form is a request of the query protocol, and is answered with XML and the
// codes and statuses of that protocol: InvalidClientTokenId, 403, in the place of
// UnrecognizedClientException, and so on. A request of restJson1 is one to a path
// that a service has.
//
// Where certificates sign, there is no credential to look up: whether the
// certificate is trusted is asked once the signature is verified.
//
// Until the body is in, the request has cost a buffer that grew with it, and a
// place in the lobby, which it loses to others if it takes long. See [Limits].
//
// What is refused before the signature is verified is counted and, within
// limits, logged, there and in the security log, but is no call: it is in no
// audit record. What comes after is recorded, before the answer leaves.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// Defaults of [Service], [Limits] and [Config].
const (
	DefaultSkew        = 5 * time.Minute
	DefaultMaxBody     = 1 << 20
	DefaultRequests    = 10_000
	DefaultWaiting     = 10_000
	DefaultReading     = 4096
	DefaultLarge       = 128
	DefaultDrop        = 16 << 20
	DefaultStreams     = 100
	DefaultHeaderBytes = 32 << 10
	DefaultReadHeader  = 10 * time.Second
	DefaultRead        = 10 * time.Second
	DefaultWrite       = 30 * time.Second
	DefaultIdle        = 3 * time.Minute
)

// A Protocol is how clients speak with a service.
type Protocol uint8

// The protocols. They are told apart by the content type of a request.
const (
	JSON  Protocol = iota // awsJson1_1
	Query                 // awsQuery: a form, answered with XML
	REST                  // restJson1: the path names the operation
)

// globalRegion is the Region in which the services of the query protocol have
// their global endpoints, for which SDKs sign whatever Region they are set to.
const globalRegion = "us-east-1"

// A Service is one API that the server carries. Which one a request is for is
// what its credential scope and its X-Amz-Target agree on; the scope alone in
// the query protocol, and the scope and the path where those name operations.
type Service struct {
	Name       string // signing name, such as "kms"
	Protocol   Protocol
	Operations map[string]*call.Operation

	TargetPrefix string // JSON: of X-Amz-Target, such as "TrentService"
	// CapitalErrors says that errors spell their members "Message" and "Reason",
	// as those of AWS Organizations do. JSON.
	CapitalErrors bool
	// Fault is the code of errors that are the server's fault; empty means
	// KMSInternalException, and InternalFailure in the query protocol.
	Fault string
	// Paths are the names of the operations by path, such as "/enableRegion".
	// REST. No two services have one in common.
	Paths     map[string]string
	Version   string // Query: of the API, such as "2011-06-15"
	Namespace string // Query: of answers, such as "https://sts.amazonaws.com/doc/2011-06-15/"
	// Global says that the service is one for all Regions, as IAM is: its calls
	// are in us-east-1, for which requests may be signed whatever Regions there
	// are. Those of the query protocol may in any case.
	Global bool

	// Certificates says who may call with a certificate, with whose private key
	// requests to this service are signed; nil means that they are signed with
	// the secrets of access keys. REST.
	Certificates Certificates

	Skew    time.Duration // how far clocks may be off, in whole minutes; 0 means DefaultSkew
	MaxBody int           // in bytes; 0 means DefaultMaxBody
	// Admit returns an error if the caller may not call the service at all,
	// whatever policies say; the call is answered and recorded with it. nil
	// means that everybody may.
	Admit func(caller *call.Principal) error
	// Owner is the account whose calls may run on the last of the audit log's
	// reserve, which others can't use up by calls that are denied. Empty means
	// that nobody's may.
	Owner string
	// Unsigned are the operations that may be called without a signature. They
	// find out themselves who calls, and say so in Call.Caller; what they refuse
	// before that is refused at the door, and on no record. Query.
	Unsigned []string
	// ReadOnly reports whether an operation that is not among Operations
	// changes nothing, for the record of a call to it. nil means that all may.
	ReadOnly func(operation string) bool
}

// Credentials look up who signs with an access key.
type Credentials interface {
	// Credential returns the principal of an access key, with the session
	// token that the request carries (empty if it carries none), and the key
	// it signs with. It answers *[sigv4.Error]: ErrUnrecognizedClient for an
	// unknown or inactive access key, for a token that is not its, and for a
	// token missing or not wanted; ErrExpiredToken for a session that is over.
	// Any other error is the server's fault, and is logged.
	//
	// The principal and the key are shared between calls and not changed. The
	// strings are part of a request's headers and must not be kept.
	Credential(ctx context.Context, accessKeyID, token string) (*call.Principal, *sigv4.Key, error)
}

// Certificates know which certificates are trusted.
type Certificates interface {
	// Principal returns for whom a call is that was signed with the private key
	// of a certificate; the signature was verified, and nothing else. The
	// request's query is in the call, and so is what Principal notes there. It
	// answers *[sigv4.Error] for a certificate that is not trusted; the request
	// is no call then.
	Principal(ctx context.Context, c *call.Call, x *sigv4.X509, body []byte) (*call.Principal, error)
}

// A Recorder keeps the record of each call.
type Recorder interface {
	// Append records the call. It returns nil only if the record is as safe
	// as it promises; then, and only then, the call is answered. The call is
	// not kept.
	Append(c *call.Call) error

	// Err returns why a call could not be recorded now, as far as that is
	// known before it. It is asked before each call is run, so that nothing is
	// changed that could not be put on record.
	Err() error
}

// A SecurityLog is told of requests that are no calls, and so in no audit record.
type SecurityLog interface {
	// Note notes a request that failed authentication, with the code in
	// c.Failure. accessKeyID is what it claims to be signed with; empty if it
	// claims nothing. Note must be quick, and keeps nothing of c.
	Note(c *call.Call, accessKeyID string)
}

// A Backend is what an unsealed server works with. All of it is needed but
// Intend and Used.
type Backend struct {
	Services    []Service // the first is named to who signs for none of them
	Credentials Credentials
	Audit       Recorder
	// Intend returns what the audit log has to say of a call that may change
	// something before it is run; package record stores it with each change. nil,
	// as its result, means nothing.
	Intend func(c *call.Call) call.Intent
	// Used is told of every call whose caller has proved to be who it says,
	// before it is routed; nil for nobody. It must be quick.
	Used func(c *call.Call)
}

// Limits bound what clients can ask for. The zero value means the defaults.
type Limits struct {
	// Requests is how many requests are served at once. One that was read
	// waits for its turn.
	Requests int
	// Waiting is how many requests wait; more are refused.
	Waiting int
	// Reading is about how many requests are read at once. When there are
	// more, those are cut that take longest.
	Reading int
	// Large is how many requests of more than 16 KiB there are at once. When
	// there are more, those are cut that take longest to read, and if all have
	// been read, the new one is refused.
	Large int
	// Drop is how many bytes of a refused request are read before it is
	// answered, so that clients see the answer. If it is longer, the connection
	// may break before they do.
	Drop int
	// Streams is how many requests a connection of HTTP/2 carries at once.
	Streams int
	// HeaderBytes bounds a request's header. net/http answers longer ones with
	// 431, without an AWS error.
	HeaderBytes int

	ReadHeader time.Duration // until the header has been read
	Read       time.Duration // until the whole request has been read
	Write      time.Duration // from the end of the header until the answer has been written
	Idle       time.Duration // between two requests of a connection
}

// Config is what a [Server] is made from.
type Config struct {
	Regions []string         // that requests may be signed for
	Limits  Limits           //
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means none
	// Metrics is where the server registers its own; nil means a registry
	// of its own, with those of Go and the process.
	Metrics *prometheus.Registry
	// Security is told of requests that failed authentication; nil for nobody.
	Security SecurityLog
	// Ready says why the node can't serve although it is not sealed, or
	// returns nil; it is asked by /readyz. nil means that it always can.
	Ready func() error
}

// Server serves calls. It is an http.Handler.
type Server struct {
	regions map[string]struct{}
	limits  Limits
	now     func() time.Time
	log     *slog.Logger
	ready   func() error
	watch   SecurityLog // nil for nobody

	registry *prometheus.Registry
	metrics  *metrics
	alarm    alarm // for the log of failed authentications
	lobby    lobby
	large    room // of the large ones, until they have been answered
	gate     gate
	lastDate atomic.Pointer[date]

	// backend is nil while the server is sealed.
	backend atomic.Pointer[backend]

	// ctx is what operations run under, rather than their request's: a call
	// that was begun ends and is recorded, whether or not the client waits.
	ctx      context.Context
	cancel   context.CancelFunc
	draining atomic.Bool

	mu      sync.Mutex     // guards servers
	servers []*http.Server // one for each listener
	private []*http.Server
}

// New returns a sealed server.
func New(c Config) (*Server, error) {
	if len(c.Regions) == 0 {
		return nil, errors.New("server: no Regions")
	}
	s := &Server{
		regions:  make(map[string]struct{}, len(c.Regions)),
		limits:   c.Limits.withDefaults(),
		now:      c.Now,
		log:      c.Log,
		ready:    c.Ready,
		watch:    c.Security,
		registry: c.Metrics,
	}
	for _, r := range c.Regions {
		s.regions[r] = struct{}{}
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.registry == nil {
		s.registry = newRegistry()
	}
	s.lobby.init(s.limits.Reading)
	s.large.places = s.limits.Large
	s.gate.init(s.limits.Requests, s.limits.Waiting)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	if s.metrics, err = newMetrics(s); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return s, nil
}

func (l Limits) withDefaults() Limits {
	set(&l.Requests, DefaultRequests)
	set(&l.Waiting, DefaultWaiting)
	set(&l.Reading, DefaultReading)
	set(&l.Large, DefaultLarge)
	set(&l.Drop, DefaultDrop)
	set(&l.Streams, DefaultStreams)
	set(&l.HeaderBytes, DefaultHeaderBytes)
	set(&l.ReadHeader, DefaultReadHeader)
	set(&l.Read, DefaultRead)
	set(&l.Write, DefaultWrite)
	set(&l.Idle, DefaultIdle)
	return l
}

// set gives a setting that is zero or less its default.
func set[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// A backend is a Backend with its routes resolved.
type backend struct {
	services    []*service
	credentials Credentials
	audit       Recorder
	intend      func(c *call.Call) call.Intent // nil for nobody
	used        func(c *call.Call)             // nil for nobody
	running     atomic.Int64                   // calls that have begun and are not on record yet
}

// enter counts a call that begins, unless b is no longer what is served.
func (s *Server) enter(b *backend) bool {
	// Counted before looking again: Seal replaces b before it counts.
	b.running.Add(1)
	if s.backend.Load() != b {
		b.leave()
		return false
	}
	return true
}

func (b *backend) leave() { b.running.Add(-1) }

type service struct {
	name     string
	protocol Protocol
	prefix   string // of X-Amz-Target, or the version
	capital  bool
	fault    string
	paths    map[string]string
	space    string
	global   bool
	region   func(name string) bool
	skew     time.Duration
	maxBody  int
	certs    Certificates // nil: access keys sign
	routes   map[string]*route
	unknown  *route // of calls to operations that are not routed

	unsigned []string
	owner    string                      // account; may be empty
	admit    func(*call.Principal) error // may be nil
	readOnly func(operation string) bool
}

// A route is an operation with its metrics.
type route struct {
	operation *call.Operation // nil if it is not routed
	safer     bool            // it may run on the reserve of the audit log
	meter     *meter
}

// Unseal begins to serve, or replaces what is served. Calls that have begun
// end with what they began with.
func (s *Server) Unseal(b Backend) error {
	if len(b.Services) == 0 || b.Credentials == nil || b.Audit == nil {
		return errors.New("server: a backend needs services, credentials and an audit log")
	}
	resolved := &backend{credentials: b.Credentials, audit: b.Audit, intend: b.Intend, used: b.Used}
	for _, svc := range b.Services {
		set(&svc.Skew, DefaultSkew)
		set(&svc.MaxBody, DefaultMaxBody)
		for _, other := range resolved.services {
			collide := other.name == svc.Name || svc.Protocol == JSON && other.protocol == JSON && other.prefix == svc.TargetPrefix
			for path := range svc.Paths {
				_, taken := other.paths[path]
				collide = collide || taken
			}
			if collide {
				return fmt.Errorf("server: services %s and %s collide", other.name, svc.Name)
			}
		}
		r := &service{
			name: svc.Name, protocol: svc.Protocol, prefix: svc.TargetPrefix, capital: svc.CapitalErrors, fault: svc.Fault,
			paths: svc.Paths, space: svc.Namespace, global: svc.Global,
			region: s.region, skew: svc.Skew, maxBody: svc.MaxBody, certs: svc.Certificates, admit: svc.Admit, readOnly: svc.ReadOnly,
			unsigned: svc.Unsigned, owner: svc.Owner,
			routes:  make(map[string]*route, len(svc.Operations)),
			unknown: &route{meter: s.metrics.meter(svc.Name, "unknown")},
		}
		if svc.Protocol == Query {
			r.prefix = svc.Version
		}
		if svc.Protocol == Query || svc.Global {
			r.region = func(name string) bool { return name == globalRegion || s.region(name) }
		}
		for name, op := range svc.Operations {
			r.routes[name] = &route{operation: op, safer: isSafer(svc.Name, name), meter: s.metrics.meter(svc.Name, name)}
		}
		resolved.services = append(resolved.services, r)
	}
	s.backend.Store(resolved)
	return nil
}

// sealWait is how long Seal waits for the calls that have begun.
const sealWait = time.Second

// Seal stops serving: calls are answered with ServiceUnavailableException
// again. It waits for the calls that have begun to be on record, but for no
// more than a second: what they work with may be taken away then, and they are
// answered the same.
func (s *Server) Seal() {
	b := s.backend.Swap(nil)
	if b == nil {
		return
	}
	for end := time.Now().Add(sealWait); b.running.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// Sealed reports whether the server is sealed.
func (s *Server) Sealed() bool { return s.backend.Load() == nil }

func (s *Server) region(name string) bool {
	_, ok := s.regions[name]
	return ok
}
