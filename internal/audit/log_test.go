package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

func openLog(t testing.TB, dir string, o audit.Options, d *audit.Faults) *audit.Log {
	t.Helper()
	if d == nil {
		d = &audit.Faults{}
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = time.Hour // turns are taken with Flush
	}
	l, err := audit.OpenOn(dir, o, d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// numbered returns a call with the request id n.
func numbered(n int, o *call.Operation) *call.Call {
	c := newCall()
	c.ID, c.Operation = strconv.Itoa(n), o
	return c
}

// ids returns the request ids of the records in dir, in order, and checks that
// every line is a record.
func ids(t testing.TB, dir string) []string {
	t.Helper()
	var got []string
	for line, err := range audit.Read(dir) {
		if err != nil {
			t.Error(err)
			continue
		}
		var r struct{ RequestID string }
		if err := json.Unmarshal(line, &r); err != nil {
			t.Error(err)
		}
		got = append(got, r.RequestID)
	}
	return got
}

func wantIDs(t testing.TB, dir string, want ...string) {
	t.Helper()
	if got := ids(t, dir); !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
}

func segments(t testing.TB, dir string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

func TestAppendIsVisibleAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := openLog(t, dir, audit.Options{}, nil)
	for i, o := range []*call.Operation{decrypt, createKey, nil} {
		if err := l.Append(numbered(i, o)); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, dir); len(got) != i+1 {
			t.Fatalf("%d records after %d", len(got), i+1)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, dir, "0", "1", "2")
	if err := l.Append(newCall()); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("Append after Close: %v", err)
	}
	if err := l.Close(); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, filepath.Join(dir, "2026-11-21-000001.jsonl"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestMemory(t *testing.T) {
	l, err := audit.Open("", audit.Options{Memory: 3})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range 5 {
		if err := l.Append(numbered(i, decrypt)); err != nil {
			t.Fatal(err)
		}
	}
	for line := range l.Records() {
		_, rest, _ := strings.Cut(string(line), `"requestID":"`)
		got = append(got, rest[:1])
	}
	if !slices.Equal(got, []string{"2", "3", "4"}) || l.Err() != nil {
		t.Errorf("records %q, Err %v", got, l.Err())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Append(newCall()); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("Append after Close: %v", err)
	}
}

func TestConcurrentAppends(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync %t", sync), func(t *testing.T) {
			dir := t.TempDir()
			l := openLog(t, dir, audit.Options{Sync: sync, SegmentSize: 20_000, FlushEvery: time.Millisecond}, nil)
			concurrently(16, func(worker int) {
				for i := range 100 {
					operation := decrypt
					if i%10 == 0 {
						operation = createKey
					}
					if err := l.Append(numbered(worker*100+i, operation)); err != nil {
						t.Error(err)
					}
				}
			})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			got := ids(t, dir)
			last := make([]int, 16)
			for _, id := range got { // each worker's records are in its order
				n, _ := strconv.Atoi(id)
				if worker := n / 100; n%100 != last[worker] {
					t.Fatalf("worker %d: record %d after %d", worker, n%100, last[worker]-1)
				} else {
					last[worker]++
				}
			}
			if len(got) != 1600 || len(segments(t, dir)) < 10 {
				t.Errorf("%d records in %d segments", len(got), len(segments(t, dir)))
			}
		})
	}
}

func concurrently(n int, f func(worker int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{SegmentSize: 2500}, nil) // two records
	next := 0
	day := func(d time.Duration) {
		c := numbered(next, decrypt)
		c.Time = c.Time.Add(d)
		if err := l.Append(c); err != nil {
			t.Fatal(err)
		}
		next++
	}
	day(0)
	day(0)
	day(0)              // does not fit
	day(24 * time.Hour) // next day
	day(0)              // the clock was put back: stays, for the order of names is that of records
	day(0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir, audit.Options{}, nil)
	day(24 * time.Hour)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range segments(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s: %d", name, strings.Count(string(text), "requestID")))
	}
	want := []string{"2026-11-21-000001.jsonl: 2", "2026-11-21-000002.jsonl: 1", "2026-11-22-000001.jsonl: 2", "2026-11-22-000002.jsonl: 1", "2026-11-22-000003.jsonl: 1"}
	if !slices.Equal(got, want) {
		t.Errorf("segments %q, want %q", got, want)
	}
	wantIDs(t, dir, "0", "1", "2", "3", "4", "5", "6")
}

