package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

// clocks are a wall clock, which can be set, and one that only goes on.
type clocks struct {
	clock
	passed atomic.Int64
}

func newClocks() *clocks {
	c := new(clocks)
	c.at.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

// pass lets time pass: both clocks see it.
func (c *clocks) pass(d time.Duration) {
	c.passed.Add(int64(d))
	c.advance(d)
}

func (c *clocks) use(n *node.Config) {
	n.Now, n.Monotonic = c.Now, func() time.Duration { return time.Duration(c.passed.Load()) }
}

const aDay = 24 * time.Hour

// ahead returns how far the node says its clock is ahead.
func (r *running) ahead(t testing.TB) time.Duration {
	t.Helper()
	s, err := r.control().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	metric, err := strconv.ParseFloat(r.metric(t, "keyreeve_clock_ahead_seconds"), 64)
	if err != nil || time.Duration(metric)*time.Second != s.ClockAhead {
		t.Errorf("the metric says %v seconds, %v, the status %v", metric, err, s.ClockAhead)
	}
	return s.ClockAhead
}

// condemned makes a key that is destroyed after seven days.
func (r *running) condemned(t testing.TB) string {
	t.Helper()
	id := r.create(t, nil)
	r.must(t, "ScheduleKeyDeletion", object{"KeyId": id, "PendingWindowInDays": 7})
	return id
}

// exists reports whether there is such a key.
func (r *running) exists(t testing.TB, id string) bool {
	t.Helper()
	status, answer, _, err := r.ask("DescribeKey", object{"KeyId": id})
	if err != nil || status != 200 && answer["__type"] != "NotFoundException" {
		t.Fatalf("DescribeKey: %d %v %v", status, answer, err)
	}
	return status == 200
}

// stays makes sure that a key is not destroyed although jobs run.
func (r *running) stays(t testing.TB, why, id string) {
	t.Helper()
	time.Sleep(20 * r.c.DestroyEvery)
	if !r.exists(t, id) {
		t.Fatalf("%s: the key is destroyed", why)
	}
}

// TestClockJumps sets the clock: no key is destroyed before its time has passed.
func TestClockJumps(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	r := run(t, configure(dir, c.use))
	id := r.condemned(t)
	c.advance(50 * time.Minute) // less than an hour is nothing
	if ahead := r.ahead(t); ahead != 0 {
		t.Errorf("50 minutes are %v ahead", ahead)
	}
	c.advance(-50 * time.Minute)

	c.advance(30 * aDay)
	r.stays(t, "after a jump", id)
	if ahead := r.ahead(t); ahead != 30*aDay {
		t.Errorf("the clock is %v ahead, want 30 days", ahead)
	}
	r.must(t, "ListKeys", nil)

	// Neither a restart nor the seal is a way around it.
	r.stop(t)
	r = run(t, configure(dir, c.use))
	r.stays(t, "after a restart", id)
	if err := errors.Join(r.control().Seal(t.Context()), r.control().Unseal(t.Context(), phrase())); err != nil {
		t.Fatal(err)
	}
	r.stays(t, "after unsealing", id)

	// Put right, it is believed again.
	c.advance(-30 * aDay)
	if ahead := r.ahead(t); ahead != 0 {
		t.Errorf("the clock is %v ahead, and right", ahead)
	}
	r.stays(t, "put right", id)
	// It was behind: that is no reason to mistrust it once it is right again.
	c.advance(-20 * 365 * aDay)
	r.stays(t, "behind", id)
	c.advance(20 * 365 * aDay)
	if ahead := r.ahead(t); ahead != 0 {
		t.Errorf("a clock that was behind is %v ahead", ahead)
	}

	// While it is not believed, keys are destroyed by the time that passes.
	c.advance(30 * aDay)
	c.pass(6 * aDay)
	r.stays(t, "after six days", id)
	c.pass(aDay)
	eventually(t, "the key is destroyed after seven days", func() bool { return !r.exists(t, id) })

	// Or by the clock, once the operator says that it is right.
	id = r.condemned(t)
	c.advance(8 * aDay)
	r.stays(t, "after another jump", id)
	if err := r.control().AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ahead := r.ahead(t); ahead != 0 {
		t.Errorf("the clock is accepted, and %v ahead", ahead)
	}
	eventually(t, "the key is destroyed by the accepted clock", func() bool { return !r.exists(t, id) })
	r.stop(t)
	r = run(t, configure(dir, c.use))
	if ahead := r.ahead(t); ahead != 0 {
		t.Errorf("after a restart, the accepted clock is %v ahead", ahead)
	}
	if all := events(t, dir, "AcceptClock"); len(all) != 1 || all[0].Additional["ahead"] != (38*aDay).String() {
		t.Errorf("recorded: %+v", all)
	}
}

// Small steps do not add up to a large one.
func TestClockCreeps(t *testing.T) {
	c := newClocks()
	r := run(t, configure(t.TempDir(), c.use))
	id := r.condemned(t)
	for range 20 {
		c.advance(50 * time.Minute)
		if _, err := r.control().Status(t.Context()); err != nil { // looks at the clock
			t.Fatal(err)
		}
	}
	c.advance(7 * aDay)
	r.stays(t, "after many steps", id)
	if ahead := r.ahead(t); ahead < 7*aDay {
		t.Errorf("the clock is %v ahead", ahead)
	}
}

// A clock that has jumped while the node was down is noticed by the time that
// was stored: also if the node was killed some time before.
func TestClockJumpsWhileDown(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	r := run(t, configure(dir, c.use))
	id := r.condemned(t)
	c.pass(6 * aDay)
	r.stays(t, "after six days", id)
	r.stop(t)
	c.pass(30 * time.Minute) // it is restarted, as happens
	r = run(t, configure(dir, c.use))
	if ahead := r.ahead(t); ahead != 0 {
		t.Errorf("half an hour of rest is %v ahead", ahead)
	}
	r.stop(t)
	c.advance(3 * aDay)
	r = run(t, configure(dir, c.use))
	r.stays(t, "after a jump", id)
	if ahead := r.ahead(t); ahead != 3*aDay {
		t.Errorf("the clock is %v ahead, want three days", ahead)
	}
	c.pass(aDay)
	eventually(t, "the key is destroyed", func() bool { return !r.exists(t, id) })
}

// A clock that once was believed in a time to come, and was put right, cannot
// jump to anywhere before that time.
func TestClockOnceAhead(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	c.advance(365 * aDay)
	r := run(t, configure(dir, c.use))
	r.stop(t)
	c.advance(-365 * aDay)
	r = run(t, configure(dir, c.use))
	// The authority was made in a time to come, and the server's certificate anew.
	r.client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
	id := r.condemned(t)
	c.advance(30 * aDay)
	r.stays(t, "after a jump", id)
	if ahead := r.ahead(t); ahead != 30*aDay {
		t.Errorf("the clock is %v ahead, want 30 days", ahead)
	}
}

// A node that is killed again and again, each time before it would store the
// time, is not down, and its clock is right.
func TestClockInACrashLoop(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	for range 9 {
		var killed atomic.Bool
		r := run(t, configure(dir, c.use, func(n *node.Config) {
			n.WrapStore(func(s store.Store) store.Store { return &mortal{s, &killed} })
		}))
		eventually(t, "the time is stored at the start", func() bool {
			stored, err := r.StoredTime(t.Context())
			return err == nil && stored.Equal(c.Now())
		})
		killed.Store(true)
		c.pass(9 * time.Minute)
		r.stop(t)
	}
	r := run(t, configure(dir, c.use))
	if ahead := r.ahead(t); ahead != 0 {
		t.Errorf("the clock is %v ahead", ahead)
	}
}

// mortal is a store that is written no more once the node counts as killed.
type mortal struct {
	store.Store
	killed *atomic.Bool
}

func (m *mortal) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if m.killed.Load() {
		return 0, false, store.ErrClosed
	}
	return m.Store.Commit(ctx, conds, ops)
}

