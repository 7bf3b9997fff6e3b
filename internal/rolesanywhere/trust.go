package rolesanywhere

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	// lookEvery is how often it is looked whether a file has changed, at most.
	lookEvery = time.Second
	// maxAuthorities is how many certificates a trust anchor's file may have.
	maxAuthorities = 10
	// maxFile bounds files, in bytes: a list of a million revoked certificates
	// has some 40 MiB.
	maxFile = 64 << 20
)

// Trust is which certificate authorities are trusted to say who somebody is, and
// for which roles. Its methods may be called concurrently.
type Trust struct {
	anchors  map[string]*anchor // by ARN
	profiles map[string]*profile
	now      func() time.Time
	log      *slog.Logger
}

// Options are what a [Trust] may be given; the zero value is fine.
type Options struct {
	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none
}

// An anchor is a trust anchor. Its files are read again when they change.
type anchor struct {
	arn    arn.ARN
	config config.TrustAnchor
	issuer atomic.Pointer[authority]

	mu      sync.Mutex // guards what follows
	looked  time.Time
	seen    []fs.FileInfo // of the files, as they were read
	problem string        // with what is there now; logged once
}

type profile struct {
	config.Profile
	arn   arn.ARN
	roles map[string]bool
}

// Open reads the files of the trust anchors. The settings have defaults and were
// checked.
func Open(c *config.Certificates, o Options) (*Trust, error) {
	t := &Trust{anchors: map[string]*anchor{}, profiles: map[string]*profile{}, now: o.Now, log: o.Log}
	if t.now == nil {
		t.now = time.Now
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	for _, from := range c.TrustAnchors {
		name, err := arn.Parse(from.ARN)
		if err != nil {
			return nil, fmt.Errorf("trust anchor %s: %w", from.ARN, err)
		}
		a := &anchor{arn: name, config: from}
		if err := t.look(a); err != nil {
			return nil, fmt.Errorf("trust anchor %s: %w", from.ARN, err)
		}
		t.anchors[from.ARN] = a
	}
	for _, from := range c.Profiles {
		name, err := arn.Parse(from.ARN)
		if err == nil && from.SessionPolicy != "" {
			_, err = policy.Parse(from.SessionPolicy, policy.Options{Type: policy.Identity})
		}
		if err == nil && utf8.RuneCountInString(from.SessionPolicy) > identity.MaxSessionPolicy {
			err = fmt.Errorf("the session policy has more than %d characters", identity.MaxSessionPolicy)
		}
		if err != nil {
			return nil, fmt.Errorf("profile %s: %w", from.ARN, err)
		}
		p := &profile{Profile: from, arn: name, roles: map[string]bool{}}
		for _, role := range from.Roles {
			p.roles[role] = true
		}
		t.profiles[from.ARN] = p
	}
	return t, nil
}

// authority returns what an anchor's files say now.
func (t *Trust) authority(a *anchor) *authority {
	// Whoever finds another looking goes on with what there is.
	if a.mu.TryLock() {
		defer a.mu.Unlock()
		if now := t.now(); now.Sub(a.looked) >= lookEvery || now.Before(a.looked) {
			problem := ""
			if err := t.look(a); err != nil {
				problem = err.Error()
			}
			if problem != "" && problem != a.problem {
				t.log.Error("the files of a trust anchor could not be read again; what was read before stays", "trust_anchor", a.config.ARN, "error", problem)
			}
			a.problem = problem
		}
	}
	return a.issuer.Load()
}

// look reads an anchor's files if they have changed. What was read before stays
// if they are wrong.
func (t *Trust) look(a *anchor) error {
	a.looked = t.now()
	var seen []fs.FileInfo
	changed := a.issuer.Load() == nil
	for _, path := range []string{a.config.CA, a.config.CRL} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if i := len(seen); i >= len(a.seen) || !os.SameFile(info, a.seen[i]) || info.Size() != a.seen[i].Size() || !info.ModTime().Equal(a.seen[i].ModTime()) {
			changed = true
		}
		seen = append(seen, info)
	}
	if !changed {
		return nil
	}
	issuer, err := readAuthority(a.config.CA, a.config.CRL)
	if err != nil {
		return err
	}
	before := a.issuer.Swap(issuer)
	a.seen = seen
	now := t.now()
	for _, c := range issuer.certificates {
		if now.After(c.NotAfter) {
			t.log.Warn("a trust anchor's certificate has expired", "trust_anchor", a.config.ARN, "subject", c.Subject.String(), "not_after", c.NotAfter)
		}
	}
	for _, l := range issuer.lists {
		if !l.current(now) {
			t.log.Warn("a revocation list is out of date: what its issuer has certified is refused", "trust_anchor", a.config.ARN, "next_update", l.NextUpdate)
		}
	}
	if before != nil {
		t.log.Info("the files of a trust anchor were read again", "trust_anchor", a.config.ARN)
	}
	return nil
}