func TestSegmentOrder(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"2026-11-21-999999", "2026-11-21-1000000", "2026-11-22-000001"} {
		text := fmt.Appendf(audit.Header(name+".jsonl"), `{"requestID":"%d"}`+"\n%s", i, audit.Closing())
		if err := os.WriteFile(filepath.Join(dir, name+".jsonl"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"2026-11-21-0000001.jsonl", "2026-13-21-000001.jsonl", "x.jsonl", "2026-11-21-00000a.jsonl", "2026-11-21-000001.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("not ours"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantIDs(t, dir, "0", "1", "2")
}

func TestRecovery(t *testing.T) {
	const name = "2026-11-21-000007.jsonl"
	whole := `{"requestID":"a"}` + "\n" + audit.Closing()
	header := string(audit.Header(name))
	foreign := `{"requestID":"b"}` + "\n" + `{"requestID":"c`
	tests := []struct{ name, found, want string }{
		{"empty", "", ""},
		{"half a header", header[:50], ""},
		{"a header that was not closed", header[:strings.IndexByte(header, '\n')+1], ""},
		{"nothing but the header", header, header},
		{"whole", header + whole + whole, header + whole + whole},
		{"torn", header + whole + `{"requestID":"b`, header + whole},
		{"not closed", header + whole + `{"requestID":"b"}` + "\n", header + whole},
		{"torn in the closing line", header + whole + whole[:len(whole)-1], header + whole},
		{"zeros after a power failure", header + whole + strings.Repeat("\x00", 100_000), header + whole},
		{"zeros alone", strings.Repeat("\x00", 4096), ""},
		{"longer than a block", header + whole + `{"` + strings.Repeat("x", 200_000), header + whole},
		{"not ours", foreign, foreign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(tt.found), 0o600); err != nil {
				t.Fatal(err)
			}
			l := openLog(t, dir, audit.Options{}, nil)
			got, err := os.ReadFile(path)
			if string(got) != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("after Open: %.100q, %v, want %.100q", got, err, tt.want)
			}
			if err := l.Append(numbered(1, createKey)); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if again, _ := os.ReadFile(path); string(again) != string(got) {
				t.Errorf("a segment of another process was written to: %q", again)
			}
			if tt.want != foreign {
				wantIDs(t, dir, append(slices.Repeat([]string{"a"}, strings.Count(tt.want, "requestID")), "1")...)
			}
		})
	}
}

func TestReadReportsWhatIsNoRecord(t *testing.T) {
	dir := t.TempDir()
	const name = "2026-11-21-000001.jsonl"
	text := string(audit.Header(name)) + "{\"requestID\":\"1\"}\nnonsense\n[]\n\n{\"requestID\":\"2\"}\n" + `{"requestID":"` + strings.Repeat("3", 200_000) + "\"}\n" +
		strings.Repeat("4", 300_000) + "\n" + audit.Closing() + "{\"torn"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var good, bad int
	for line, err := range audit.Read(dir) {
		if err != nil {
			bad++
		} else if good++; !json.Valid(line) {
			t.Errorf("%.100q", line)
		}
	}
	if good != 3 || bad != 4 {
		t.Errorf("%d records and %d errors, want 3 and 4", good, bad)
	}
	for range audit.Read(dir) {
		break // must not panic
	}
	for _, err := range audit.Read(filepath.Join(dir, "missing")) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("missing directory: %v", err)
		}
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{}, nil)
	if _, err := audit.Open(dir, audit.Options{}); !errors.Is(err, audit.ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	openLog(t, dir, audit.Options{}, nil).Close()
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(file, audit.Options{}); err == nil {
		t.Error("no error for a file")
	}
	if _, err := audit.Open(filepath.Join(file, "dir"), audit.Options{}); err == nil {
		t.Error("no error below a file")
	}
}

// A disk that is full takes part of a record; nothing of it stays, calls are
// refused until there is space, and then their records are written too.
func TestFullDisk(t *testing.T) {
	for _, part := range []int{0, 1, 100, 10_000} {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			dir, d := t.TempDir(), &audit.Faults{}
			l := openLog(t, dir, audit.Options{}, d)
			if err := l.Append(numbered(1, decrypt)); err != nil {
				t.Fatal(err)
			}
			d.Set(func(d *audit.Faults) {
				d.Write = func(p []byte) (int, error) { return min(part, len(p)-1), syscall.ENOSPC }
			})
			for n := 2; n <= 3; n++ {
				if err := l.Append(numbered(n, createKey)); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("Append on a full disk: %v", err)
				}
				if err := l.Err(); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("Err on a full disk: %v", err)
				}
				text, _ := os.ReadFile(filepath.Join(dir, "2026-11-21-000001.jsonl"))
				if strings.Count(string(text), "requestID") != 1 || !strings.HasSuffix(string(text), "\n") {
					t.Errorf("torn record: %q", text)
				}
				l.Flush() // still full
			}
			d.Set(func(d *audit.Faults) { d.Write = nil })
			l.Flush()
			if err := l.Err(); err != nil {
				t.Errorf("Err after recovery: %v", err)
			}
			if err := l.Append(numbered(4, createKey)); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			wantIDs(t, dir, "1", "2", "3", "4")
			if got := len(segments(t, dir)); got != 1 {
				t.Errorf("%d segments", got)
			}
		})
	}
}

