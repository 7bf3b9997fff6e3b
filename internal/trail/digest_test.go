package trail_test

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/trail"
)

// digest is a digest file, as it is read by whoever checks it.
type digest struct {
	Account           string  `json:"awsAccountId"`
	Start             string  `json:"digestStartTime"`
	End               string  `json:"digestEndTime"`
	Bucket            string  `json:"digestS3Bucket"`
	Object            string  `json:"digestS3Object"`
	Fingerprint       string  `json:"digestPublicKeyFingerprint"`
	PreviousBucket    *string `json:"previousDigestS3Bucket"`
	PreviousObject    *string `json:"previousDigestS3Object"`
	PreviousHash      *string `json:"previousDigestHashValue"`
	PreviousSignature *string `json:"previousDigestSignature"`
	Files             []struct {
		Bucket string `json:"s3Bucket"`
		Object string `json:"s3Object"`
		Hash   string `json:"hashValue"`
	} `json:"logFiles"`
}

func inflate(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// check reads the digests of a bucket below a prefix, as CloudTrail says that
// one should, and returns them with what is wrong.
func (e *env) check(in, prefix string) (chain []digest, wrong []string) {
	e.t.Helper()
	objects := e.s3.Objects(in)
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	keys := make(map[string]*rsa.PublicKey)
	for _, k := range e.archive.PublicKeys("", time.Time{}, time.Time{}) {
		public, err := x509.ParsePKCS1PublicKey(k.Value)
		e.ok(err)
		keys[k.Fingerprint] = public
	}
	for _, name := range digestsOf(objects) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		o := objects[name]
		text := inflate(e.t, o.Body)
		var d digest
		e.ok(json.Unmarshal(text, &d))
		if d.Bucket != in || d.Object != name {
			bad("%s says that it is %s/%s", name, d.Bucket, d.Object)
		}
		previous := "null"
		if d.PreviousSignature != nil {
			previous = *d.PreviousSignature
		}
		sum := sha256.Sum256([]byte(d.End + "\n" + d.Bucket + "/" + d.Object + "\n" + hash(text) + "\n" + previous))
		signature, err := hex.DecodeString(o.Metadata["signature"])
		if err != nil || o.Metadata["signature-algorithm"] != "SHA256withRSA" {
			bad("%s has the metadata %v", name, o.Metadata)
		}
		if key := keys[d.Fingerprint]; key == nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
			bad("%s is not signed", name)
		}
		if n := len(chain); n == 0 {
			if d.PreviousObject != nil {
				bad("%s has one before it", name)
			}
		} else if p := chain[n-1]; d.PreviousObject == nil || *d.PreviousObject != p.Object || *d.PreviousHash != hash(inflate(e.t, objects[p.Object].Body)) ||
			*d.PreviousSignature != objects[p.Object].Metadata["signature"] || d.Start != p.End {
			bad("%s does not follow %s", name, p.Object)
		}
		for _, f := range d.Files {
			if o, ok := objects[f.Object]; !ok || f.Bucket != in || hash(inflate(e.t, o.Body)) != f.Hash {
				bad("%s lists %s, which is another", name, f.Object)
			}
		}
		chain = append(chain, d)
	}
	return chain, wrong
}

// listed returns how many files each digest lists.
func listed(chain []digest) []int {
	var n []int
	for _, d := range chain {
		n = append(n, len(d.Files))
	}
	return n
}

func validated(t *trail.Trail) { t.Validation = true }

// digested waits until there are so many digests.
func (e *env) digested(n int) {
	e.t.Helper()
	e.until(fmt.Sprintf("there are %d digests", n), func() bool { return len(e.digests(bucket)) >= n })
}

// quick looks for what there is to do all the time: the hour ends by the clock
// of the test.
func quick(e *env) { e.options.Every = 5 * time.Millisecond }

