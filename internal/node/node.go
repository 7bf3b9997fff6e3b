// Package node is one running server, wired from a Config: [Open], [Node.Serve],
// [Node.Close].
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/outbound"
	"github.com/keyreeve/keyreeve/internal/quota"
	"github.com/keyreeve/keyreeve/internal/rolesanywhere"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/seed"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
	"github.com/keyreeve/keyreeve/internal/tlscert"
)

// What the development mode uses. The access key is the one that AWS's
// documentation uses for examples: known to everybody, and to secret scanners
// as no secret.
const (
	DevAccount     = "000000000000"
	DevAccessKeyID = "AKIAIOSFODNN7EXAMPLE"
	DevSecretKey   = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// Config is what a node is made from: its settings, and how it was started.
type Config struct {
	config.Config // with defaults, checked

	// Ephemeral keeps everything in memory: store, root key, audit records and
	// certificate. Data is not used.
	Ephemeral bool
	// Dev is the mode for development and CI: Ephemeral, plain HTTP on the
	// main listener, and the account and access key above.
	Dev bool

	Seed           string       // seed file, or empty
	ReadyFile      string       // to be written when the node answers, or empty
	AcceptRollback bool         // take a store that is older than its mark
	Passphrase     secret.Bytes // for the passphrase provider; absent: start sealed. Open wipes it
	PassphraseCost seal.Cost    // of new passphrases; zero means seal.DefaultCost
	Version        string       // of the program

	// DestroyEvery is how often the node looks for keys for which something is
	// due: that are to be destroyed, because their waiting period has ended, or to
	// be rotated; 0 means 15 seconds. AWS destroys them within a day.
	DestroyEvery time.Duration

	// CompactEvery is how often the store's file is made anew, so that what was
	// deleted is not in it any more; 0 means a day.
	CompactEvery time.Duration

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none

	// Monotonic is a clock that nobody sets, by which jumps of Now are noticed:
	// the time since some moment. nil means the system's; or, if Now is given,
	// that Now never jumps, however a test may drive it.
	Monotonic func() time.Duration

	// Around the store and what records, for tests; nil means nothing.
	wrapStore    func(store.Store) store.Store
	wrapRecorder func(server.Recorder) server.Recorder
}

// Node is one running server.
type Node struct {
	c   Config
	log *slog.Logger

	// Open for the whole life of the node.
	store    store.Store
	file     *boltstore.Store // the store in its file; nil if it is in memory
	arena    *seal.Arena
	box      *seal.Box
	audit    *audit.Log
	security *audit.SecurityLog // nil in memory
	cert     *tlscert.Source    // nil without TLS
	certDir  string             // to be removed at the end, or empty
	server   *server.Server
	control  *operator.Control    // nil if the node is ephemeral
	trust    *rolesanywhere.Trust // nil if no certificates are trusted
	roots    *attestation.Roots   // of who certifies enclaves; nil if nobody is trusted to
	started  time.Time
	main     net.Listener
	plain    net.Listener // nil if there is none
	private  net.Listener // nil if there is none
	wrote    bool         // the ready file is ours
	watch    *watch       // over the clock

	quotas *quota.Limits // of requests; nil if they are not counted

	outbound *outbound.Dialer // connects to what tenants name

	management atomic.Pointer[string] // account; nil before it is known
	reported   int                    // of the problems of the audit journal: how many are on record; of unseal, then of the job

	open atomic.Pointer[unsealed] // nil while sealed

	mu   sync.Mutex // guards what follows; held while the node is sealed and unsealed, which may take its time
	seed *seed.File // nil if there is none, or it has been applied
	shut bool       // Close has begun
	took bool       // records have been opened: AcceptRollback is used up
}

// segmentSize is the size of a segment of the audit journal. Delivering one
// takes some memory for each record in it: some 20 MB in all.
const segmentSize = 64 << 20

// storeFile and auditDir are where the data directory has its store and the
// audit records.
const (
	storeFile   = "store.db"
	auditDir    = "audit"
	securityDir = "security" // in auditDir
)

// Open opens the node's data, which it makes on the first start, and its
// listeners. It does not answer before [Node.Serve]. A node whose passphrase
// is missing is opened sealed. What concerns the process as a whole, such as
// [seal.DisableCoreDumps], is left to the caller: it may be somebody's test.
func Open(ctx context.Context, c Config) (_ *Node, err error) {
	switch {
	case c.Monotonic != nil:
	case c.Now != nil:
		begun := c.Now()
		c.Monotonic = func() time.Duration { return c.Now().Sub(begun) }
	default:
		c.Monotonic = uptime()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.CompactEvery <= 0 {
		c.CompactEvery = compactEvery
	}
	if c.DestroyEvery <= 0 {
		c.DestroyEvery = destroyEvery
	}
	c.Ephemeral = c.Ephemeral || c.Dev
	defer c.Passphrase.Wipe()
	n := &Node{c: c, log: c.Log, started: c.Now()}
	n.watch = &watch{wall: c.Now, monotonic: c.Monotonic, log: c.Log}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.readSeed(); err != nil {
		return nil, err
	}
	if err := n.openTrust(); err != nil {
		return nil, fmt.Errorf("reading whose certificates are trusted: %w", err)
	}
	if err := n.openOutbound(); err != nil {
		return nil, err
	}
	if c.Quotas.Requests {
		if n.quotas, err = quota.New(quota.Options{Regions: c.Regions, Rates: c.Quotas.Rates, Now: c.Now}); err != nil {
			return nil, fmt.Errorf("reading the quotas: %w", err)
		}
	}
	if err := n.openData(ctx); err != nil {
		return nil, err
	}
	if err := n.openServer(); err != nil {
		return nil, err
	}
	// Data and addresses are ours now: a ready file that is there is that of a
	// node that was killed, and whoever waits for ours must not take it for it.
	if err := n.removeReadyFile(); err != nil {
		return nil, err
	}
	if !n.box.Sealed() {
		if err := n.unseal(ctx); err != nil {
			return nil, err
		}
	}
	if n.control, err = n.openControl(); err != nil {
		return nil, err
	}
	return n, nil
}

// readSeed reads the seed file, so that a mistake in it shows before anything
// is made.
func (n *Node) readSeed() (err error) {
	c := &n.c
	if c.Seed == "" {
		return nil
	}
	if n.seed, err = seed.Read(c.Seed); err != nil {
		return fmt.Errorf("reading the seed: %w", err)
	}
	if err := n.seed.CheckRegions(c.Regions); err != nil {
		return fmt.Errorf("reading the seed: %w", err)
	}
	management := n.seed.ManagementAccount()
	if c.Dev && management != "" && management != DevAccount {
		return fmt.Errorf("reading the seed: the management account is %s, but in development mode it is %s", management, DevAccount)
	}
	if c.Account == "" {
		c.Account = management
	}
	if management != "" && management != c.Account {
		return fmt.Errorf("reading the seed: the management account is %s, but this node is to have %s", management, c.Account)
	}
	return nil
}

// openData opens the store and what seals it.
func (n *Node) openData(ctx context.Context) (err error) {
	c := &n.c
	if c.Ephemeral {
		n.store = store.NewMem()
		n.audit, err = audit.Open("", audit.Options{Logger: n.log})
	} else {
		if err := makePrivate("data directory", c.Data); err != nil {
			return err
		}
		// The store's lock keeps a second node out of the directory.
		path := filepath.Join(c.Data, storeFile)
		if n.file, err = boltstore.Open(path, boltstore.Options{Now: c.Now}); err != nil {
			return fmt.Errorf("opening the store: %w", err)
		}
		n.store = n.file
		if w := boltstore.Warning(path); w != "" {
			n.log.Warn(w)
		}
		n.security, err = audit.OpenSecurityLog(filepath.Join(c.Data, auditDir, securityDir), audit.SecurityOptions{Logger: n.log})
		if err != nil {
			return fmt.Errorf("opening the audit log: %w", err)
		}
		n.audit, err = audit.Open(filepath.Join(c.Data, auditDir), audit.Options{
			Sync: c.Audit.Sync, SegmentAge: c.Audit.Delivery, SegmentSize: segmentSize, Now: c.Now, Security: n.security, Logger: n.log,
		})
	}
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	if c.wrapStore != nil {
		n.store = c.wrapStore(n.store)
	}
	n.arena, err = seal.NewArena(seal.ArenaOptions{Size: int(c.Memory.Size), Required: c.Memory.Lock == "required", Log: n.log})
	if err != nil {
		return fmt.Errorf("taking memory for key material: %w", err)
	}
	n.box, err = seal.Open(ctx, n.store, seal.Options{Provider: n.provider(c.Seal.Provider, c.Passphrase), Arena: n.arena, Now: c.Now, Log: n.log})
	if err != nil {
		return fmt.Errorf("opening the seal: %w", err)
	}
	return nil
}

// provider returns the provider of the root key: of a kind, and if that is
// seal.KindPassphrase, with this passphrase.
func (n *Node) provider(kind string, passphrase secret.Bytes) seal.Provider {
	switch {
	case n.c.Ephemeral:
		return seal.Memory()
	case kind == seal.KindPassphrase:
		return seal.Passphrase(passphrase, n.c.PassphraseCost)
	}
	return seal.KeyFile(n.c.Seal.File)
}

// openServer makes the sealed server, its certificate and its listeners.
func (n *Node) openServer() (err error) {
	c := &n.c
	registry := newRegistry(n)
	n.server, err = server.New(server.Config{
		Security: n.security,
		Regions:  c.Regions,
		Limits:   server.Limits{Requests: c.MaxRequests},
		Now:      c.Now, Log: n.log, Metrics: registry, Ready: n.ready,
	})
	if err != nil {
		return fmt.Errorf("making the server: %w", err)
	}
	if !c.Dev {
		if err := n.openCertificate(); err != nil {
			return fmt.Errorf("opening the certificate: %w", err)
		}
	}
	if n.main, err = net.Listen("tcp", c.Listen); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	if c.Plain != "" {
		if n.plain, err = net.Listen("tcp", c.Plain); err != nil {
			return fmt.Errorf("listening without TLS: %w", err)
		}
	}
	if c.Private != "off" {
		if n.private, err = net.Listen("tcp", c.Private); err != nil {
			return fmt.Errorf("listening privately: %w", err)
		}
	}
	return nil
}

func (n *Node) openCertificate() (err error) {
	c := &n.c
	o := tlscert.Options{Names: c.TLS.Names, Now: c.Now, Log: n.log}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil {
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			o.Names = append([]string{host}, o.Names...)
		}
	}
	switch {
	case c.TLS.Certificate != "":
		n.cert, err = tlscert.Files(c.TLS.Certificate, c.TLS.Key, o)
	case c.Ephemeral:
		if n.certDir, err = os.MkdirTemp("", "keyreeve-"); err != nil {
			return err
		}
		n.cert, err = tlscert.Local(n.certDir, o)
	default:
		if err := makePrivate("directory of the certificates' keys", c.TLS.Keys); err != nil {
			return err
		}
		o.Keys = c.TLS.Keys
		n.cert, err = tlscert.Local(c.Data, o)
	}
	return err
}

// newRegistry returns the node's metrics that are not the server's.
func newRegistry(n *Node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	r.MustRegister(auditMetrics{n})
	if n.quotas != nil {
		r.MustRegister(quotaMetrics{n.quotas})
	}
	gauge("keyreeve_dev_mode", "1 if the node runs in development mode, which keeps nothing and protects nothing.", func() float64 { return flag(n.c.Dev) })
	gauge("keyreeve_memory_locked", "1 if all memory for key material is locked.", func() float64 { return flag(n.arena.Locked()) })
	gauge("keyreeve_memory_slots_used", "Slots of the memory for key material in use.", func() float64 { return float64(n.arena.Stats().Used) })
	gauge("keyreeve_memory_slots", "Slots that the memory for key material may grow to.", func() float64 { return float64(n.arena.Stats().Capacity) })
	gauge("keyreeve_staleness_seconds", "Bound on how far cached records are behind the store.", func() float64 { return n.staleness().Seconds() })
	gauge("keyreeve_clock_ahead_seconds", "How far the clock has jumped ahead, by which keys are destroyed later; 0 if it has not, or was accepted.", func() float64 { return n.watch.jumped().Seconds() })
	gauge("keyreeve_certificate_expiry_timestamp_seconds", "When the server's certificate expires.", func() float64 {
		if n.cert == nil {
			return 0
		}
		return float64(n.cert.NotAfter().Unix())
	})
	return r
}

// ready says why the node can't serve although it is not sealed.
func (n *Node) ready() error {
	if s, ok := n.store.(interface{ Err() error }); ok {
		if err := s.Err(); err != nil {
			return err
		}
	}
	return n.audit.Err()
}

// Endpoint returns the URL that clients are given.
func (n *Node) Endpoint() string {
	scheme := "https://"
	if n.cert == nil {
		scheme = "http://"
	}
	host, port, err := net.SplitHostPort(reachable(n.main.Addr()))
	if err != nil {
		return scheme + n.main.Addr().String() // no TCP
	}
	return scheme + net.JoinHostPort(n.name(host), port)
}

// name returns the name by which clients reach a host of ours: where it
// differs, it is the one that the certificate is for.
func (n *Node) name(host string) string {
	if configured, _, err := net.SplitHostPort(n.c.Listen); err == nil && configured != "" && net.ParseIP(configured) == nil {
		host = configured
	}
	if n.cert == nil || n.cert.AuthorityFile() != "" {
		return host // a certificate that we make is for all of them
	}
	given, err := n.cert.GetCertificate(nil)
	if err != nil || given.Leaf == nil || given.Leaf.VerifyHostname(host) == nil {
		return host
	}
	for _, name := range given.Leaf.DNSNames {
		if !strings.HasPrefix(name, "*.") {
			return name
		}
	}
	return host
}

// PlainEndpoint returns the URL of the listener without TLS, or "".
func (n *Node) PlainEndpoint() string {
	if n.plain == nil {
		return ""
	}
	return "http://" + reachable(n.plain.Addr())
}

// PrivateAddress returns the address of the private listener, or "".
func (n *Node) PrivateAddress() string {
	if n.private == nil {
		return ""
	}
	return reachable(n.private.Addr())
}

// reachable is an address for a client on this machine: a listener on all
// interfaces is reached over loopback.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

// AuthorityFile returns the absolute path of the certificate that clients must
// trust, or "" if the certificate was given, or there is no TLS.
func (n *Node) AuthorityFile() string {
	if n.cert == nil {
		return ""
	}
	file := n.cert.AuthorityFile()
	if abs, err := filepath.Abs(file); file != "" && err == nil {
		return abs
	}
	return file
}

// Sealed reports whether the node is sealed.
func (n *Node) Sealed() bool { return n.server.Sealed() }

// Administrator returns the first access key of the management account.
func (n *Node) Administrator(ctx context.Context) (identity.AccessKey, error) {
	u := n.open.Load()
	if u == nil {
		return identity.AccessKey{}, seal.ErrSealed
	}
	i, err := u.directory.Installation(ctx)
	if err != nil {
		return identity.AccessKey{}, err
	}
	return u.directory.AccessKey(ctx, i.AccessKeyID)
}

// Handler returns the handler of the API, for use without a listener.
func (n *Node) Handler() http.Handler { return n.server }

// stopTimeout is how long calls may take to end when the node stops.
const stopTimeout = 15 * time.Second

// Serve answers until ctx ends, then lets the calls that have begun end. It
// returns nil, or why it could not go on.
func (n *Node) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	failed := make(chan error, 5) // all that can fail, once each
	run := func(f func() error) {
		running.Go(func() {
			if err := f(); err != nil {
				failed <- err
			}
		})
	}
	run(func() error {
		if n.cert == nil {
			return n.server.Serve(n.main, nil)
		}
		return n.server.Serve(n.main, server.TLSConfig(n.cert.GetCertificate))
	})
	if n.plain != nil {
		run(func() error { return n.server.Serve(n.plain, nil) })
	}
	if n.private != nil {
		run(func() error { return n.server.ServePrivate(n.private) })
	}
	if n.control != nil {
		run(n.control.Serve)
	}
	if n.cert != nil {
		running.Go(func() { n.cert.Run(ctx) })
	}
	if err := n.writeReadyFile(); err != nil {
		failed <- err
	}
	var err error
	select {
	case <-ctx.Done():
		n.log.Info("stopping")
	case err = <-failed:
		n.log.Error("stopping, for the node can't go on", "error", err)
	}
	cancel()
	n.hasten()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	if e := n.server.Shutdown(stop); e != nil {
		n.log.Warn("some calls did not end in time", "error", e)
	}
	if n.control != nil {
		err = errors.Join(err, n.control.Close())
	}
	running.Wait()
	return err
}

