package archive_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/store"
)

func TestDelivery(t *testing.T) {
	e := newEnv(t)
	for range 50 { // interleaved
		e.write(accountA, region, 2)
		e.write(accountB, region, 1)
		e.write(accountA, other, 1)
		e.write("", region, 1)
	}
	var want []string
	for r, err := range e.log.Records() {
		if err != nil {
			t.Fatal(err)
		}
		var event struct{ EventID string }
		if err := json.Unmarshal(r, &event); err != nil {
			t.Fatal(err)
		}
		want = append(want, event.EventID)
	}
	changed := e.archive.Changed()
	e.deliver()
	select {
	case <-changed:
	default:
		t.Error("Changed does not tell of the delivery")
	}

	name := regexp.MustCompile(`^AWSLogs/(\d{12})/CloudTrail/([a-z0-9-]+)/2026/11/22/(\d{12})_CloudTrail_([a-z0-9-]+)_20261122T1020Z_[A-Za-z0-9]{16}\.json\.gz$`)
	counts := map[string]int{}
	var got []string
	for _, object := range e.logs() {
		m := name.FindStringSubmatch(object)
		if m == nil || m[1] != m[3] || m[2] != m[4] {
			t.Errorf("a log file is named %s", object)
			continue
		}
		if m[1] == archive.NobodysAccount {
			continue // its records say no account
		}
		ids := e.eventsOf(object)
		counts[m[1]+" "+m[2]] += len(ids)
		got = append(got, ids...)
	}
	if counts[accountA+" "+region] != 100 || counts[accountB+" "+region] != 50 || counts[accountA+" "+other] != 50 {
		t.Errorf("events by account and Region: %v", counts)
	}
	for _, id := range got {
		if !slices.Contains(want, id) {
			t.Errorf("event %s was never written", id)
		}
	}
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != 200 {
		t.Errorf("%d different events in the files, want 200", len(got))
	}
	e.write(accountA, region, 1)
	e.deliver()
	e.write(accountA, region, 1)
	if err := e.archive.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if segments, err := e.log.Segments(); err != nil || len(segments) != 1 || !segments[0].Open {
		t.Errorf("the journal has %v after delivery, %v", segments, err)
	}
	s := e.archive.Stats()
	if s.Segments != 2 || s.Records != 251 || s.Files != 5 || s.Failures != 0 || s.Waiting == 0 || s.PendingDigest != 5 {
		t.Errorf("Stats: %+v", s)
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
}

func TestOrderInFiles(t *testing.T) {
	e := newEnv(t)
	var want []string
	for i := range 30 {
		e.write([]string{accountA, accountB}[i%2], region, 1)
	}
	for r := range e.log.Records() {
		if strings.Contains(string(r), accountA) {
			want = append(want, string(r))
		}
	}
	e.deliver()
	if got := string(unzip(t, e.read(e.logs()[0]))); got != `{"Records":[`+strings.Join(want, ",")+`]}` {
		t.Errorf("the file does not hold the records as they were written:\n%s", got)
	}
}

func TestDigests(t *testing.T) {
	e := newEnv(t)
	e.write(accountA, region, 5)
	e.deliver()
	if d := e.digests(); len(d) != 0 {
		t.Fatalf("digests before the hour is over: %v", d)
	}
	e.pass(time.Hour) // 11:20
	e.deliver()
	e.write(accountA, region, 5)
	e.write(accountB, other, 1)
	e.deliver()
	e.pass(time.Hour) // 12:20
	e.deliver()
	e.deliver() // nothing more
	e.pass(time.Hour)
	e.deliver() // an hour without files
	folder := "AWSLogs/" + accountA + "/CloudTrail-Digest/" + region + "/2026/11/22/" + accountA + "_CloudTrail-Digest_" + region + "_keyreeve_" + region + "_20261122T"
	digests := e.digests()
	want := []string{
		folder + "110000Z.json.gz", folder + "120000Z.json.gz", folder + "130000Z.json.gz",
		strings.ReplaceAll(strings.ReplaceAll(folder, accountA, accountB), region+"/", other+"/") + "120000Z.json.gz",
	}
	want[3] = "AWSLogs/" + accountB + "/CloudTrail-Digest/" + other + "/2026/11/22/" + accountB + "_CloudTrail-Digest_" + other + "_keyreeve_" + region + "_20261122T120000Z.json.gz"
	want = append(want, strings.Replace(want[3], "T12", "T13", 1))
	if !slices.Equal(digests, want) {
		t.Fatalf("digests:\n%s\nwant:\n%s", strings.Join(digests, "\n"), strings.Join(want, "\n"))
	}
	var before map[string]any
	for i, object := range want[:3] {
		var d map[string]any
		text := unzip(t, e.read(object))
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		files := d["logFiles"].([]any)
		if n := []int{1, 1, 0}[i]; len(files) != n {
			t.Errorf("%s lists %d files, want %d", object, len(files), n)
		}
		if i == 0 {
			if d["previousDigestS3Object"] != nil || d["previousDigestSignature"] != nil {
				t.Errorf("the first digest names one before it: %s", text)
			}
		} else if d["previousDigestS3Object"] != want[i-1] || d["digestStartTime"] != before["digestEndTime"] ||
			d["previousDigestSignature"] != strings.TrimSpace(string(e.read(want[i-1]+".sig"))) {
			t.Errorf("%s does not follow the one before: %s", object, text)
		}
		before = d
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
	if found := e.verify(offline); len(found) > 0 {
		t.Errorf("findings offline: %q", found)
	}
	if n := e.archive.Stats().PendingDigest; n != 0 {
		t.Errorf("%d files are in no digest", n)
	}
}

func TestQuietChains(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *archive.Options) { o.Retention = 5 * 24 * time.Hour })
	e.hour(accountA)
	active := len(e.digests())
	for range 24 {
		e.pass(time.Hour)
		e.deliver()
	}
	if n := len(e.digests()) - active; n != 24 {
		t.Errorf("%d digests in the first day without files, want one an hour", n)
	}
	active = len(e.digests())
	for range 48 {
		e.pass(time.Hour)
		e.deliver()
	}
	if n := len(e.digests()) - active; n != 2 {
		t.Errorf("%d digests in two further days without files, want one a day", n)
	}
	e.hour(accountA)
	if n := len(e.digests()) - active; n != 3 {
		t.Errorf("%d digests, want the next within the hour of the next file", n-2)
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
	for range 12 * 24 {
		e.pass(time.Hour)
		e.deliver()
	}
	if n := len(e.logs()); n != 0 {
		t.Errorf("%d log files are left after the retention", n)
	}
	before := e.digests()
	e.pass(48 * time.Hour)
	e.deliver()
	if after := e.digests(); len(after) > len(before) {
		t.Errorf("a chain whose files are all gone gets digests: %v", after)
	}
	e.hour(accountA)
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings after the chain has rested: %q", found)
	}
}

