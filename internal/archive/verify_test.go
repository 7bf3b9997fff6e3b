package archive_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
)

// trail is an archive of three hours, with one file that no digest lists yet.
type trail struct {
	*env
	files   map[string][]byte // as they were written
	logs    []string          // of account A, the last of which is in no digest yet
	digests []string          // of account A
	others  []string          // log files of account B
}

func newTrail(t *testing.T) *trail {
	e := newEnv(t)
	for range 3 {
		e.hour(accountA, accountB)
	}
	e.write(accountA, region, 3)
	e.pass(10 * time.Minute)
	e.deliver()
	tr := &trail{env: e, files: map[string][]byte{}}
	for _, object := range e.tree() {
		tr.files[object] = e.read(object)
	}
	of := func(list []string, account string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(n string) bool { return !strings.Contains(n, account) })
	}
	tr.logs, tr.digests, tr.others = of(e.logs(), accountA), of(e.digests(), accountA), of(e.logs(), accountB)
	if len(tr.logs) != 4 || len(tr.digests) != 3 || len(tr.others) != 3 {
		t.Fatalf("the archive has %v", e.tree())
	}
	return tr
}

// restore puts all files back.
func (tr *trail) restore() {
	tr.t.Helper()
	if err := os.RemoveAll(filepath.Join(tr.options.Dir, "AWSLogs")); err != nil {
		tr.t.Fatal(err)
	}
	for object, body := range tr.files {
		tr.put(object, body)
	}
}

// edit changes what a gzip file holds.
func (tr *trail) edit(object string, change func(string) string) {
	tr.t.Helper()
	before := string(unzip(tr.t, tr.read(object)))
	after := change(before)
	if after == before {
		tr.t.Fatalf("nothing was changed in %s", object)
	}
	tr.put(object, zip(tr.t, []byte(after)))
}

// records changes the records of a log file.
func (tr *trail) records(object string, change func([]json.RawMessage) []json.RawMessage) {
	tr.t.Helper()
	tr.edit(object, func(text string) string {
		var file struct{ Records []json.RawMessage }
		if err := json.Unmarshal([]byte(text), &file); err != nil {
			tr.t.Fatal(err)
		}
		file.Records = change(file.Records)
		out, err := json.Marshal(file)
		if err != nil {
			tr.t.Fatal(err)
		}
		return string(out)
	})
}

func (tr *trail) swap(a, b string) {
	x, y := tr.read(a), tr.read(b)
	tr.put(a, y)
	tr.put(b, x)
}

// forge writes a digest that is signed with a key, and returns it.
func (tr *trail) forge(key archive.Key, d archive.Digest) *archive.SignedDigest {
	tr.t.Helper()
	d.Scope = archive.Scope{Account: accountA, Region: region}
	d.Bucket, d.Trail, d.Home = archive.BucketName, archive.TrailName, region
	signed, err := d.Sign(key)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.put(signed.Object, signed.Body)
	tr.put(signed.Object+".sig", []byte(signed.Signature))
	return signed
}

// link returns what a digest that follows says of this one.
func (tr *trail) link(object string) *archive.Link {
	sum := sha256.Sum256(unzip(tr.t, tr.read(object)))
	return &archive.Link{Bucket: archive.BucketName, Object: object, Hash: hex.EncodeToString(sum[:]), Signature: strings.TrimSpace(string(tr.read(object + ".sig")))}
}

func endOf(hour int) time.Time { return start.Truncate(time.Hour).Add(time.Duration(hour) * time.Hour) }

