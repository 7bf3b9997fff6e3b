package archive

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// VerifyOptions say what [Verify] looks at and what it can hold it to. With
// the directory and the public keys alone it finds whatever was changed, but
// not that the newest digests of a chain are missing, or all of an account:
// that takes the heads, or hashes that were kept elsewhere.
type VerifyOptions struct {
	// Dir is the directory that has the folder AWSLogs, or folders with it: an
	// archive's, or a copy of a bucket. Required.
	Dir string
	// Keys are the public keys of all Regions. Required.
	Keys []PublicKey

	// Heads are what the node says of its own chains ([Archive.Heads]).
	Heads []Head
	// Pending are the files that no digest lists yet ([Archive.Pending]). If it
	// is not nil, no other file may be in no digest.
	Pending []LogFile
	// Delivered, if it is given, returns what is in Pending by now. It is called
	// for files that are not: the node may have delivered them since.
	Delivered func() ([]LogFile, error)
	// Anchors are SHA-256 hashes of digests, in hex, that were kept elsewhere:
	// each must be that of a digest that is there.
	Anchors []string

	// Account and Region bound what is looked at; empty means all.
	Account string
	Region  string

	// Found is told what is found, as it is found. It must be given.
	Found func(Finding)
}

// Finding is something that Verify has found.
type Finding struct {
	Object string // what it is about: the name of a file, from Dir on; may be empty
	Text   string // what is wrong with it, in one line
	// Note says that it is worth knowing, and proves nothing.
	Note bool
}

func (f Finding) String() string {
	if f.Object == "" {
		return f.Text
	}
	return f.Object + ": " + f.Text
}

// VerifyReport tells what Verify has looked at.
type VerifyReport struct {
	Chains   int // accounts and Regions, and trails
	Digests  int
	Files    int   // log files that a digest lists, and that are as it says
	Bytes    int64 // of those, before compression
	Unlisted int   // log files that no digest lists yet
	Findings int   // notes left out
}

// Verify checks the log files and digests of a directory: that every digest is
// signed by a key that is known, and stands in its chain without a gap; that
// every log file that a digest lists is there, and unchanged; and that there is
// none beside. It reports what is not so, and goes on. An error means that it
// could not look at all of it.
//
// Records and files that were changed, cut out, added or put in another order,
// moved or renamed, and digests that were, are found by that. Files are not held in
// memory.
func Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	v := &verifier{ctx: ctx, o: o, keys: make(map[string]verifyKey, len(o.Keys)), anchors: make(map[string]bool, len(o.Anchors)), heads: make(map[pair]*Head, len(o.Heads))}
	for _, k := range o.Keys {
		key, err := k.rsaKey()
		if err != nil {
			return v.report, fmt.Errorf("verifying audit files: %w", err)
		}
		v.keys[k.Fingerprint] = verifyKey{k, key}
	}
	for _, hash := range o.Anchors {
		v.anchors[strings.ToLower(strings.TrimSpace(hash))] = false
	}
	for i := range o.Heads {
		h := &o.Heads[i]
		if v.wanted(pair{h.Account, h.Region}) {
			v.heads[pair{h.Account, h.Region}] = h
		}
	}
	if err := v.all(); err != nil {
		return v.report, fmt.Errorf("verifying audit files: %w", err)
	}
	return v.report, nil
}

type verifyKey struct {
	PublicKey
	key *rsa.PublicKey
}

type verifier struct {
	ctx     context.Context
	o       VerifyOptions
	keys    map[string]verifyKey // by fingerprint
	anchors map[string]bool      // by hash: found
	heads   map[pair]*Head       // those not met yet
	report  VerifyReport
}

func (v *verifier) found(object, format string, args ...any) {
	v.report.Findings++
	v.o.Found(Finding{Object: object, Text: fmt.Sprintf(format, args...)})
}

func (v *verifier) note(object, format string, args ...any) {
	v.o.Found(Finding{Object: object, Text: fmt.Sprintf(format, args...), Note: true})
}

func (v *verifier) wanted(p pair) bool {
	return (v.o.Account == "" || v.o.Account == p.account) && (v.o.Region == "" || v.o.Region == p.region)
}

func (v *verifier) path(object string) string {
	return filepath.Join(v.o.Dir, filepath.FromSlash(object))
}