// A first start that fails is begun again by the next one.
func TestFirstStartFails(t *testing.T) {
	dir := t.TempDir()
	n, err := node.Open(t.Context(), configure(dir, func(c *node.Config) {
		c.WrapStore(func(s store.Store) store.Store { return full{s} })
	}))
	if err == nil {
		_ = n.Close()
		t.Fatal("a node without an account was opened")
	}
	r := run(t, configure(dir))
	r.must(t, "ListKeys", nil)
}

// full is a store without room for accounts.
type full struct{ store.Store }

func (f full) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	for _, op := range ops {
		if strings.HasPrefix(op.Key, "v1/acct/") {
			return 0, false, errors.New("no space left on device")
		}
	}
	return f.Store.Commit(ctx, conds, ops)
}

// TestDomainKeyRotates lets a domain key grow old.
func TestDomainKeyRotates(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	r := run(t, configure(dir, c.use))
	active := func() uint32 {
		s, err := r.control().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.ActiveDomainKey
	}
	c.pass(89 * aDay)
	time.Sleep(20 * r.c.DestroyEvery)
	if id := active(); id != 1 {
		t.Errorf("after 89 days, domain key %d seals", id)
	}
	c.advance(2 * aDay) // by a clock that is not believed, nothing is done
	time.Sleep(20 * r.c.DestroyEvery)
	if id := active(); id != 1 {
		t.Errorf("after a jump, domain key %d seals", id)
	}
	c.advance(-2 * aDay)
	c.pass(aDay)
	eventually(t, "the domain key is rotated", func() bool { return active() == 2 })
	time.Sleep(20 * r.c.DestroyEvery)
	if id := active(); id != 2 {
		t.Errorf("it is rotated once more: domain key %d", id)
	}
	eventually(t, "it is recorded", func() bool {
		all := events(t, dir, "RotateDomainKey")
		return len(all) == 1 && all[0].Additional["domainKey"] == "2" && all[0].UserIdentity.InvokedBy == "AWS Internal"
	})
	r.must(t, "ListKeys", nil)
}