// A short write without an error is one all the same.
func TestShortWrite(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{Write: func(p []byte) (int, error) { return 7, nil }}
	l := openLog(t, dir, audit.Options{}, d)
	if err := l.Append(numbered(1, decrypt)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Append: %v", err)
	}
	if err := l.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Close with a record that could not be written: %v", err)
	}
	wantIDs(t, dir)
}

// The torn rest cannot be removed: the segment is left, readers skip the rest.
func TestTornAndNotRemovable(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{}
	l := openLog(t, dir, audit.Options{}, d)
	if err := l.Append(numbered(1, decrypt)); err != nil {
		t.Fatal(err)
	}
	fail := func() error { return syscall.EIO }
	d.Set(func(d *audit.Faults) {
		d.Write, d.Truncate, d.Create = func(p []byte) (int, error) { return 100, syscall.EIO }, fail, fail
	})
	if err := l.Append(numbered(2, decrypt)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Append: %v", err)
	}
	l.Flush()
	if l.Err() == nil {
		t.Error("no error while no segment can be begun")
	}
	d.Set(func(d *audit.Faults) { d.Write, d.Create = nil, nil })
	l.Flush()
	if err := l.Append(numbered(3, decrypt)); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wantIDs(t, dir, "1", "2", "3")
	if got := len(segments(t, dir)); got != 2 {
		t.Errorf("%d segments", got)
	}
}

// After a failed fsync the next may lie, so the segment is left, and whoever
// waited gets an error. Records that wait for no fsync are not refused for it
// before it happens.
func TestFailedSync(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{}
	l := openLog(t, dir, audit.Options{}, d)
	var fails atomic.Int32
	fails.Store(1)
	d.Set(func(d *audit.Faults) {
		d.Sync = func() error {
			if fails.Add(-1) >= 0 {
				return syscall.EIO
			}
			return nil
		}
	})
	if err := l.Append(numbered(1, decrypt)); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(numbered(2, createKey)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Append: %v", err)
	}
	if err := l.Append(numbered(3, decrypt)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Append after the failed fsync: %v", err)
	}
	fails.Store(2) // of the old segment and the new one
	l.Flush()
	if err := l.Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Err while fsync fails: %v", err)
	}
	l.Flush()
	if err := l.Err(); err != nil {
		t.Errorf("Err after recovery: %v", err)
	}
	if err := l.Append(numbered(4, createKey)); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	got := ids(t, dir)
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("records %q", got)
	}
}

// The flusher meets the failed fsync.
func TestFailedSyncInTheBackground(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{}
	l := openLog(t, dir, audit.Options{}, d)
	if err := l.Append(numbered(1, decrypt)); err != nil {
		t.Fatal(err)
	}
	d.Set(func(d *audit.Faults) { d.Sync = func() error { return syscall.EIO } })
	l.Flush()
	if err := l.Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Err: %v", err)
	}
	d.Set(func(d *audit.Faults) { d.Sync = nil })
	l.Flush()
	if err := errors.Join(l.Append(numbered(2, decrypt)), l.Close()); err != nil {
		t.Error(err)
	}
	wantIDs(t, dir, "1", "2")
	if got := len(segments(t, dir)); got != 2 {
		t.Errorf("%d segments: the one whose fsync failed was used again", got)
	}
}

// A segment that is finished while somebody waits for its fsync was synced by
// the one who finished it; what the fsync of a closed file says does not count.
func TestRotationDuringSync(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{}
	l := openLog(t, dir, audit.Options{}, d)
	if err := l.Append(numbered(1, decrypt)); err != nil {
		t.Fatal(err)
	}
	begun, release := make(chan bool), make(chan bool)
	var calls atomic.Int32
	d.Set(func(d *audit.Faults) {
		d.Sync = func() error {
			if calls.Add(1) > 1 {
				return nil
			}
			begun <- true
			<-release
			return os.ErrClosed
		}
	})
	change := make(chan error)
	go func() { change <- l.Append(numbered(2, createKey)) }()
	<-begun
	tomorrow := numbered(3, decrypt)
	tomorrow.Time = tomorrow.Time.Add(24 * time.Hour)
	if err := l.Append(tomorrow); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := errors.Join(<-change, l.Err(), l.Close()); err != nil {
		t.Error(err)
	}
	wantIDs(t, dir, "1", "2", "3")
}

