//go:build rig && linux

package rig_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// inNamespace is set in the environment of a test that runs in a namespace of
// its own, where it may mount.
const inNamespace = "KEYREEVE_RIG_NAMESPACE"

// mayMount makes sure that the test may mount file systems: if it may not as it
// is, it runs itself in a namespace of its own, and returns false. Where that is
// not to be had either, the test is skipped, and on CI it fails.
func mayMount(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err == nil {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("unshare", "--user", "--map-root-user", "--mount", "true").Run(); err != nil {
		text := "no file system can be mounted here, neither as this user nor in a namespace: what happens on a full disk is not tested"
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %v", text, err)
		}
		t.Skipf("%s: %v", text, err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount",
		self, "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("in a namespace of its own:\n%s", out)
	if err != nil {
		t.Errorf("in a namespace of its own: %v", err)
	}
	return false
}

// A volume is a small file system.
type volume struct{ dir, filler string }

// mount mounts a small file system at a directory, which it makes.
func mount(t *testing.T, dir string, size int64) *volume {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &volume{dir: dir, filler: filepath.Join(dir, "filler")}
}

// fill leaves at most so many bytes free.
func (v *volume) fill(t *testing.T, leave int64) {
	t.Helper()
	f, err := os.OpenFile(v.filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(v.dir, &s); err != nil {
			t.Fatal(err)
		}
		n := int64(s.Bavail)*s.Bsize - leave
		if n <= 0 {
			return
		}
		if _, err := f.Write(block[:min(n, int64(len(block)))]); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func (v *volume) empty(t *testing.T) {
	t.Helper()
	if err := os.Remove(v.filler); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk fills the disk below a server that works: at first so far that
// the reserve is begun, then wholly. Whatever is answered is on record, and so is
// whatever is changed; what makes things safer goes on as long as it can; and
// when there is space again, all goes on by itself.
func TestFullDisk(t *testing.T) {
	if !mayMount(t) {
		return
	}
	for name, below := range map[string]string{"of the whole data directory": "", "of the audit records alone": "audit"} {
		t.Run(name, func(t *testing.T) { fullDisk(t, below) })
	}
}

func fullDisk(t *testing.T, below string) {
	in := install(t)
	bob := in.peopled(t)
	if err := os.Mkdir(in.data, 0o700); err != nil {
		t.Fatal(err)
	}
	v := mount(t, filepath.Join(in.data, below), 192<<20)
	s := in.start(t)
	share(t, s, bob)
	newKey := func() string { return s.must(t, "CreateKey", object{}).obj("KeyMetadata").str("KeyId") }
	key, switched, doomed := newKey(), newKey(), newKey()
	grant := s.must(t, "CreateGrant", object{
		"KeyId": key, "GranteePrincipal": "arn:aws:iam::" + rigAccount + ":root", "Operations": []string{"Decrypt"},
	}).str("GrantId")

	// Load: some read, one changes, all the time, whatever is answered.
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer func() { stop(); working.Wait() }()
	readers := make([]*reader, 4)
	for i := range readers {
		rd := &reader{r: rand.New(rand.NewPCG(1, uint64(i))), own: key}
		readers[i] = rd
		working.Go(func() {
			for ctx.Err() == nil {
				if _, err := rd.read(ctx, s); err != nil && !refused(err) && ctx.Err() == nil {
					t.Errorf("a call was answered %v", err)
					return
				}
			}
		})
	}
	working.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			alias := func(n int) string { return fmt.Sprintf("alias/full-%d", n) }
			_, err := s.call(ctx, "CreateAlias", object{"AliasName": alias(n), "TargetKeyId": key})
			if err == nil && n > 0 {
				// The one before, if it is there: a key has so many aliases.
				var f *fault
				if _, err = s.call(ctx, "DeleteAlias", object{"AliasName": alias(n - 1)}); errors.As(err, &f) && f.Code == "NotFoundException" {
					err = nil
				}
			}
			if err != nil && !refused(err) && ctx.Err() == nil {
				t.Errorf("a change was answered %v", err)
				return
			}
		}
	})
	encrypt := func() error {
		_, err := s.call(t.Context(), "Encrypt", object{"KeyId": key, "Plaintext": "cGxhaW50ZXh0"})
		return err
	}

	// The reserve, of 64 MiB, is begun.
	v.fill(t, 48<<20)
	until(t, in, "calls are refused while there is but the reserve", func() bool { return refused(encrypt()) })
	if code := s.private(t, "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("with but the reserve, /readyz answers %d", code)
	}
	s.must(t, "RevokeGrant", object{"KeyId": key, "GrantId": grant})
	s.must(t, "ScheduleKeyDeletion", object{"KeyId": doomed, "PendingWindowInDays": 7})
	if out, err := s.keyreeve(t, in, "audit", "tail", "--no-follow", "-n", "1"); err != nil || out == "" {
		t.Errorf("the operator can't look at the trail: %v\n%s", err, out)
	}

	// Nothing at all is left.
	v.fill(t, 0)
	until(t, in, "all calls are refused on a full disk", func() bool {
		_, err := s.call(t.Context(), "DisableKey", object{"KeyId": switched})
		return refused(err)
	})

	// There is space again.
	v.empty(t)
	until(t, in, "calls are answered again", func() bool {
		_, err := s.call(t.Context(), "EnableKey", object{"KeyId": switched})
		return err == nil
	})
	until(t, in, "calls are answered again", func() bool { return encrypt() == nil })
	until(t, in, "the node is ready again", func() bool { return s.private(t, "/readyz") == http.StatusOK })
	stop()
	working.Wait()

	var standing []string
	for _, a := range s.pages(t, "ListAliases", "Aliases", object{"KeyId": key, "Limit": 100}) {
		standing = append(standing, a.str("AliasName"))
	}
	s.verified(t, in)
	s.stop(t)
	s = in.start(t)
	in.delivered(t)
	s.verified(t, in)
	s.stop(t)

	calls := s.answered
	for _, rd := range readers {
		calls = append(calls, rd.completed...)
	}
	all := in.trail(t)
	for _, problem := range all.missing(calls) {
		t.Error(problem)
	}
	made := make(map[string]bool)
	for _, entries := range all.of {
		for _, e := range entries {
			if e.Name == "CreateAlias" && e.ErrorCode == "" {
				made[e.Parameters.str("aliasName")] = true
			}
		}
	}
	for _, name := range standing {
		if !made[name] {
			t.Errorf("%s stands without a record", name)
		}
	}
	t.Logf("%d calls answered, %d records", len(calls), all.entries)
}

// private asks the private listener, and returns the status of its answer.
func (s *server) private(t testing.TB, path string) int {
	t.Helper()
	res := s.ask(t, path)
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