func TestRestarts(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for range 3 {
		e.write(accountA, region, 3)
		e.cut()
		e.reopen()
		e.deliver()
		e.reopen()
		e.pass(40 * time.Minute)
		e.deliver()
		e.reopen()
	}
	if n := e.search(accountA); n != 9 {
		t.Errorf("%d events are found, want 9", n)
	}
	e.pass(20 * time.Hour) // switched off
	e.deliver()
	if n := len(e.archive.Heads()); n != 1 {
		t.Fatalf("%d chains", n)
	}
	if n := e.archive.Stats().PendingDigest; n != 0 {
		t.Errorf("%d files are in no digest", n)
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
	if d := e.archive.Damage(); len(d) > 0 {
		t.Errorf("damage: %q", d)
	}
}

// A crash at any step leaves nothing twice, and nothing behind.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for n := range 8 {
		e := newEnv(t)
		e.hour(accountA)
		e.write(accountA, region, 3)
		e.write(accountB, region, 3)
		commits := 0
		e.store.failing(func([]store.Op) error {
			if commits++; commits > n {
				return errors.New("the machine has failed")
			}
			return nil
		})
		e.cut()
		_ = e.archive.Deliver(t.Context())
		e.pass(time.Hour)
		_ = e.archive.Deliver(t.Context())
		e.store.failing(nil)
		e.pass(time.Hour) // so that digests that are made anew have other names
		e.reopen()
		e.deliver()
		e.pass(time.Hour)
		e.deliver()
		if found := e.verify(); len(found) > 0 {
			t.Errorf("failing after %d commits: findings %q", n, found)
		}
		if d := e.archive.Damage(); len(d) > 0 {
			t.Errorf("failing after %d commits: damage %q", n, d)
		}
		ids := map[string]bool{}
		for _, object := range e.logs() {
			for _, id := range e.eventsOf(object) {
				if ids[id] {
					t.Errorf("failing after %d commits: event %s is there twice", n, id)
				}
				ids[id] = true
			}
		}
		if len(ids) != 9 {
			t.Errorf("failing after %d commits: %d events, want 9", n, len(ids))
		}
		e.close()
	}
}