// An authority is who issues certificates that are trusted. It never changes.
type authority struct {
	certificates []*x509.Certificate
	pool         *x509.CertPool
	lists        []*revocations
}

// revocations is a revocation list.
type revocations struct {
	*x509.RevocationList                 // without its entries
	serials              map[string]bool // of revoked certificates, as bytes
	// checked is, by the hash of a certificate that leads to a trust anchor, the
	// list's standing to it: lists can be long.
	checked sync.Map
}

// A standing is what a list is to an issuer.
type standing struct {
	its bool  // it is that of the issuer
	err error // it would be, but is not to be believed
}

// of returns what the list is to an issuer. One with the issuer's name that
// another key has signed is somebody else's. One of the issuer's key is not
// passed over although it cannot be believed, for what it revokes would count as
// valid then.
func (l *revocations) of(issuer *x509.Certificate) standing {
	if !bytes.Equal(l.RawIssuer, issuer.RawSubject) {
		return standing{}
	}
	key := sha256.Sum256(issuer.Raw)
	if known, ok := l.checked.Load(key); ok {
		return known.(standing)
	}
	var s standing
	signed := issuer.CheckSignature(l.SignatureAlgorithm, l.RawTBSRevocationList, l.Signature) == nil
	switch {
	case signed && l.CheckSignatureFrom(issuer) == nil:
		s.its = true
	case signed:
		s.err = fmt.Errorf("%w: the certificate of %s lacks the key usage CRL signing", errList, l.Issuer)
	case len(l.AuthorityKeyId) > 0 && bytes.Equal(l.AuthorityKeyId, issuer.SubjectKeyId):
		s.err = fmt.Errorf("%w: the list of %s is not signed by it", errList, l.Issuer)
	}
	l.checked.Store(key, s)
	return s
}

// current reports whether the list is not out of date.
func (l *revocations) current(now time.Time) bool {
	return l.NextUpdate.IsZero() || now.Before(l.NextUpdate)
}

func readAuthority(ca, crl string) (*authority, error) {
	a := &authority{pool: x509.NewCertPool()}
	err := blocks(ca, "CERTIFICATE", func(der []byte) error {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		if problem := notAuthority(c); problem != "" {
			return fmt.Errorf("%s: %s", c.Subject, problem)
		}
		if len(a.certificates) == maxAuthorities {
			return fmt.Errorf("more than %d certificates", maxAuthorities)
		}
		a.certificates = append(a.certificates, c)
		a.pool.AddCert(c)
		return nil
	})
	if err != nil || crl == "" {
		return a, err
	}
	err = blocks(crl, "X509 CRL", func(der []byte) error {
		l, err := readList(der)
		if err != nil {
			return err
		}
		// That of another issuer is verified when it is used.
		known, ok := false, false
		var problem error
		for _, c := range a.certificates {
			if bytes.Equal(c.RawSubject, l.RawIssuer) {
				known = true
				s := l.of(c)
				ok = ok || s.its
				problem = cmp.Or(problem, s.err)
			}
		}
		if known && !ok {
			return cmp.Or(problem, fmt.Errorf("%w: the list of %s is not signed by it", errList, l.Issuer))
		}
		a.lists = append(a.lists, l)
		return nil
	})
	return a, err
}

// readList reads a complete revocation list: one that says in a critical
// extension that it is less is not understood.
func readList(der []byte) (*revocations, error) {
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	for _, e := range l.Extensions {
		if e.Critical {
			return nil, fmt.Errorf("the list of %s has a critical extension (%s): it is not a complete list", l.Issuer, e.Id)
		}
	}
	if !strong(l.SignatureAlgorithm) {
		return nil, fmt.Errorf("the list of %s is signed with %s", l.Issuer, l.SignatureAlgorithm)
	}
	r := &revocations{RevocationList: l, serials: make(map[string]bool, len(l.RevokedCertificateEntries))}
	for _, e := range l.RevokedCertificateEntries {
		r.serials[serialKey(e.SerialNumber)] = true
	}
	l.RevokedCertificateEntries = nil
	//lint:ignore SA1019 the parser fills in the older form as well, and it is not needed either
	l.RevokedCertificates = nil
	return r, nil
}