// all looks at the whole directory.
func (v *verifier) all() error {
	roots := 0
	err := filepath.WalkDir(v.o.Dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case v.ctx.Err() != nil:
			return v.ctx.Err()
		case !e.IsDir() || e.Name() != folderRoot:
			return nil
		}
		roots++
		rel, err := filepath.Rel(v.o.Dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		prefix := filepath.ToSlash(rel)
		if prefix == "." {
			prefix = ""
		}
		if err := v.root(prefix); err != nil {
			return err
		}
		return fs.SkipDir
	})
	if err != nil {
		return err
	}
	if roots == 0 {
		v.note("", "there is no folder %s in %s", folderRoot, v.o.Dir)
	}
	for _, p := range slices.SortedFunc(maps.Keys(v.heads), pair.compare) {
		v.found(v.heads[p].Newest.Object, "missing, with all digests of account %s in %s", p.account, p.region)
	}
	for _, hash := range v.o.Anchors {
		if h := strings.ToLower(strings.TrimSpace(hash)); !v.anchors[h] {
			v.found("", "no digest has the hash %.64q, which was kept elsewhere", h)
			v.anchors[h] = true
		}
	}
	return nil
}

// root looks at a folder AWSLogs.
func (v *verifier) root(prefix string) error {
	folder := folderRoot
	if prefix != "" {
		folder = prefix + "/" + folderRoot
	}
	return v.children(folder, func(name string) error {
		if isAccount(name) {
			return v.account(folder+"/"+name, Scope{Prefix: prefix, Account: name})
		}
		if !strings.HasPrefix(name, "o-") {
			v.found(folder+"/"+name, "does not belong here")
			return nil
		}
		return v.children(folder+"/"+name, func(account string) error {
			if !isAccount(account) {
				v.found(folder+"/"+name+"/"+account, "does not belong here")
				return nil
			}
			return v.account(folder+"/"+name+"/"+account, Scope{Prefix: prefix, Organization: name, Account: account})
		})
	})
}