// TestStoreFails has a commit of the archive fail, which happened or did not, and
// goes on without a restart: at once, and an hour later.
func TestStoreFails(t *testing.T) {
	for _, cause := range []error{errors.New("the disk is full"), errLost} {
		for n := range 4 {
			later := time.Duration(n/2) * time.Hour
			e := newEnv(t)
			e.hour(accountA)
			e.write(accountA, region, 3)
			e.write(accountB, region, 3)
			commits := 0
			e.store.failing(func([]store.Op) error {
				if commits++; commits == n+1 {
					return cause
				}
				return nil
			})
			e.cut()
			_ = e.archive.Deliver(t.Context())
			e.pass(time.Hour)
			_ = e.archive.Deliver(t.Context())
			e.store.failing(nil)
			if commits <= n {
				t.Fatalf("there are no more than %d commits", commits)
			}
			e.pass(later)
			e.write(accountB, region, 3)
			e.deliver()
			e.pass(time.Hour)
			e.deliver()
			if found := e.verify(); len(found) > 0 {
				t.Errorf("%v at commit %d, and %v later: findings %q", cause, n+1, later, found)
			}
			if s := e.archive.Stats(); s.PendingDigest != 0 || len(e.logs()) != 4 {
				t.Errorf("%v at commit %d, and %v later: of %d log files, %d are in no digest", cause, n+1, later, len(e.logs()), s.PendingDigest)
			}
			e.close()
		}
	}
}

func TestUnfinishedFilesAreRemoved(t *testing.T) {
	e := newEnv(t)
	e.close()
	left := filepath.Join(e.options.Dir, "tmp", "file-1")
	if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.open()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what an interrupted delivery left is still there: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	e := newEnv(t)
	e.write(accountA, region, 3)
	// Nothing can be made where a file is.
	blocked := filepath.Join(e.options.Dir, "AWSLogs")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.cut()
	if err := e.archive.Deliver(t.Context()); err == nil {
		t.Fatal("Deliver did not fail")
	}
	if s := e.archive.Stats(); s.Failures != 1 || s.Waiting == 0 || s.WaitingSince.IsZero() || s.Segments != 0 {
		t.Errorf("Stats: %+v", s)
	}
	if segments, err := e.log.Segments(); err != nil || len(segments) != 1 {
		t.Errorf("the journal has %v, %v; want the segment that could not be delivered", segments, err)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	e.deliver()
	if len(e.logs()) != 1 {
		t.Errorf("files: %v", e.tree())
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	const days = 2
	e := newEnv(t, func(o *archive.Options) { o.Retention = days * 24 * time.Hour })
	kept := func(object string) bool {
		m := regexp.MustCompile(`_(\d{8}T\d{4})`).FindStringSubmatch(object)
		at, err := time.Parse("20060102T1504", m[1])
		return err == nil && !at.Before(e.clock().Add(-days*24*time.Hour-2*time.Hour))
	}
	for i := range 4 * 8 {
		e.hour(accountA)
		e.pass(2 * time.Hour)
		if i%8 == 0 {
			e.hour(accountB)
			if found := e.verify(); len(found) > 0 {
				t.Fatalf("findings in hour %d: %q", i, found)
			}
			if found := e.verify(offline); len(found) > 0 {
				t.Fatalf("findings in hour %d offline: %q", i, found)
			}
		}
	}
	tree := e.tree()
	if n := len(tree); n < 9*days*8-10 || n > 9*days*8+10 {
		t.Errorf("%d files are there", n)
	}
	for _, object := range tree {
		if !kept(object) {
			t.Errorf("%s is too old", object)
		}
	}
	if d := e.archive.Damage(); len(d) > 0 {
		t.Errorf("damage: %q", d)
	}
	for f, err := range e.index.Files(0) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(e.archive.Path(f.Path)); err != nil {
			t.Errorf("the index tells of a file that is gone: %v", err)
		}
	}
	// The digests before the oldest are not missed, but a later one is.
	digests := e.digests()
	e.remove(digests[1])
	if found := e.verify(); !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, "a missing digest") }) {
		t.Errorf("findings without the second digest: %q", found)
	}
}

