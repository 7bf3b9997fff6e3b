package node_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
)

// A camera takes a picture of a directory when a change has just been made, as
// the machine would leave it if it failed then.
type camera struct {
	store.Store
	mu    sync.Mutex // held by each commit, so that the picture is sharp
	ready bool
	take  func()
}

func (c *camera) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rev, ok, err := c.Store.Commit(ctx, conds, ops)
	if ok && c.ready && slices.ContainsFunc(ops, func(op store.Op) bool { return strings.HasPrefix(op.Key, record.IntentPrefix) && op.Val != nil }) {
		c.ready = false
		c.take()
	}
	return rev, ok, err
}

// copyFiles copies the files of a directory, but no sockets.
func copyFiles(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !e.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o600)
	})
}

// trace is what a test looks at of a record.
type trace struct {
	EventName, EventID string
	Addendum           *struct{ Reason string }
	Resources          []struct{ ARN string }
	Additional         map[string]string `json:"additionalEventData"`
	Details            map[string]string `json:"serviceEventDetails"`
}

// traces returns the records with that name of the node whose data is in
// dir/data, wherever they are by now.
func traces(t testing.TB, dir, name string) (all []trace) {
	t.Helper()
	seen := map[string]bool{}
	add := func(line []byte) {
		var one trace
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		if one.EventName == name && !seen[one.EventID] {
			seen[one.EventID] = true
			all = append(all, one)
		}
	}
	here := map[string]int{}
	for line, err := range audit.Read(filepath.Join(dir, "data", "audit")) {
		if err != nil {
			t.Fatal(err)
		}
		add(line)
		var one trace
		if json.Unmarshal(line, &one) == nil {
			if here[one.EventID]++; here[one.EventID] > 1 {
				t.Errorf("a record is there twice: %s", line)
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(dir, "data", "audit", "archive"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".json.gz") || strings.Contains(path, "Digest") {
			return nil // there is none yet, or it is being made
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(z)
		if err != nil {
			return err
		}
		var file struct{ Records []json.RawMessage }
		if err := json.Unmarshal(text, &file); err != nil {
			return err
		}
		for _, line := range file.Records {
			add(line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A machine that fails between a change and its record has the record when it
// starts again, once; and one that fails before the change has none.
func TestChangeWithoutARecord(t *testing.T) {
	dir, picture := t.TempDir(), t.TempDir()
	var c camera
	r := run(t, configure(dir, func(cfg *node.Config) {
		cfg.WrapStore(func(s store.Store) store.Store { c.Store = s; return &c })
	}))
	id := r.create(t, nil)
	shoot := func(change func()) {
		t.Helper()
		if err := os.RemoveAll(picture); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		c.ready, c.take = true, func() {
			if err := copyFiles(picture, dir); err != nil {
				t.Error(err)
			}
		}
		c.mu.Unlock()
		change()
	}
	check := func(name string, finished bool) {
		t.Helper()
		for range 2 {
			again := run(t, configure(picture))
			all := traces(t, picture, name)
			if len(all) != 1 || (all[0].Addendum == nil) != finished || len(all[0].Resources) == 0 || !strings.HasSuffix(all[0].Resources[0].ARN, id) {
				t.Errorf("%s: %+v", name, all)
			}
			again.stop(t)
			if found := traces(t, picture, "AuditJournalDamaged"); len(found) != 0 {
				t.Errorf("%s: %+v", name, found)
			}
		}
	}
	shoot(func() { r.must(t, "CreateAlias", object{"AliasName": "alias/a", "TargetKeyId": id}) })
	if all := traces(t, picture, "CreateAlias"); len(all) != 0 {
		t.Fatalf("the picture was taken too late: %+v", all)
	}
	check("CreateAlias", false)
	if all := traces(t, dir, "CreateAlias"); len(all) != 1 || all[0].Addendum != nil {
		t.Errorf("where nothing failed: %+v", all)
	}
	r.stop(t)
}

// A key is not destroyed without its record either.
func TestDeletionWithoutARecord(t *testing.T) {
	dir, picture, now := t.TempDir(), t.TempDir(), newClocks()
	var c camera
	r := run(t, configure(dir, now.use, func(cfg *node.Config) {
		cfg.WrapStore(func(s store.Store) store.Store { c.Store = s; return &c })
		cfg.CompactEvery = 365 * 24 * time.Hour // not while the picture is taken
	}))
	id := r.create(t, nil)
	r.must(t, "ScheduleKeyDeletion", object{"KeyId": id, "PendingWindowInDays": 7})
	c.mu.Lock()
	c.ready, c.take = true, func() {
		if err := copyFiles(picture, dir); err != nil {
			t.Error(err)
		}
	}
	c.mu.Unlock()
	now.pass(7*24*time.Hour + time.Minute)
	eventually(t, "the key is destroyed", func() bool { return len(traces(t, dir, "DeleteKey")) == 1 })
	r.stop(t)
	if all := traces(t, picture, "DeleteKey"); len(all) != 0 {
		t.Fatalf("the picture was taken too late: %+v", all)
	}
	for range 2 {
		again := run(t, configure(picture, now.use))
		if all := traces(t, picture, "DeleteKey"); len(all) != 1 || !strings.HasSuffix(all[0].Resources[0].ARN, id) {
			t.Errorf("%+v", all)
		}
		again.stop(t)
	}
}

// What somebody has done to the journal while the node was down is on record,
// and keeps nothing from going on.
func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir))
	r.create(t, nil)
	r.stop(t)
	journal := filepath.Join(dir, "data", "audit")
	found, err := filepath.Glob(filepath.Join(journal, "*.jsonl"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	var changed []string
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if other := strings.Replace(string(text), `"eventName":"CreateKey"`, `"eventName":"DeleteKey"`, 1); other != string(text) {
			changed = append(changed, filepath.Base(path))
			if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(changed) != 1 {
		t.Fatalf("changed %q, want one segment", changed)
	}
	r = run(t, configure(dir))
	eventually(t, "it is on record", func() bool { return len(traces(t, dir, "AuditJournalDamaged")) > 0 })
	all := traces(t, dir, "AuditJournalDamaged")
	if len(all) != 1 || all[0].Additional["segment"] != changed[0] || all[0].Additional["offset"] == "" {
		t.Errorf("%+v", all)
	}
	r.create(t, nil)
	r.stop(t)
}

// What the store has of the journal can be spoilt, too: that is said, once, and
// made anew.
func TestSpoiltVault(t *testing.T) {
	for key, want := range map[string]string{
		"v1/sys/journal":               "the store does not know how far the journal had come",
		record.IntentPrefix + "spoilt": "the note of a change cannot be read, so its record may be missing",
	} {
		dir := t.TempDir()
		r := run(t, configure(dir))
		r.create(t, nil)
		r.stop(t)
		st, err := boltstore.Open(filepath.Join(dir, "data", "store.db"), boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := st.Commit(t.Context(), nil, []store.Op{{Key: key, Val: []byte("spoilt")}}); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r = run(t, configure(dir))
			r.create(t, nil)
			r.stop(t)
			all := traces(t, dir, "AuditJournalDamaged")
			if len(all) != 1 || !strings.Contains(all[0].Additional["problem"], want) {
				t.Errorf("%s: %+v", key, all)
			}
		}
	}
}

func FuzzHead(f *testing.F) {
	h := audit.Head{Segment: "2026-11-21-000001.jsonl", Size: 1234, Tag: audit.Tag{1, 2}, Removed: "2026-11-20-000009.jsonl"}
	f.Add(node.EncodeHead(h))
	f.Add(node.EncodeHead(audit.Head{}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := node.DecodeHead(b); err == nil && string(node.EncodeHead(h)) != string(b) {
			t.Errorf("%x became %x", b, node.EncodeHead(h))
		}
	})
}

// A machine that fails while a seed is applied has on record that one was, as soon
// as the first thing is made.
func TestSeedWithoutARecord(t *testing.T) {
	dir, picture := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(file, []byte(regionsSeed), 0o600); err != nil {
		t.Fatal(err)
	}
	seeded := func(cfg *node.Config) { cfg.Seed, cfg.Region = file, "me-south-1" }
	c := camera{ready: true, take: func() {
		if err := copyFiles(picture, dir); err != nil {
			t.Error(err)
		}
	}}
	run(t, configure(dir, seeded, func(cfg *node.Config) {
		cfg.WrapStore(func(s store.Store) store.Store { c.Store = s; return &c })
	})).stop(t)
	if c.ready {
		t.Fatal("nothing was noted with what the seed makes")
	}
	if all := traces(t, dir, "ApplySeed"); len(all) != 1 || all[0].Additional["accounts"] == "" {
		t.Errorf("recorded %+v, want how much was made, once", all)
	}
	r := run(t, configure(picture, func(cfg *node.Config) { cfg.Region = "me-south-1" }))
	if all := traces(t, picture, "ApplySeed"); len(all) != 1 {
		t.Errorf("recorded %+v after a failure, want one record", all)
	}
	r.stop(t)
	run(t, configure(picture, seeded)).stop(t)
	if all := traces(t, picture, "ApplySeed"); len(all) != 2 {
		t.Errorf("recorded %+v after the seed was finished, want two records", all)
	}
}

// What somebody has done to the archive while the node was down is on record, too,
// and not only known until the next start.
func TestAlteredArchiveIsOnRecord(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir))
	r.create(t, nil)
	if err := r.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.stop(t)
	if err := os.RemoveAll(filepath.Join(dir, "data", "audit", "index")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r = run(t, configure(dir))
		eventually(t, "it is on record", func() bool { return len(traces(t, dir, "AuditArchiveDamaged")) > 0 })
		r.stop(t)
	}
	if all := traces(t, dir, "AuditArchiveDamaged"); len(all) != 1 || !strings.Contains(all[0].Additional["problem"], "the index was damaged or lost") {
		t.Errorf("recorded %+v", all)
	}
}