func serialKey(n *big.Int) string { return string(n.Bytes()) }

// blocks calls use with what each PEM block of a file holds, which are all of
// one type, and at least one.
func blocks(path, kind string, use func(der []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxFile:
		return fmt.Errorf("%s: larger than %d MiB", path, maxFile>>20)
	}
	// The parser passes over what is broken.
	n, begun := 0, bytes.Count(text, []byte("-----BEGIN "))
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		if b.Type != kind {
			return fmt.Errorf("%s: has a PEM block %q; only %q belongs there", path, b.Type, kind)
		}
		if err := use(b.Bytes); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		n++
	}
	if n == 0 || n != begun {
		return fmt.Errorf("%s: is not PEM with %q, or is broken", path, kind)
	}
	return nil
}

// strong reports whether a signature is made with SHA-256 or better.
func strong(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return true
	}
	return false
}

// notAuthority says why a certificate is not that of a trust anchor, or is
// empty.
func notAuthority(c *x509.Certificate) string {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return "incorrect basic constraints for a CA certificate"
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return "the key usage lacks certificate signing"
	case !strong(c.SignatureAlgorithm):
		return "signed with " + c.SignatureAlgorithm.String()
	case !sigv4.SupportsKey(c):
		return "the key is too weak, or of an unsupported kind"
	}
	return ""
}

// maxSerial is the longest serial number that can be a session's name, in bytes.
const maxSerial = 32

// fit reports whether a certificate may sign requests, whoever issued it: one of
// an end entity, for digital signatures. Source: "Signature validation" in the
// IAM Roles Anywhere User Guide.
func fit(c *x509.Certificate) bool {
	return c.Version == 3 && c.BasicConstraintsValid && !c.IsCA && c.KeyUsage&x509.KeyUsageDigitalSignature != 0 &&
		strong(c.SignatureAlgorithm) && sigv4.SupportsKey(c) && len(c.SerialNumber.Bytes()) <= maxSerial
}

// Why a certificate is not trusted: for the log.
var (
	errRevoked = errors.New("revoked")
	errStale   = errors.New("the revocation list of its issuer is out of date")
	errList    = errors.New("a revocation list cannot be believed")
	errWeak    = errors.New("a certificate on the way is signed weakly, or has a weak key")
)

// verify reports whether a certificate that is fit leads to the authority, by
// way of others that were sent with it. Every certificate on the way is valid
// now, and none is revoked.
func (a *authority) verify(c *x509.Certificate, chain []*x509.Certificate, now time.Time) error {
	between := x509.NewCertPool()
	for _, i := range chain {
		between.AddCert(i)
	}
	ways, err := c.Verify(x509.VerifyOptions{
		Roots: a.pool, Intermediates: between, CurrentTime: now,
		// Where there is an extended key usage, it includes client authentication.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	for _, way := range ways {
		if err = a.check(way, now); err == nil || errors.Is(err, errRevoked) {
			return err
		}
	}
	return err
}

// check checks what [x509.Certificate.Verify] does not of a way to the
// authority.
func (a *authority) check(way []*x509.Certificate, now time.Time) error {
	for i, c := range way {
		if !sigv4.SupportsKey(c) || !strong(c.SignatureAlgorithm) {
			return errWeak
		}
		if i+1 < len(way) {
			if err := a.revoked(c, way[i+1], now); err != nil {
				return err
			}
		}
	}
	return nil
}

// revoked says whether the issuer of a certificate has revoked it. An issuer of
// whom there are lists must have one that is not out of date, and none that
// cannot be believed.
func (a *authority) revoked(c, issuer *x509.Certificate, now time.Time) error {
	any, current := false, false
	var problem error
	for _, l := range a.lists {
		s := l.of(issuer)
		problem = cmp.Or(problem, s.err)
		if !s.its {
			continue
		}
		if l.serials[serialKey(c.SerialNumber)] {
			return errRevoked
		}
		any, current = true, current || l.current(now)
	}
	if problem != nil {
		return problem
	}
	if any && !current {
		return errStale
	}
	return nil
}