func TestVerify(t *testing.T) {
	tr := newTrail(t)
	logs, digests := tr.logs, tr.digests
	thief, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	// The forger claims to have the node's key.
	stolen := archive.Key{Fingerprint: tr.archive.PublicKeys(region, time.Time{}, time.Time{})[0].Fingerprint, Signer: thief}
	own := archive.Key{Fingerprint: strings.Repeat("0", 32), Signer: thief}
	// Whoever has the whole node can sign anything.
	genuine, err := tr.archive.Key(t.Context(), region, endOf(3))
	if err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name   string
		change func()
		want   string // part of a finding
		object string // that it is about; empty for any
		// needs says that it takes what the node knows to find it: the files
		// alone are as they could have been.
		needs bool
	}{
		// Records.
		{name: "a record is changed", object: logs[0], want: "a changed log file", change: func() {
			tr.edit(logs[0], func(s string) string { return strings.Replace(s, "DeleteKey", "CreateKey", 1) })
		}},
		{name: "a record is cut out", object: logs[1], want: "a changed log file", change: func() {
			tr.records(logs[1], func(r []json.RawMessage) []json.RawMessage { return r[1:] })
		}},
		{name: "a record is added", object: logs[1], want: "a changed log file", change: func() {
			tr.records(logs[1], func(r []json.RawMessage) []json.RawMessage { return append(r, r[0]) })
		}},
		{name: "records are put in another order", object: logs[2], want: "a changed log file", change: func() {
			tr.records(logs[2], func(r []json.RawMessage) []json.RawMessage { r[0], r[1] = r[1], r[0]; return r })
		}},
		{name: "white space is added", object: logs[2], want: "a changed log file", change: func() {
			tr.edit(logs[2], func(s string) string { return s + "\n" })
		}},
		{name: "a record of a file that is in no digest yet is changed", object: logs[3], want: "a changed log file", needs: true, change: func() {
			tr.edit(logs[3], func(s string) string { return strings.Replace(s, "DeleteKey", "CreateKey", 1) })
		}},

		// Log files.
		{name: "a log file is removed", object: logs[0], want: "a missing log file", change: func() { tr.remove(logs[0]) }},
		{name: "the newest log file is removed", object: logs[3], want: "a missing log file", needs: true, change: func() { tr.remove(logs[3]) }},
		{name: "a log file is emptied", object: logs[0], want: "a changed log file", change: func() { tr.put(logs[0], nil) }},
		{name: "a log file is cut off", object: logs[0], want: "a changed log file", change: func() {
			body := tr.read(logs[0])
			tr.put(logs[0], body[:len(body)-5])
		}},
		{name: "a byte of a log file is changed", object: logs[0], want: "a changed log file", change: func() {
			body := tr.read(logs[0])
			body[len(body)/2] ^= 1
			tr.put(logs[0], body)
		}},
		{name: "records follow in a second gzip member", object: logs[0], want: "a changed log file", change: func() {
			tr.put(logs[0], append(tr.read(logs[0]), zip(t, []byte(`{"Records":[{}]}`))...))
		}},
		{name: "something follows the gzip member", object: logs[0], want: "a changed log file", change: func() {
			tr.put(logs[0], append(tr.read(logs[0]), "x"...))
		}},
		{name: "two log files are exchanged", object: logs[0], want: "a changed log file", change: func() { tr.swap(logs[0], logs[1]) }},
		{name: "a log file is put in the place of another", object: logs[1], want: "a changed log file", change: func() { tr.put(logs[1], tr.read(logs[0])) }},
		{name: "a log file is renamed", object: logs[0], want: "a missing log file", change: func() {
			tr.put(strings.Replace(logs[0], "Z_", "Z_0", 1), tr.read(logs[0]))
			tr.remove(logs[0])
		}},
		{name: "a log file is moved to another account", object: tr.others[0], want: "does not belong here", change: func() {
			tr.put(strings.Replace(logs[0], "AWSLogs/"+accountA, "AWSLogs/"+accountB, 1), tr.read(logs[0]))
			tr.remove(logs[0])
		}},
		{name: "a log file is copied to another account", want: "an added log file", change: func() {
			tr.put(strings.ReplaceAll(logs[0], accountA, accountB), tr.read(logs[0]))
		}},
		{name: "a log file is added", want: "an added log file", change: func() {
			tr.put(strings.Replace(logs[0], "Z_", "Z_0", 1), zip(t, []byte(`{"Records":[]}`)))
		}},
		{name: "a log file is added after the newest digest", want: "an added log file", needs: true, change: func() {
			tr.put(strings.Replace(logs[3], "Z_", "Z_0", 1), zip(t, []byte(`{"Records":[]}`)))
		}},
		{name: "a log file of another account is added", want: "does not belong here", change: func() {
			tr.put("AWSLogs/evil/CloudTrail/x", nil)
		}},
		{name: "something else is added", want: "does not belong here", change: func() { tr.put(filepath.Dir(logs[0])+"/notes.txt", nil) }},
		{name: "another kind of files is added", want: "does not belong here", change: func() { tr.put("AWSLogs/"+accountA+"/Config/x", nil) }},
		{name: "a file in place of the logs of a Region", want: "does not belong here", change: func() { tr.put("AWSLogs/"+accountA+"/CloudTrail/A_B", nil) }},

		// Digests.
		{name: "a digest is changed", object: digests[1], want: "a changed digest", change: func() {
			tr.edit(digests[1], func(s string) string { return strings.Replace(s, "SHA-256", "SHA-255", 1) })
		}},
		{name: "a file is taken out of the newest digest", object: digests[2], want: "", change: func() {
			tr.edit(digests[2], func(s string) string { return s[:strings.Index(s, `"logFiles":[`)] + `"logFiles":[]}` })
		}},
		{name: "a file and its digest are changed", object: digests[1], want: "a changed digest", change: func() {
			before := sha256.Sum256(unzip(t, tr.read(logs[1])))
			tr.edit(logs[1], func(s string) string { return strings.Replace(s, "DeleteKey", "CreateKey", 1) })
			after := sha256.Sum256(unzip(t, tr.read(logs[1])))
			tr.edit(digests[1], func(s string) string {
				return strings.Replace(s, hex.EncodeToString(before[:]), hex.EncodeToString(after[:]), 1)
			})
		}},
		{name: "the oldest digest is changed", object: digests[0], want: "a changed digest", change: func() {
			tr.edit(digests[0], func(s string) string { return strings.Replace(s, "keyreeve", "keyleave", 1) })
		}},
		{name: "a digest is no JSON", object: digests[2], want: "a changed digest", change: func() { tr.put(digests[2], zip(t, []byte("{"))) }},
		{name: "a digest is no gzip", object: digests[2], want: "a changed digest", change: func() { tr.put(digests[2], []byte("{}")) }},
		{name: "a digest is removed", object: digests[1], want: "a missing digest", change: func() {
			tr.remove(digests[1])
			tr.remove(digests[1] + ".sig")
		}},
		{name: "a digest is removed, and its signature is not", object: digests[1] + ".sig", want: "is missing", change: func() { tr.remove(digests[1]) }},
		{name: "the oldest digest is removed", object: digests[0], want: "a missing digest", change: func() {
			tr.remove(digests[0])
			tr.remove(digests[0] + ".sig")
		}},
		{name: "the newest digest is removed", object: digests[2], want: "a missing digest", needs: true, change: func() {
			tr.remove(digests[2])
			tr.remove(digests[2] + ".sig")
			tr.remove(logs[3])
			tr.remove(logs[2])
		}},
		{name: "everything of the last two hours is removed", object: digests[2], want: "a missing digest", needs: true, change: func() {
			for _, object := range []string{digests[1], digests[2], digests[1] + ".sig", digests[2] + ".sig", logs[1], logs[2], logs[3]} {
				tr.remove(object)
			}
		}},
		{name: "all of an account is removed", object: digests[2], want: "missing, with all digests", needs: true, change: func() {
			if err := os.RemoveAll(filepath.Join(tr.options.Dir, "AWSLogs", accountA)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "all is removed", object: digests[2], want: "missing, with all digests", needs: true, change: func() {
			if err := os.RemoveAll(filepath.Join(tr.options.Dir, "AWSLogs")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "all digests of an account are removed", object: digests[2], want: "missing, with all digests", needs: true, change: func() {
			if err := os.RemoveAll(filepath.Join(tr.options.Dir, "AWSLogs", accountA, "CloudTrail-Digest")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "two digests are exchanged", object: digests[1], want: "a moved digest", change: func() {
			tr.swap(digests[1], digests[2])
			tr.swap(digests[1]+".sig", digests[2]+".sig")
		}},
		{name: "a digest is put in the place of the newest", object: digests[2], want: "digest", change: func() {
			tr.put(digests[2], tr.read(digests[1]))
			tr.put(digests[2]+".sig", tr.read(digests[1]+".sig"))
		}},
		{name: "a digest is copied to a later time", want: "a moved digest", change: func() {
			later := strings.Replace(digests[2], "T130000Z", "T140000Z", 1)
			tr.put(later, tr.read(digests[2]))
			tr.put(later+".sig", tr.read(digests[2]+".sig"))
		}},
		{name: "a digest is copied between two", want: "an added digest", change: func() {
			tr.put(strings.Replace(digests[1], "T120000Z", "T123000Z", 1), tr.read(digests[1]))
		}},
		{name: "a digest is copied to before the first", want: "a moved digest", change: func() {
			tr.put(strings.Replace(digests[0], "T110000Z", "T100000Z", 1), tr.read(digests[0]))
		}},
		{name: "a digest is copied to another account", want: "does not belong here", change: func() {
			tr.put(strings.Replace(digests[0], "AWSLogs/"+accountA, "AWSLogs/"+accountB, 1), tr.read(digests[0]))
		}},

		// Signatures.
		{name: "the signature of the newest digest is removed", object: digests[2], want: "signature", change: func() { tr.remove(digests[2] + ".sig") }},
		{name: "a signature is removed", object: digests[1], want: "signature is missing", change: func() { tr.remove(digests[1] + ".sig") }},
		{name: "a signature is changed", object: digests[2], want: "its signature is wrong", change: func() {
			sig := tr.read(digests[2] + ".sig")
			sig[0] ^= 1
			tr.put(digests[2]+".sig", sig)
		}},
		{name: "a signature is that of another digest", object: digests[1], want: "its signature is wrong", change: func() { tr.swap(digests[1]+".sig", digests[0]+".sig") }},
		{name: "a signature is no signature", object: digests[0], want: "its signature is wrong", change: func() { tr.put(digests[0]+".sig", bytes.Repeat([]byte("zz"), 10_000)) }},

		// Forged digests.
		{name: "a digest is forged with a key of somebody's own", object: digests[2], want: "", change: func() {
			tr.forge(own, archive.Digest{Start: endOf(2), End: endOf(3), Previous: tr.link(digests[1])})
		}},
		{name: "a digest is forged with a claim to be the node's key", object: digests[2], want: "", change: func() {
			tr.forge(stolen, archive.Digest{Start: endOf(2), End: endOf(3), Previous: tr.link(digests[1])})
		}},
		{name: "a digest that follows is forged", want: "its signature is wrong", change: func() {
			tr.forge(stolen, archive.Digest{Start: endOf(3), End: endOf(4), Previous: tr.link(digests[2])})
		}},
		{name: "a chain is forged from its beginning", want: "signed with a key that is not known", change: func() {
			var link *archive.Link
			for h := 1; h <= 3; h++ {
				link = &tr.forge(own, archive.Digest{Start: endOf(h - 1), End: endOf(h), Previous: link}).Link
			}
		}},
		{name: "the node's key signs a gap", want: "and the digest after it begins at", change: func() {
			tr.forge(genuine, archive.Digest{Start: endOf(3).Add(time.Minute), End: endOf(4), Previous: tr.link(digests[2])})
		}},
		{name: "the node's key signs a digest that is its own forerunner", want: "which it cannot be", change: func() {
			link := tr.link(digests[2])
			link.Object = strings.Replace(digests[2], "T130000Z", "T140000Z", 1)
			tr.forge(genuine, archive.Digest{Start: endOf(3), End: endOf(4), Previous: link})
		}},
		{name: "the node's key signs what lies elsewhere", want: "which is no log file of its account and Region", change: func() {
			tr.forge(genuine, archive.Digest{Start: endOf(3), End: endOf(4), Previous: tr.link(digests[2]), Files: []archive.LogFile{{Bucket: archive.BucketName, Object: "../../etc/passwd", Hash: "00"}}})
		}},
		{name: "the node's key signs a file twice", want: "digests list it twice", change: func() {
			sum := sha256.Sum256(unzip(t, tr.read(logs[0])))
			tr.forge(genuine, archive.Digest{Start: endOf(3), End: endOf(4), Previous: tr.link(digests[2]), Files: []archive.LogFile{{Bucket: archive.BucketName, Object: logs[0], Hash: hex.EncodeToString(sum[:])}}})
		}},
		{name: "the node's key signs another chain", object: digests[2], want: "a changed digest", needs: true, change: func() {
			tr.remove(logs[3])
			var link *archive.Link
			for h := 1; h <= 3; h++ {
				tr.remove(logs[h-1])
				link = &tr.forge(genuine, archive.Digest{Start: endOf(h - 1), End: endOf(h), Previous: link}).Link
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr.restore()
			if found := tr.verify(); len(found) > 0 {
				t.Fatalf("before: %q", found)
			}
			tt.change()
			hit := func(found []string) bool {
				return slices.ContainsFunc(found, func(f string) bool {
					return strings.Contains(f, tt.want) && (tt.object == "" || strings.Contains(f, tt.object) || tt.want == "does not belong here")
				})
			}
			if found := tr.verify(); !hit(found) {
				t.Errorf("found with what the node knows: %q, want %s: %s", found, tt.object, tt.want)
			}
			found := tr.verify(offline)
			switch {
			case tt.needs && len(found) > 0:
				t.Errorf("found in the files alone: %q, want nothing", found)
			case !tt.needs && len(found) == 0:
				t.Error("nothing is found in the files alone")
			}
		})
	}
}

// What is put in the place of a file must not keep anybody from verifying: a
// pipe that nobody writes to can be opened for ever.
func TestVerifyPipe(t *testing.T) {
	tr := newTrail(t)
	for _, tt := range []struct{ object, want string }{
		{tr.logs[0], "a changed log file"},
		{tr.logs[3], "a changed log file"},
		{tr.digests[1], "a changed digest"},
		{tr.digests[2] + ".sig", "its signature is wrong"},
	} {
		tr.restore()
		tr.remove(tt.object)
		if err := syscall.Mkfifo(filepath.Join(tr.options.Dir, filepath.FromSlash(tt.object)), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := tr.verify(); !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, tt.want) }) {
			t.Errorf("a pipe in place of %s: found %q, want %s", tt.object, found, tt.want)
		}
	}
}

// A hash that was kept elsewhere finds what was signed anew by the key's owner.
func TestAnchors(t *testing.T) {
	tr := newTrail(t)
	anchor := tr.link(tr.digests[1]).Hash
	with := func(o *archive.VerifyOptions) {
		offline(o)
		o.Anchors = []string{" " + strings.ToUpper(anchor) + "\n"}
	}
	if found := tr.verify(with); len(found) > 0 {
		t.Fatalf("before: %q", found)
	}
	genuine, err := tr.archive.Key(t.Context(), region, endOf(3))
	if err != nil {
		t.Fatal(err)
	}
	link := tr.link(tr.digests[0])
	for h := 2; h <= 3; h++ {
		tr.remove(tr.logs[h-1])
		link = &tr.forge(genuine, archive.Digest{Start: endOf(h - 1), End: endOf(h), Previous: link}).Link
	}
	if found := tr.verify(offline); len(found) > 0 {
		t.Fatalf("the forgery is not good enough for this test: %q", found)
	}
	if found := tr.verify(with); len(found) != 1 || !strings.Contains(found[0], anchor) {
		t.Errorf("found with a hash kept elsewhere: %q", found)
	}
}

// A copy of a bucket has no signatures beside the files: each digest brings that
// of the one before.
func TestVerifyWithoutSignatureFiles(t *testing.T) {
	tr := newTrail(t)
	for _, d := range tr.tree() {
		if strings.HasSuffix(d, ".sig") {
			tr.remove(d)
		}
	}
	if found := tr.verify(); len(found) > 0 {
		t.Errorf("found: %q", found)
	}
	if found := tr.verify(offline); len(found) != 2 || !strings.Contains(found[0], "its signature is missing") {
		t.Errorf("found in the files alone: %q, want that the newest signatures are missing", found)
	}
}

func TestVerifyBelowPrefix(t *testing.T) {
	tr := newTrail(t)
	moved := filepath.Join(tr.options.Dir, "some", "prefix")
	if err := errors.Join(os.MkdirAll(moved, 0o700), os.Rename(filepath.Join(tr.options.Dir, "AWSLogs"), filepath.Join(moved, "AWSLogs"))); err != nil {
		t.Fatal(err)
	}
	if found := tr.verify(offline); !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, "a moved digest") }) {
		t.Errorf("files that were moved as a whole: %q", found)
	}
}

func TestVerifyBounds(t *testing.T) {
	tr := newTrail(t)
	tr.remove(tr.logs[0])
	if found := tr.verify(func(o *archive.VerifyOptions) { o.Account = accountB }); len(found) > 0 {
		t.Errorf("found of another account: %q", found)
	}
	if found := tr.verify(func(o *archive.VerifyOptions) { o.Region = other }); len(found) > 0 {
		t.Errorf("found of another Region: %q", found)
	}
	if found := tr.verify(func(o *archive.VerifyOptions) { o.Account, o.Region = accountA, region }); len(found) != 1 {
		t.Errorf("found of the account and Region: %q", found)
	}
}

func TestVerifyStops(t *testing.T) {
	tr := newTrail(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Verify(ctx, archive.VerifyOptions{Dir: tr.options.Dir, Found: func(archive.Finding) {}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify: %v", err)
	}
	if _, err := archive.Verify(t.Context(), archive.VerifyOptions{Dir: filepath.Join(tr.options.Dir, "nowhere"), Found: func(archive.Finding) {}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Verify of a directory that is not there: %v", err)
	}
	bad := archive.PublicKey{Region: region, Fingerprint: "x", Value: []byte("x")}
	if _, err := archive.Verify(t.Context(), archive.VerifyOptions{Dir: tr.options.Dir, Keys: []archive.PublicKey{bad}, Found: func(archive.Finding) {}}); err == nil {
		t.Error("Verify with a key that is none: no error")
	}
}

// Who verifies while the node delivers is not told that the new files are
// somebody else's.
func TestVerifyDuringDelivery(t *testing.T) {
	var e *env
	var before archive.VerifyOptions
	looked := 0
	look := func() {
		looked++
		findings := e.verify(func(o *archive.VerifyOptions) {
			o.Heads, o.Pending = before.Heads, before.Pending
			o.Delivered = func() ([]archive.LogFile, error) { return e.archive.Pending(), nil }
		})
		if len(findings) > 0 {
			t.Errorf("findings: %q", findings)
		}
	}
	e = newEnv(t, func(o *archive.Options) {
		o.Pause = func(context.Context, int) {
			if before.Pending != nil {
				look()
			}
		}
	})
	e.write(accountA, region, 1)
	e.deliver()
	e.hour(accountA)
	e.write(accountA, region, 3)
	e.write(accountA, other, 2)
	e.write(accountB, region, 1)
	before.Heads, before.Pending = e.archive.Heads(), append([]archive.LogFile{}, e.archive.Pending()...)
	e.deliver()
	delivered := e.archive.Pending()
	if looked < 3 || len(delivered) != len(before.Pending)+3 {
		t.Errorf("looked %d times; %d files are delivered: %v", looked, len(delivered), delivered)
	}
	look()

	// What somebody else has added is found all the same.
	body := e.read(delivered[len(delivered)-1].Object)
	e.put(regexp.MustCompile(`_.{16}\.json\.gz$`).ReplaceAllString(delivered[len(delivered)-1].Object, "_0123456789abcdef.json.gz"), body)
	findings := e.verify(func(o *archive.VerifyOptions) {
		o.Delivered = func() ([]archive.LogFile, error) { return e.archive.Pending(), nil }
	})
	if len(findings) != 1 || !strings.Contains(findings[0], "an added log file") {
		t.Errorf("findings: %q", findings)
	}
}
