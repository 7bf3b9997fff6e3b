//go:build unix

package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
)

// ctx is that of a child, which ends by being killed.
var ctx = context.Background()

// The test binary runs itself again as a child that may be killed or limited.
const childEnv = "BOLTSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	role, path, _ := strings.Cut(os.Getenv(childEnv), ":")
	switch role {
	case "":
		os.Exit(m.Run())
	case "commits":
		childCommits(path)
	case "fills":
		if err := childFills(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+role+":"+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// childCommits commits until it is killed, and prints each key, with its
// revision, once it is acknowledged.
func childCommits(path string) {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		for {
			if err := s.Compact(ctx, time.Now()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}()
	var mu sync.Mutex
	prefix := fmt.Sprintf("%d-%d", os.Getpid(), rand.Int64())
	for w := range 16 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%s/%d/%d", prefix, w, i)
				rev, ok, err := s.Commit(ctx, []store.Cond{{Key: key}}, []store.Op{
					{Key: key, Val: []byte(key)}, {Key: "twin/" + key, Val: []byte(key)},
				})
				if err != nil || !ok {
					fmt.Fprintln(os.Stderr, ok, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Printf("%s %d\n", key, rev)
				mu.Unlock()
			}
		}()
	}
	select {}
}

// TestKill: a process killed at any moment leaves a store that opens, with
// everything that it acknowledged, and nothing half done.
func TestKill(t *testing.T) {
	path := newPath(t)
	acked := map[string]store.Rev{}
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		cmd := child(t, "commits", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan []string)
		began := make(chan struct{})
		go func() {
			var got []string
			r := bufio.NewReader(out)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					break // a cut line was not acknowledged in full
				}
				if got = append(got, line); len(got) == 1 {
					close(began)
				}
			}
			lines <- got
		}()
		select {
		case <-began:
		case <-time.After(time.Minute):
			t.Fatal("the child does not begin")
		}
		time.Sleep(time.Duration(10+rand.IntN(300)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		got := <-lines
		_ = cmd.Wait()
		for _, line := range got {
			var key string
			var rev store.Rev
			if _, err := fmt.Sscanf(line, "%s %d", &key, &rev); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			acked[key] = rev
		}
		s := open(t, path)
		missing := 0
		for key, rev := range acked {
			if kv := get(t, s, key); kv.Rev != rev || string(kv.Val) != key {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("round %d: %d of %d acknowledged commits are missing", round, missing, len(acked))
		}
		checkTwins(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d acknowledged, 0 missing", round, len(acked))
	}
}

// checkTwins checks that both halves of each commit are there, and that
// revisions have no gaps.
func checkTwins(t *testing.T, s store.Store) {
	t.Helper()
	pairs, from := 0, ""
	var head store.Rev
	revs := map[string]store.Rev{}
	for {
		kvs, h, err := s.Range(t.Context(), from, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		head = h
		if len(kvs) == 0 {
			break
		}
		for _, kv := range kvs {
			pairs++
			plain := strings.TrimPrefix(kv.Key, "twin/")
			if r, ok := revs[plain]; ok && r != kv.Rev {
				t.Errorf("%s is torn: %d and %d", plain, r, kv.Rev)
			}
			revs[plain] = kv.Rev
		}
		from = kvs[len(kvs)-1].Key + "\x00"
	}
	if pairs != 2*len(revs) || int(head) != len(revs) {
		t.Errorf("%d pairs of %d commits at revision %d", pairs, len(revs), head)
	}
}

// TestFull: on a full disk commits fail, nothing else does, and once there is
// room again they go on. The child is given its limits by the kernel.
func TestFull(t *testing.T) {
	out, err := child(t, "fills", filepath.Join(t.TempDir(), "store.db")).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

func childFills(path string) error {
	// Over the limit, writes are to fail with EFBIG and not with a signal.
	signal.Ignore(syscall.SIGXFSZ)
	var unlimited syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		return err
	}
	limit := func(bytes uint64) error {
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: unlimited.Max})
	}
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	acked, failed := map[string]store.Rev{}, map[string]error{}
	fill := func(round, each int) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range each {
					key := fmt.Sprintf("r%d/%d/%d", round, w, i)
					rev, ok, err := s.Commit(ctx, []store.Cond{{Key: key}}, []store.Op{{Key: key, Val: make([]byte, 100_000)}})
					mu.Lock()
					if err == nil && ok {
						acked[key] = rev
					} else {
						failed[key] = err
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}
	check := func() error {
		var newest store.Rev
		for key, rev := range acked {
			kv, _, err := s.Get(ctx, key)
			if err != nil || kv.Rev != rev || len(kv.Val) != 100_000 {
				return fmt.Errorf("%s: at %d, %w; want %d", key, kv.Rev, err, rev)
			}
			newest = max(newest, rev)
		}
		for key := range failed {
			if kv, _, err := s.Get(ctx, key); err != nil || kv.Rev != 0 {
				return fmt.Errorf("%s failed and is there at %d, %w", key, kv.Rev, err)
			}
		}
		if head, err := s.Head(ctx); err != nil || head != newest {
			return fmt.Errorf("head %d, %w, want %d", head, err, newest)
		}
		return s.Snapshot(ctx, io.Discard)
	}
	for round, c := range []struct {
		limit uint64
		each  int
		fails bool
	}{
		{unlimited.Cur, 10, false},
		{20 << 20, 30, true}, // the file cannot grow
		{16 << 10, 5, true},  // pages within the file cannot be written, but for the first
		{unlimited.Cur, 10, false},
	} {
		if err := limit(c.limit); err != nil {
			return err
		}
		before := len(failed)
		fill(round, c.each)
		if got := len(failed) - before; (got > 0) != c.fails {
			return fmt.Errorf("round %d: %d commits failed", round, got)
		}
		if err := check(); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	for key, err := range failed {
		if err == nil || errors.Is(err, boltstore.ErrFailed) {
			return fmt.Errorf("%s failed with: %w", key, err)
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = boltstore.Open(path, boltstore.Options{}); err != nil {
		return err
	}
	if err := check(); err != nil {
		return fmt.Errorf("after reopening: %w", err)
	}
	fmt.Printf("%d commits acknowledged, %d failed", len(acked), len(failed))
	return s.Close()
}