func TestDigests(t *testing.T) {
	e := newEnv(t, quick)
	tr := e.trail("mine", validated, func(t *trail.Trail) {
		t.Selectors = []trail.Selector{{ReadWrite: trail.WriteOnly, Management: true}}
	})
	e.run()
	for range 2 {
		e.write(event{}, event{ReadOnly: true}, event{})
		e.deliver()
		e.settled(tr)
	}
	e.pass(40 * time.Minute) // 11:00
	e.digested(1)
	e.pass(time.Hour) // nothing happens
	e.digested(2)
	e.some(1)
	e.deliver()
	e.settled(tr)
	e.pass(time.Hour)
	e.digested(3)
	e.until("it is told", func() bool { return e.status(tr).Digest.Delivered.Equal(e.clock()) })
	e.reopen()
	e.run()
	e.some(1)
	e.deliver()
	e.settled(tr)
	e.pass(3 * time.Hour)
	e.digested(4)
	chain, wrong := e.check(bucket, "")
	if len(wrong) > 0 {
		t.Error(wrong)
	}
	if got := listed(chain); !slices.Equal(got, []int{2, 0, 1, 1}) {
		t.Errorf("the digests list %d files", got)
	}
	if d := chain[0]; d.Start != "2026-11-22T10:00:00Z" || d.End != "2026-11-22T11:00:00Z" ||
		d.Object != "AWSLogs/"+ours+"/CloudTrail-Digest/"+region+"/2026/11/22/"+ours+"_CloudTrail-Digest_"+region+"_mine_"+region+"_20261122T110000Z.json.gz" {
		t.Errorf("the first digest: %+v", d)
	}
	if d := chain[3]; d.Start != "2026-11-22T13:00:00Z" || d.End != "2026-11-22T16:00:00Z" {
		t.Errorf("that after three hours: %+v", d)
	}
}

// TestQuietChains: where nothing happens for a day, there is a digest a day.
func TestQuietChains(t *testing.T) {
	e := newEnv(t, quick)
	tr := e.trail("mine", validated)
	e.some(1)
	e.deliver()
	e.run()
	e.settled(tr)
	for n := range 25 { // the one with the file, and 24 hours
		e.pass(time.Hour)
		e.digested(n + 1)
	}
	for range 3 {
		e.pass(8 * time.Hour)
	}
	e.digested(26)
	e.some(1)
	e.deliver()
	e.settled(tr)
	e.pass(time.Hour)
	e.digested(27)
	chain, wrong := e.check(bucket, "")
	if len(wrong) > 0 || len(chain) != 27 {
		t.Fatalf("%d %v", listed(chain), wrong)
	}
	if d := chain[25]; d.Start != "2026-11-23T11:00:00Z" || d.End != "2026-11-24T11:00:00Z" {
		t.Errorf("the digest of a quiet day is from %s to %s", d.Start, d.End)
	}
	if d := chain[26]; len(d.Files) != 1 || d.End != "2026-11-24T12:00:00Z" {
		t.Errorf("the one after it lists %d files, and ends at %s", len(d.Files), d.End)
	}
}

// TestDigestsOfPairs: each account and Region has a chain of its own.
func TestDigestsOfPairs(t *testing.T) {
	e := newEnv(t, quick)
	tr := e.trail("mine", validated, func(t *trail.Trail) { t.MultiRegion, t.Prefix = true, "p" })
	e.run()
	e.write(event{}, event{Region: other}, event{})
	e.deliver()
	e.settled(tr)
	e.pass(time.Hour)
	e.digested(2)
	for _, r := range []string{region, other} {
		chain, wrong := e.check(bucket, "p/AWSLogs/"+ours+"/CloudTrail-Digest/"+r+"/")
		if len(wrong) > 0 || !slices.Equal(listed(chain), []int{1}) {
			t.Errorf("%s: %d %v", r, listed(chain), wrong)
		}
	}
}