// readiness is what a ready file says.
type readiness struct {
	Endpoint string `json:"endpoint"`          // URL
	Plain    string `json:"plain,omitempty"`   // URL
	Private  string `json:"private,omitempty"` // host:port
	CA       string `json:"ca,omitempty"`      // path
	Sealed   bool   `json:"sealed"`
	PID      int    `json:"pid"`
}

func (n *Node) writeReadyFile() error {
	if n.c.ReadyFile == "" {
		return nil
	}
	text, err := json.Marshal(readiness{
		Endpoint: n.Endpoint(), Plain: n.PlainEndpoint(), Private: n.PrivateAddress(), CA: n.AuthorityFile(),
		Sealed: n.Sealed(), PID: os.Getpid(),
	})
	if err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	// Whoever waits for the file must not find half of it; and where others may
	// write, it must not be led elsewhere.
	if err := durable.Replace(n.c.ReadyFile, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	n.wrote = true
	return nil
}

func (n *Node) removeReadyFile() error {
	if n.c.ReadyFile == "" {
		return nil
	}
	if err := os.Remove(n.c.ReadyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the ready file: %w", err)
	}
	return nil
}

// Close closes everything that Open opened. Serve must have returned.
func (n *Node) Close() error {
	n.mu.Lock()
	n.shut = true
	n.mu.Unlock()
	var errs []error
	for _, l := range []net.Listener{n.main, n.plain, n.private} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if n.control != nil {
		errs = append(errs, n.control.Close())
	}
	errs = append(errs, n.seal())
	if n.audit != nil {
		errs = append(errs, n.audit.Close())
	}
	errs = append(errs, n.security.Close())
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.arena != nil {
		n.arena.Close()
	}
	if n.certDir != "" {
		errs = append(errs, os.RemoveAll(n.certDir))
	}
	if n.wrote {
		errs = append(errs, n.removeReadyFile())
	}
	return errors.Join(errs...)
}