// Under load on a disk that fails now and then: what Append acknowledged is
// there once at least, what is there is whole, and in the end the log works.
func TestFaultsUnderLoad(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{}
	var step atomic.Int64
	now := func(every int64) bool { return step.Add(1)%every == 0 }
	d.Write = func(p []byte) (int, error) {
		if now(23) {
			return len(p) / 2, syscall.ENOSPC
		}
		return len(p), nil
	}
	d.Sync = func() error {
		if now(31) {
			return syscall.EIO
		}
		return nil
	}
	d.Truncate = func() error {
		if now(3) {
			return syscall.EIO
		}
		return nil
	}
	d.Create = func() error {
		if now(5) {
			return syscall.ENOSPC
		}
		return nil
	}
	l := openLog(t, dir, audit.Options{SegmentSize: 50_000, FlushEvery: time.Millisecond}, d)
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var refused int
	concurrently(8, func(worker int) {
		for i := range 500 {
			operation := decrypt
			if i%4 == 0 {
				operation = createKey
			}
			c := numbered(worker*1000+i, operation)
			err := l.Append(c)
			mu.Lock()
			if err == nil {
				acknowledged[c.ID] = true
			} else {
				refused++
				time.Sleep(time.Microsecond)
			}
			mu.Unlock()
		}
	})
	d.Set(func(d *audit.Faults) { d.Write, d.Sync, d.Truncate, d.Create = nil, nil, nil, nil })
	l.Flush()
	if err := errors.Join(l.Err(), l.Append(numbered(9999, createKey)), l.Close()); err != nil {
		t.Error(err)
	}
	there := map[string]bool{}
	for _, id := range ids(t, dir) {
		there[id] = true
	}
	for id := range acknowledged {
		if !there[id] {
			t.Fatalf("record %s was acknowledged and is missing", id)
		}
	}
	if len(acknowledged) == 0 || refused == 0 || !there["9999"] {
		t.Errorf("%d acknowledged, %d refused: the test tests nothing", len(acknowledged), refused)
	}
}

func TestReserve(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	d := &audit.Faults{Free: free.Load}
	l := openLog(t, t.TempDir(), audit.Options{Reserve: 16_000}, d)
	if err := errors.Join(l.Err(), l.Append(newCall())); err != nil {
		t.Fatal(err)
	}
	free.Store(10_000)
	if err := l.Append(newCall()); err != nil { // more than a sixteenth of the reserve since: looks
		t.Fatal(err)
	}
	if err := l.Err(); !errors.Is(err, audit.ErrReserve) {
		t.Errorf("Err with little space: %v", err)
	}
	if err := l.Append(newCall()); err != nil {
		t.Errorf("Append with little space: %v", err)
	}
	for _, c := range []struct {
		free int64
		want error
	}{{4_000, audit.ErrReserve}, {3_999, audit.ErrLast}, {4_000, audit.ErrReserve}, {16_000, nil}, {0, audit.ErrLast}} {
		free.Store(c.free)
		l.Flush()
		if err := l.Err(); !errors.Is(err, c.want) {
			t.Errorf("Err with %d bytes: %v, want %v", c.free, err, c.want)
		}
		if err := l.Append(newCall()); err != nil {
			t.Errorf("Append with %d bytes: %v", c.free, err)
		}
	}
	free.Store(1 << 30)
	l.Flush()
	if err := errors.Join(l.Err(), l.Close()); err != nil {
		t.Error(err)
	}

	free.Store(0)
	l = openLog(t, t.TempDir(), audit.Options{Reserve: -1}, d)
	if err := errors.Join(l.Append(newCall()), l.Err(), l.Close()); err != nil {
		t.Errorf("without a reserve: %v", err)
	}
}

// Only records that must be durable wait for an fsync.
func TestWhoWaitsForTheDisk(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{}
	l := openLog(t, dir, audit.Options{}, d)
	if err := l.Append(numbered(1, decrypt)); err != nil {
		t.Fatal(err)
	}
	begun, release := make(chan bool, 16), make(chan bool)
	d.Set(func(d *audit.Faults) {
		d.Sync = func() error {
			begun <- true
			<-release
			return nil
		}
	})
	change := make(chan error)
	go func() { change <- l.Append(numbered(2, createKey)) }()
	<-begun
	if err := l.Append(numbered(3, decrypt)); err != nil { // while the fsync runs
		t.Fatal(err)
	}
	select {
	case <-change:
		t.Error("a change did not wait for the disk")
	default:
	}
	close(release)
	if err := <-change; err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wantIDs(t, dir, "1", "2", "3")
}