// TestStoppedDigests: what was copied before the end is still listed; then there
// are no digests, until there is something again.
func TestStoppedDigests(t *testing.T) {
	e := newEnv(t, quick)
	tr := e.trail("mine", validated)
	e.some(1)
	e.deliver()
	e.run()
	e.settled(tr)
	e.ok(e.set.Stop(t.Context(), tr.Ref))
	e.pass(time.Hour)
	e.digested(1)
	e.pass(5 * time.Hour)
	e.ok(e.set.Start(t.Context(), tr.Ref))
	e.some(1)
	e.deliver()
	e.settled(tr)
	e.pass(time.Hour)
	e.digested(2)
	chain, wrong := e.check(bucket, "")
	if len(wrong) > 0 || len(chain) > 3 {
		t.Errorf("%d %v", listed(chain), wrong)
	}
}

// TestWithoutValidation: a chain ends when it is not wanted any more, and
// another begins.
func TestWithoutValidation(t *testing.T) {
	e := newEnv(t, quick)
	tr := e.trail("mine", validated)
	e.some(1)
	e.deliver()
	e.run()
	e.settled(tr)
	e.pass(time.Hour)
	e.digested(1)
	set := func(v bool) {
		t.Helper()
		_, err := e.set.Update(t.Context(), tr.Ref, func(t *trail.Trail) error { t.Validation = v; return nil })
		e.ok(err)
	}
	set(false)
	e.some(1)
	e.deliver()
	e.settled(tr)
	e.pass(time.Hour)
	e.until("its chain is forgotten", func() bool {
		keys, err := e.records.Keys(t.Context(), "v1/trailchain/", "", 10)
		return err == nil && len(keys) == 0
	})
	set(true)
	e.some(1)
	e.deliver()
	e.settled(tr)
	e.pass(time.Hour)
	e.digested(2)
	chain, wrong := e.check(bucket, "")
	if len(chain) != 2 || chain[1].PreviousObject != nil || len(wrong) != 1 { // the one complaint: it does not follow
		t.Errorf("%d %v", listed(chain), wrong)
	}
}

// TestDigestAgain: a digest that was taken without an answer comes again, and is
// the same; files go on meanwhile.
func TestDigestAgain(t *testing.T) {
	e := newEnv(t, quick)
	tr := e.trail("mine", validated)
	want := e.some(1)
	e.deliver()
	e.run()
	e.settled(tr)
	var first []byte
	mend := e.fault(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "CloudTrail-Digest") {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		if first == nil {
			first = body
		}
		s3Fail(w, http.StatusInternalServerError, "InternalError")
		return true
	})
	e.pass(time.Hour)
	e.until("it failed", func() bool { return e.status(tr).Digest.Failure == "InternalError" })
	want = append(want, e.some(1)...)
	e.deliver()
	e.gets("", want)
	e.settled(tr) // it is in the chain, too
	e.pass(time.Hour)
	mend()
	e.digested(2)
	chain, wrong := e.check(bucket, "")
	if len(wrong) > 0 || !slices.Equal(listed(chain), []int{1, 1}) {
		t.Errorf("%d %v", listed(chain), wrong)
	}
	if again := e.s3.Objects(bucket)[chain[0].Object].Body; !bytes.Equal(first, again) {
		t.Error("the digest came out otherwise the second time")
	}
	e.until("the failure is over", func() bool { return e.status(tr).Digest.Failure == "" })
}

// TestForgotten: of a trail that was deleted nothing stays.
func TestForgotten(t *testing.T) {
	e := newEnv(t, quick)
	tr := e.trail("mine", validated)
	e.some(1)
	e.deliver()
	e.run()
	e.settled(tr)
	e.ok(e.set.Delete(t.Context(), tr.Ref))
	e.until("nothing is left", func() bool {
		for _, prefix := range []string{"v1/trailchain/", "v1/trailsink/", "v1/trail/"} {
			if keys, err := e.records.Keys(t.Context(), prefix, "", 10); err != nil || len(keys) > 0 {
				return false
			}
		}
		return true
	})
}