func TestKeysOfDigests(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *archive.Options) { o.KeyAge = 90 * time.Minute })
	for range 4 {
		e.write(accountA, other, 1)
		e.hour(accountA)
		e.reopen()
	}
	keys := e.archive.PublicKeys(region, time.Time{}, time.Time{})
	if len(keys) != 2 {
		t.Fatalf("%d keys of %s, want 2", len(keys), region)
	}
	for i, k := range keys {
		if raw, err := hex.DecodeString(k.Fingerprint); err != nil || len(raw) != 16 {
			t.Errorf("fingerprint %q", k.Fingerprint)
		}
		if !k.End.Equal(k.Start.Add(90 * time.Minute)) {
			t.Errorf("key %d is good from %v to %v", i, k.Start, k.End)
		}
	}
	if n := len(e.archive.PublicKeys("", time.Time{}, time.Time{})); n != 4 {
		t.Errorf("%d keys of both Regions, want 4", n)
	}
	if early := e.archive.PublicKeys(region, start, keys[0].Start.Add(time.Minute)); len(early) != 1 || early[0].Fingerprint != keys[0].Fingerprint {
		t.Errorf("keys of the first time: %v", early)
	}
	if late := e.archive.PublicKeys(region, keys[0].End.Add(time.Minute), time.Time{}); len(late) != 1 || late[0].Fingerprint != keys[1].Fingerprint {
		t.Errorf("keys of the last time: %v", late)
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
	if found := e.verify(func(o *archive.VerifyOptions) { o.Keys = o.Keys[:0] }); len(found) == 0 {
		t.Error("no findings without keys")
	}
}

// The clock was years ahead for an hour.
func TestClockSetBack(t *testing.T) {
	e := newEnv(t)
	e.hour(accountA)
	e.pass(5 * 365 * 24 * time.Hour)
	e.hour(accountA)
	e.pass(-5 * 365 * 24 * time.Hour)
	e.hour(accountA)
	e.hour(accountA)
	if n := e.archive.Stats().PendingDigest; n != 0 {
		t.Errorf("%d files are in no digest", n)
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
}

func TestRunDelivers(t *testing.T) {
	e := newEnv(t, func(o *archive.Options) { o.Every = time.Millisecond })
	e.write(accountA, region, 1)
	e.cut()
	changed := e.archive.Changed()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.archive.Run(ctx)
	}()
	<-changed
	stop()
	<-done
	if len(e.logs()) != 1 {
		t.Errorf("files: %v", e.tree())
	}
}

// What was changed in a segment is told, and a line that is no record is
// delivered nowhere, and not lost.
func TestDamagedSegment(t *testing.T) {
	for _, tt := range []struct {
		name      string
		keyless   bool
		old, new  string
		tags      bool // are made right again: without a key, anybody can
		delivered int  // records
	}{
		{"changed", false, `"eventName":"DeleteKey"`, `"eventName":"CreateKey"`, false, 3},
		{"no JSON", false, `"eventName":"DeleteKey"`, `"eventName" "DeleteKey"`, false, 2},
		{"no time", false, `"eventTime":"2`, `"eventTime":"x`, false, 2},
		{"changed, without a key", true, `"eventName":"DeleteKey"`, `"eventName":"CreateKey"`, false, 3},
		{"no JSON, without a key", true, `"readOnly":`, `"readOnly":yes,"":`, true, 2},
		{"no time, without a key", true, `"eventTime":"2`, `"eventTime":"x`, true, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			if tt.keyless {
				e.log.Unprotect()
			}
			e.write(accountA, region, 3)
			e.close()
			names, err := filepath.Glob(filepath.Join(e.dir, "*.jsonl"))
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			text, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			altered := strings.Replace(string(text), tt.old, tt.new, 1)
			if altered == string(text) {
				t.Fatalf("there is no %s in %s", tt.old, text)
			}
			if tt.tags {
				altered = retagged(altered)
			}
			if err := os.WriteFile(names[0], []byte(altered), 0o600); err != nil {
				t.Fatal(err)
			}
			e.open()
			e.deliver()
			if d := e.archive.Damage(); len(d) != 1 || !strings.Contains(d[0], filepath.Base(names[0])) {
				t.Errorf("damage: %q", d)
			}
			kept, err := os.ReadFile(filepath.Join(e.options.Dir, "damaged", filepath.Base(names[0])))
			if err != nil || string(kept) != altered {
				t.Errorf("the segment was not kept: %v", err)
			}
			logs := e.logs()
			if len(logs) != 1 {
				t.Fatalf("files: %v", e.tree())
			}
			if n := len(e.eventsOf(logs[0])); n != tt.delivered || e.archive.Stats().Records != uint64(n) || e.search(accountA) != n {
				t.Errorf("%d records are delivered, %+v, and %d are found; want %d", n, e.archive.Stats(), e.search(accountA), tt.delivered)
			}
		})
	}
}