// A domain key that was made, and not recorded before the machine failed, is
// recorded when it starts again, once.
func TestDomainKeyWithoutARecord(t *testing.T) {
	dir, picture, clocks := t.TempDir(), t.TempDir(), newClocks()
	shot := make(chan error, 1)
	r := run(t, configure(dir, clocks.use, func(c *node.Config) {
		c.CompactEvery = 365 * aDay // not while the picture is taken
		c.WrapStore(func(s store.Store) store.Store {
			return &witness{Store: s, before: func(ops []store.Op) {
				if slices.ContainsFunc(ops, func(op store.Op) bool { return op.Key == "v1/sys/rotation" && op.Val == nil }) {
					shot <- copyFiles(picture, dir)
				}
			}}
		})
	}))
	clocks.pass(91 * aDay)
	if err := <-shot; err != nil {
		t.Fatal(err)
	}
	r.stop(t)
	if all := traces(t, picture, "RotateDomainKey"); len(all) != 0 {
		t.Fatalf("the picture was taken too late: %+v", all)
	}
	for _, d := range []string{picture, picture, dir} {
		again := run(t, configure(d, clocks.use))
		eventually(t, "it is recorded", func() bool {
			all := traces(t, d, "RotateDomainKey")
			return len(all) == 1 && all[0].Additional["domainKey"] == "2"
		})
		if s, err := again.control().Status(t.Context()); err != nil || s.ActiveDomainKey != 2 {
			t.Errorf("%+v, %v", s, err)
		}
		again.stop(t)
		if all := traces(t, d, "RotateDomainKey"); len(all) != 1 {
			t.Errorf("%+v", all)
		}
	}
}

// A witness sees what is about to be committed.
type witness struct {
	store.Store
	mu     sync.Mutex // held by each commit, so that a picture is sharp
	before func(ops []store.Op)
}