// account looks at the folder of an account.
func (v *verifier) account(folder string, s Scope) error {
	regions := make(map[string]bool)
	err := v.children(folder, func(kind string) error {
		if kind != folderLogs && kind != folderDigests {
			v.found(folder+"/"+kind, "does not belong here")
			return nil
		}
		return v.children(folder+"/"+kind, func(region string) error {
			if !isRegion(region) {
				v.found(folder+"/"+kind+"/"+region, "does not belong here")
				return nil
			}
			regions[region] = true
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, s.Region = range slices.Sorted(maps.Keys(regions)) {
		if v.wanted(pair{s.Account, s.Region}) {
			if err := v.scope(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// children calls visit with what is in a folder.
func (v *verifier) children(folder string, visit func(name string) error) error {
	entries, err := os.ReadDir(v.path(folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if err := visit(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// nameHash stands for a name, where there are many.
type nameHash [16]byte

func hashName(object string) (h nameHash) {
	sum := sha256.Sum256([]byte(object))
	copy(h[:], sum[:])
	return h
}

// scoped is the look at one account and Region.
type scoped struct {
	*verifier
	scope  Scope
	listed map[nameHash]bool
	newest time.Time // end of the newest digest that stands in a chain
	// signatures says that there are files with signatures, as in an archive;
	// in a copy of a bucket there are none.
	signatures bool
}

// chainName is what the chains of a scope differ in.
type chainName struct{ trail, home string }

// scope looks at the files of an account and Region.
func (v *verifier) scope(s Scope) error {
	w := &scoped{verifier: v, scope: s, listed: make(map[nameHash]bool)}
	chains, err := w.digests()
	if err != nil {
		return err
	}
	names := make([]chainName, 0, len(chains))
	for n := range chains {
		names = append(names, n)
	}
	slices.SortFunc(names, func(x, y chainName) int { return strings.Compare(x.trail+"_"+x.home, y.trail+"_"+y.home) })
	for _, n := range names {
		v.report.Chains++
		if err := w.chain(n, chains[n]); err != nil {
			return err
		}
	}
	return w.unlisted()
}

// digests returns the ends of the digests of each chain, oldest first.
func (w *scoped) digests() (map[chainName][]time.Time, error) {
	chains := make(map[chainName][]time.Time)
	err := w.files(w.scope.folder(folderDigests), func(object string) error {
		if stem, ok := strings.CutSuffix(object, signatureSuffix); ok {
			if n, ok := parseObject(stem); ok && n.digest && n.scope == w.scope {
				w.signatures = true
				if _, err := os.Stat(w.path(stem)); errors.Is(err, fs.ErrNotExist) {
					w.found(object, "the digest that it is the signature of is missing")
				}
				return nil
			}
		}
		n, ok := parseObject(object)
		if !ok || !n.digest || n.scope != w.scope {
			w.found(object, "does not belong here")
			return nil
		}
		name := chainName{n.trail, n.home}
		chains[name] = append(chains[name], n.time)
		return nil
	})
	for _, ends := range chains {
		slices.SortFunc(ends, time.Time.Compare)
	}
	return chains, err
}

// files calls visit with every file below a folder of the scope.
func (w *scoped) files(folder string, visit func(object string) error) error {
	err := filepath.WalkDir(w.path(folder), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if e.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(w.o.Dir, path)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(rel))
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// walk is the way along a chain of digests, from the newest back.
type walk struct {
	*scoped
	name chainName
	ends []time.Time // of the digests that are there and not looked at yet, oldest first
	head *Head       // what the node says of the chain; may be nil
	met  bool        // the head's newest digest has been looked at

	object   string    // the digest to be looked at; empty at the end
	expected *Link     // what is known of it; may be nil
	by       string    // from whom
	follower time.Time // when the digest after it begins; zero if that is not known
}

func (w *walk) named(end time.Time) string {
	return w.scope.DigestObject(w.name.trail, w.name.home, end)
}

// restart goes on with a digest that nothing is known of: the newest that has
// not been looked at.
func (w *walk) restart() {
	w.object, w.expected, w.by, w.follower = "", nil, "", time.Time{}
	n := len(w.ends)
	switch {
	case w.head != nil && !w.met && (n == 0 || !w.ends[n-1].After(w.head.End)):
		w.object = w.head.Newest.Object
	case n > 0:
		w.object = w.named(w.ends[n-1])
	}
}

// pass takes the digest that is looked at from those that are there, and
// reports the ones that lie between it and the digest after it.
func (w *walk) pass(end time.Time) {
	n := len(w.ends)
	for ; n > 0 && w.ends[n-1].After(end); n-- {
		w.found(w.named(w.ends[n-1]), "an added digest: it is not in the chain")
	}
	if n > 0 && w.ends[n-1].Equal(end) {
		n--
	}
	w.ends = w.ends[:n]
	if h := w.head; h != nil && !w.met && !end.After(h.End) {
		w.met = true
		switch {
		case w.object != h.Newest.Object:
			w.found(h.Newest.Object, "the digests after it do not tell of it, which the node says was the newest")
		case w.expected == nil:
			w.expected, w.by = &h.Newest, "the node"
		case *w.expected != h.Newest:
			w.found(w.object, "%s tells otherwise of it than the node", w.by)
		}
	}
}

// chain looks at the digests of a trail.
func (w *scoped) chain(name chainName, ends []time.Time) error {
	k := &walk{scoped: w, name: name, ends: ends}
	if p := (pair{w.scope.Account, w.scope.Region}); w.scope.Prefix == "" && w.scope.Organization == "" {
		if h := w.heads[p]; h != nil && h.Newest.Object == k.named(h.End) {
			k.head = h
			delete(w.heads, p)
		}
	}
	for k.restart(); k.object != ""; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n, ok := parseObject(k.object)
		if !ok || !n.digest || n.scope != w.scope || (chainName{n.trail, n.home}) != name || !k.follower.IsZero() && n.time.After(k.follower) {
			w.found(k.object, "%s names it as the digest before, which it cannot be", k.by)
			k.restart()
			continue
		}
		k.pass(n.time)
		d, err := w.digest(k.object, k.expected, k.by)
		if err != nil {
			return err
		}
		if d == nil {
			k.restart()
			continue
		}
		if w.newest.Before(d.end) {
			w.newest = d.end
		}
		if !k.follower.IsZero() && !d.end.Equal(k.follower) {
			w.found(k.object, "it ends at %s, and the digest after it begins at %s", stamp(d.end), stamp(k.follower))
		}
		if err := w.list(k.object, d); err != nil {
			return err
		}
		k.before(d)
	}
	return nil
}

// before goes on with the digest before d, which can be believed.
func (w *walk) before(d *readDigest) {
	previous, n := d.previous(), len(w.ends)
	switch {
	case previous == nil:
		if n > 0 && w.head == nil {
			w.note(w.object, "no digest tells of the time between %s and %s", stamp(w.ends[n-1]), stamp(d.start))
		} else if n > 0 {
			w.found(w.named(w.ends[n-1]), "an added digest: the chain begins after it, at %s", stamp(d.start))
		}
		w.restart()
	case n == 0 && w.head == nil && w.absent(previous.Object):
		w.note(w.object, "the digests before it are not here, back from %s: whether they were too old, or somebody removed them, the files do not tell", previous.Object)
		w.restart()
	case w.head != nil && !d.end.After(w.head.Oldest):
		// The one before has become too old. If it is there, it is about to be
		// removed.
		if w.absent(previous.Object) {
			w.restart()
			return
		}
		w.note(previous.Object, "older than the oldest digest that is kept")
		w.object, w.expected, w.by, w.follower = previous.Object, previous, w.object, d.start
	default:
		w.object, w.expected, w.by, w.follower = previous.Object, previous, w.object, d.start
	}
}

func (w *scoped) absent(object string) bool {
	n, ok := parseObject(object)
	if !ok || n.scope != w.scope {
		return false
	}
	_, err := os.Stat(w.path(object))
	return errors.Is(err, fs.ErrNotExist)
}

// digest reads a digest and checks it. It returns nil if the digest can't be
// believed.
func (w *scoped) digest(object string, expected *Link, expectedBy string) (*readDigest, error) {
	n, ok := parseObject(object)
	if !ok || !n.digest || n.scope != w.scope {
		return nil, nil
	}
	body, err := readFile(w.path(object), maxDigest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.found(object, "a missing digest: %s tells of it", expectedBy)
		return nil, nil
	case errors.Is(err, ErrFormat):
		w.found(object, "a changed digest: %v", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	w.report.Digests++
	d, err := parseDigest(body)
	if err != nil {
		w.found(object, "a changed digest: %v", err)
		return nil, nil
	}
	hash := hex.EncodeToString(d.hash[:])
	if expected != nil && expected.Hash != hash {
		w.found(object, "a changed digest: its hash is not the one that %s tells", expectedBy)
		return nil, nil
	}
	if d.json.Object != object {
		w.found(object, "a moved digest: it says that it is %.300q", d.json.Object)
		return nil, nil
	}
	if expected != nil && expected.Bucket != d.json.Bucket {
		w.found(object, "a moved digest: it says that it is in bucket %.100q, and %s says %.100q", d.json.Bucket, expectedBy, expected.Bucket)
		return nil, nil
	}
	if d.json.Account != w.scope.Account || !d.end.Equal(n.time) || !d.start.Before(d.end) {
		w.found(object, "what it says of its account and time does not agree with its name")
		return nil, nil
	}
	key, ok := w.keys[d.json.Fingerprint]
	if !ok || key.Region != "" && key.Region != w.scope.Region {
		w.found(object, "signed with a key that is not known: fingerprint %.64q", d.json.Fingerprint)
		return nil, nil
	}
	signature, err := w.signature(object, expected, expectedBy)
	if err != nil {
		return nil, err
	}
	switch {
	case signature == "":
		// What it says of the one before is held against that one's signature.
		w.found(object, "its signature is missing")
	case !d.verify(key.key, signature):
		w.found(object, "its signature is wrong")
		return nil, nil
	case expected != nil && !strings.EqualFold(expected.Signature, signature):
		w.found(object, "its signature is not the one that %s tells", expectedBy)
		return nil, nil
	case !key.End.IsZero() && d.end.After(key.End):
		w.found(object, "signed with a key whose time was over at %s: fingerprint %s", stamp(key.End), key.Fingerprint)
		return nil, nil
	}
	if _, ok := w.anchors[hash]; ok {
		w.anchors[hash] = true
	}
	return d, nil
}

// signature returns the signature of a digest: from the file beside it, or, in a
// copy of a bucket, from what is known of it otherwise; empty if there is none.
func (w *scoped) signature(object string, expected *Link, by string) (string, error) {
	text, err := readFile(w.path(object+signatureSuffix), 8<<10)
	switch {
	case err == nil:
		return strings.TrimSpace(string(text)), nil
	case errors.Is(err, ErrFormat):
		return "unreadable", nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	case expected == nil:
		return "", nil
	case w.signatures:
		w.found(object, "the file with its signature is missing, and %s tells the signature", by)
	}
	return expected.Signature, nil
}

// list looks at the files that a digest lists.
func (w *scoped) list(digest string, d *readDigest) error {
	for _, f := range d.json.Files {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n, ok := parseObject(f.Object)
		if !ok || n.digest || n.scope != w.scope || f.Bucket != d.json.Bucket {
			w.found(digest, "it lists %.300q, which is no log file of its account and Region", f.Object)
			continue
		}
		h := hashName(f.Object)
		if w.listed[h] {
			w.found(f.Object, "digests list it twice, the second time in %s", digest)
			continue
		}
		w.listed[h] = true
		if err := w.logFile(f.Object, f.Hash, digest); err != nil {
			return err
		}
	}
	return nil
}

// logFile looks at a log file.
func (w *scoped) logFile(object, hash, by string) error {
	size, sum, err := hashLogFile(w.ctx, w.path(object))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.found(object, "a missing log file: %s lists it", by)
	case errors.Is(err, ErrFormat):
		w.found(object, "a changed log file: %v", err)
	case err != nil:
		return err
	case hex.EncodeToString(sum[:]) != strings.ToLower(hash):
		w.found(object, "a changed log file: its hash is not the one that %s tells", by)
	default:
		w.report.Files++
		w.report.Bytes += size
	}
	return nil
}

// hashLogFile returns the size and hash of what a log file holds.
func hashLogFile(ctx context.Context, path string) (size int64, sum [sha256.Size]byte, err error) {
	f, err := openPlain(path)
	if err != nil {
		return 0, sum, err
	}
	defer func() { _ = f.Close() }() // it was only read
	z, err := newInflater(f)
	if err != nil {
		return 0, sum, err
	}
	h := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		n, err := z.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			h.Sum(sum[:0])
			return size, sum, nil
		case ctx.Err() != nil:
			return 0, sum, ctx.Err()
		case err != nil:
			var failed *fs.PathError
			if errors.As(err, &failed) || errors.Is(err, ErrFormat) {
				return 0, sum, err
			}
			return 0, sum, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
}

// pending returns the files of the account and Region that the node says no
// digest lists yet, by name.
func (w *scoped) pending() map[string]LogFile {
	pending := make(map[string]LogFile)
	for _, f := range w.o.Pending {
		if n, ok := parseObject(f.Object); ok && n.scope == w.scope {
			pending[f.Object] = f
		}
	}
	return pending
}

// unlisted looks at the log files that no digest lists.
func (w *scoped) unlisted() error {
	pending := w.pending()
	var unknown []string
	err := w.files(w.scope.folder(folderLogs), func(object string) error {
		n, ok := parseObject(object)
		switch {
		case !ok || n.digest || n.scope != w.scope:
			w.found(object, "does not belong here")
		case w.listed[hashName(object)]:
		case w.o.Pending != nil:
			if _, ok := pending[object]; !ok {
				unknown = append(unknown, object)
			}
		case n.time.Before(w.newest):
			w.found(object, "an added log file, or one that was delivered late: no digest lists it")
		default:
			w.report.Unlisted++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(unknown) > 0 && w.o.Delivered != nil {
		now, err := w.o.Delivered()
		if err != nil {
			return fmt.Errorf("asking which files were delivered: %w", err)
		}
		w.o.Pending = append([]LogFile{}, now...) // not nil, which means unknown
		maps.Copy(pending, w.pending())
	}
	for _, object := range unknown {
		if _, ok := pending[object]; !ok {
			w.found(object, "an added log file: no digest lists it, and it was not delivered")
		}
	}
	for _, object := range slices.Sorted(maps.Keys(pending)) {
		if w.listed[hashName(object)] {
			continue // meanwhile
		}
		w.report.Unlisted++
		if err := w.logFile(object, pending[object].Hash, "the node"); err != nil {
			return err
		}
	}
	return nil
}

// openPlain opens a file, or what a symbolic link leads to. It is [ErrFormat] if
// that is something else: opening a pipe that nobody writes to would not return.
func openPlain(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no plain file", ErrFormat)
	}
	return os.Open(path)
}

// readFile reads a file of at most limit bytes: [ErrFormat] if it is longer.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := openPlain(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFormat, limit)
	}
	return text, nil
}