// retagged makes the tags of a segment without a key, which is the first of its
// journal, right.
func retagged(text string) string {
	var out strings.Builder
	tag := make([]byte, 16)
	h := sha256.New()
	h.Write(tag)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, `{"tag":`) {
			tag = h.Sum(nil)[:16]
			h.Reset()
			h.Write(tag)
			line = `{"tag":"` + base64.RawURLEncoding.EncodeToString(tag) + "\"}\n"
		} else {
			h.Write([]byte(line))
		}
		out.WriteString(line)
	}
	return out.String()
}

// Somebody has emptied the journal, so that names are given again.
func TestNameOfSegmentGivenAgain(t *testing.T) {
	e := newEnv(t)
	e.write(accountA, region, 3)
	e.deliver()
	e.close()
	names, err := filepath.Glob(filepath.Join(e.dir, "*.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	e.open()
	e.write(accountA, region, 2)
	e.deliver()
	e.write(accountA, region, 2)
	e.deliver()
	e.reopen()
	e.hour(accountA)
	if n := e.search(accountA); n != 10 {
		t.Errorf("%d events are found, want 10", n)
	}
	if len(e.logs()) != 4 {
		t.Errorf("files: %v", e.logs())
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
}

// The store was put back to an older state, and the files were not.
func TestStorePutBack(t *testing.T) {
	e := newEnv(t)
	e.hour(accountA)
	kvs, _, err := e.store.Range(t.Context(), "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	e.hour(accountA, accountB)
	e.hour(accountA)
	e.write(accountB, region, 3)
	e.deliver()
	heads := e.archive.Heads()
	e.close()
	e.store = &faulty{Store: store.NewMem()}
	for _, kv := range kvs {
		if _, ok, err := e.store.Store.Commit(t.Context(), nil, []store.Op{{Key: kv.Key, Val: kv.Val}}); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	e.open()
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
	if now := e.archive.Heads(); !slices.Equal(now, heads) {
		t.Errorf("the heads are\n%+v\nand were\n%+v", now, heads)
	}
	e.hour(accountA)
	e.hour(accountB)
	if n := e.search(accountA); n != 12 {
		t.Errorf("%d events of account A are found, want 12", n)
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings afterwards: %q", found)
	}
}

// Nobody makes the archive remove what is not old, by a digest of his own that
// is.
func TestForgedOldDigest(t *testing.T) {
	e := newEnv(t, func(o *archive.Options) { o.Retention = 24 * time.Hour })
	e.hour(accountA)
	e.hour(accountA)
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	old := archive.Digest{
		Scope: archive.Scope{Account: accountA, Region: region}, Bucket: archive.BucketName, Trail: archive.TrailName, Home: region,
		Start: start.Add(-48 * time.Hour), End: start.Add(-47 * time.Hour),
		Files: []archive.LogFile{{Bucket: archive.BucketName, Object: e.logs()[1]}, {Bucket: archive.BucketName, Object: "../../lock"}},
	}
	signed, err := old.Sign(archive.Key{Fingerprint: "x", Signer: signer})
	if err != nil {
		t.Fatal(err)
	}
	e.put(signed.Object, signed.Body)
	e.pass(2 * time.Hour)
	e.deliver()
	if n := len(e.logs()); n != 2 {
		t.Errorf("%d log files are left, want 2", n)
	}
	if _, err := os.Stat(filepath.Join(e.dir, "lock")); err != nil {
		t.Errorf("a file outside the archive is gone: %v", err)
	}
	if d := e.archive.Damage(); len(d) != 2 {
		t.Errorf("damage: %q, want one for each file", d)
	}
	if found := e.verify(); len(found) > 0 {
		t.Errorf("findings: %q", found)
	}
}