func (w *witness) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before(ops)
	return w.Store.Commit(ctx, conds, ops)
}

// event is an audit record of what is no call.
type event struct {
	EventSource, EventName, EventType, ErrorCode, ErrorMessage, RecipientAccountID string
	UserIdentity                                                                   struct{ AccountID, InvokedBy string }
	Additional                                                                     map[string]string `json:"additionalEventData"`
}

// events returns the records with that name of the node whose data is in
// dir/data: those of successes first.
func events(t testing.TB, dir, name string) (all []event) {
	t.Helper()
	for _, line := range recorded(t, filepath.Join(dir, "data")) {
		if !strings.Contains(line, `"eventName":"`+name+`"`) {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	// The archive keeps no order within a minute.
	slices.SortStableFunc(all, func(a, b event) int { return strings.Compare(a.ErrorMessage, b.ErrorMessage) })
	return all
}

// TestOperatorIsOnRecord does all that the control socket can do.
func TestOperatorIsOnRecord(t *testing.T) {
	dir := t.TempDir()
	seed := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(seed, []byte(`
version: 1
accounts:
  - {id: "111122223333", management: true}
keys:
  - {account: "111122223333", region: eu-central-1, id: 1234abcd-12ab-34cd-56ef-1234567890ab}
  - {account: "111122223333", region: eu-central-1, id: 1234abcd-12ab-34cd-56ef-1234567890ac}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(c *node.Config) {
		withPassphrase(c)
		c.Passphrase, c.Seed = phrase(), seed
	}
	r := run(t, configure(dir, set))
	c := r.control()
	if _, err := c.Environment(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Environment(t.Context()); err == nil {
		t.Error("a sealed node hands out a secret")
	}
	wrong := phrase()
	wrong.Reveal()[0] ^= 1
	if err := c.Unseal(t.Context(), wrong); err == nil {
		t.Error("unsealed with a wrong passphrase")
	}
	if err := c.AcceptClock(t.Context()); err == nil {
		t.Error("a sealed node accepts a clock")
	}
	if err := c.Unseal(t.Context(), phrase()); err != nil {
		t.Fatal(err)
	}
	r.stop(t)
	run(t, configure(dir, set)).stop(t) // the seed makes nothing more

	for name, want := range map[string][]string{ // the error messages
		"ReadAdministratorAccessKey": {"", "sealed"},
		"SealNode":                   {""},
		"UnsealNode":                 {"", "not the root key"},
		"AcceptClock":                {"sealed"},
	} {
		all := events(t, dir, name)
		if len(all) != len(want) {
			t.Errorf("%s: recorded %+v, want %q", name, all, want)
			continue
		}
		for i, e := range all {
			if !strings.Contains(e.ErrorMessage, want[i]) || (e.ErrorCode == "") != (want[i] == "") ||
				e.EventSource != "keyreeve.internal" || e.EventType != "AwsServiceEvent" || e.UserIdentity.InvokedBy != "control socket" ||
				e.RecipientAccountID != "111122223333" || e.Additional["uid"] != strconv.Itoa(os.Geteuid()) || e.Additional["pid"] == "" {
				t.Errorf("%s: recorded %+v, want %q", name, e, want[i])
			}
		}
	}
	if all := events(t, dir, "ReadAdministratorAccessKey"); len(all) == 2 && all[0].Additional["accessKeyId"] != r.creds.AccessKeyID {
		t.Errorf("recorded %+v", all[0])
	}
	if all := events(t, dir, "ApplySeed"); len(all) != 1 || all[0].Additional["keys"] != "2" || all[0].UserIdentity.InvokedBy != "AWS Internal" {
		t.Errorf("recorded %+v", all)
	}
}

// TestRollbackIsAcceptedOnce: the operator has accepted the store as it was when
// the node was started, and no other.
func TestRollbackIsAcceptedOnce(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir, func(c *node.Config) { c.AcceptRollback = true }))
	if err := r.control().Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.c.Seal.Mark); err != nil {
		t.Fatal(err)
	}
	if err := r.control().Unseal(t.Context(), phrase()); err == nil || !strings.Contains(err.Error(), record.ErrRolledBack.Error()) {
		t.Errorf("Unseal without a mark: %v, want a refusal", err)
	}
	if !r.Sealed() {
		t.Error("the node is unsealed")
	}
	if all := events(t, dir, "AcceptRollback"); len(all) != 0 {
		t.Errorf("recorded %+v", all)
	}
}

// stuck is a store whose disk dies: whoever asks waits.
type stuck struct {
	store.Store
	dead atomic.Bool
	free chan struct{}
}

func (s *stuck) wait() {
	if s.dead.Load() {
		<-s.free
	}
}

func (s *stuck) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	s.wait()
	return s.Store.Get(ctx, key)
}

func (s *stuck) Range(ctx context.Context, from, to string, limit int) ([]store.KV, store.Rev, error) {
	s.wait()
	return s.Store.Range(ctx, from, to, limit)
}

func (s *stuck) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	s.wait()
	return s.Store.Commit(ctx, conds, ops)
}

func (s *stuck) Head(ctx context.Context) (store.Rev, error) {
	s.wait()
	return s.Store.Head(ctx)
}

// TestSealOnADeadDisk seals a node in an emergency: the keys are gone soon,
// whatever hangs.
func TestSealOnADeadDisk(t *testing.T) {
	data := &stuck{free: make(chan struct{})}
	r := run(t, configure(t.TempDir(), func(c *node.Config) {
		c.WrapStore(func(s store.Store) store.Store {
			data.Store = s
			return data
		})
	}))
	id := r.create(t, nil)
	r.must(t, "Encrypt", object{"KeyId": id, "Plaintext": "aGVsbG8="})
	data.dead.Store(true)
	free := sync.OnceFunc(func() {
		data.dead.Store(false)
		close(data.free)
	})
	defer free()
	sealed := make(chan error, 1)
	go func() { sealed <- r.control().Seal(t.Context()) }()
	eventually(t, "all key material is gone", func() bool { return r.metric(t, "keyreeve_memory_slots_used") == "0" })
	select {
	case err := <-sealed:
		t.Errorf("sealed, although what was open can't be closed: %v", err)
	default:
	}
	free()
	if err := <-sealed; err != nil && !strings.Contains(err.Error(), "seal: sealed") { // the mark could not be written any more
		t.Error(err)
	}
	if err := r.control().Unseal(t.Context(), phrase()); err != nil {
		t.Errorf("Unseal once the disk is back: %v", err)
	}
	r.must(t, "ListKeys", nil)
}

// broken is a store that can't go on.
type broken struct {
	store.Store
	err atomic.Pointer[error]
}

func (b *broken) Err() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

func TestNotReadyWithABrokenStore(t *testing.T) {
	data := new(broken)
	r := run(t, configure(t.TempDir(), func(c *node.Config) {
		c.WrapStore(func(s store.Store) store.Store {
			data.Store = s
			return data
		})
	}))
	r.private(t, "/readyz", 200)
	problem := errors.New("a sync has failed")
	data.err.Store(&problem)
	if text := r.private(t, "/readyz", 503); !strings.Contains(text, problem.Error()) {
		t.Errorf("/readyz says %q", text)
	}
}

// TestReadyFileIsNotLedElsewhere: where others may write, links lie in wait.
func TestReadyFileIsNotLedElsewhere(t *testing.T) {
	dir := t.TempDir()
	ready, victim := filepath.Join(dir, "ready.json"), filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{ready, ready + ".next"} {
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
	}
	run(t, configure(dir, func(c *node.Config) { c.ReadyFile = ready }))
	eventually(t, "the ready file is there", func() bool {
		info, err := os.Lstat(ready)
		return err == nil && info.Mode() == 0o644
	})
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
		t.Errorf("the file that a link led to has %q, %v", text, err)
	}
}
