package archive_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// A damaged index keeps nobody from the keys, and is made anew.
func TestIndexIsMadeAnew(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string, runs []string){
		"lost": func(t *testing.T, dir string, _ []string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
		"newest delivery removed": func(t *testing.T, _ string, runs []string) {
			if err := os.Remove(runs[len(runs)-1]); err != nil {
				t.Fatal(err)
			}
		},
		"oldest delivery removed": func(t *testing.T, _ string, runs []string) {
			if err := os.Remove(runs[0]); err != nil {
				t.Fatal(err)
			}
		},
		"delivery removed": func(t *testing.T, _ string, runs []string) {
			if err := os.Remove(runs[1]); err != nil {
				t.Fatal(err)
			}
		},
		"all but one removed": func(t *testing.T, _ string, runs []string) {
			for _, run := range runs[:len(runs)-1] {
				if err := os.Remove(run); err != nil {
					t.Fatal(err)
				}
			}
		},
		"delivery in place of another": func(t *testing.T, _ string, runs []string) {
			text, err := os.ReadFile(runs[2])
			if err = errors.Join(err, os.WriteFile(runs[1], text, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
		"format of before": func(t *testing.T, _ string, runs []string) {
			text, err := os.ReadFile(runs[1])
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)-4096+len("KRINDEX")] = 1
			if err := os.WriteFile(runs[1], text, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"oldest delivery emptied": func(t *testing.T, _ string, runs []string) {
			if err := os.Truncate(runs[0], 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.hour(accountA, accountB)
			e.hour(accountA)
			e.write(accountA, region, 4)
			e.write(accountB, region, 2)
			e.deliver()
			before := e.files()
			e.close()
			dir := filepath.Join(e.dir, "index")
			runs, err := filepath.Glob(filepath.Join(dir, "*.run"))
			if err != nil || len(runs) < 3 {
				t.Fatal(runs, err)
			}
			slices.Sort(runs)
			damage(t, dir, runs)

			e.open()
			if d := e.archive.Damage(); len(d) != 1 || !strings.Contains(d[0], "made anew") {
				t.Errorf("damage: %q", d)
			}
			if after := e.files(); !slices.Equal(after, before) {
				t.Errorf("the index tells of\n%s\nand told of\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
			}
			if n := e.search(accountA); n != 10 {
				t.Errorf("%d events of account A are found, want 10", n)
			}
			if n := e.search(accountB); n != 5 {
				t.Errorf("%d events of account B are found, want 5", n)
			}
			if found := e.verify(); len(found) > 0 {
				t.Errorf("findings: %q", found)
			}
			// It goes on as if nothing had happened.
			e.reopen()
			if d := e.archive.Damage(); len(d) != 0 {
				t.Errorf("damage the next time: %q", d)
			}
			e.pass(time.Hour)
			e.hour(accountA, accountB)
			e.hour(accountB)
			if n := e.search(accountA); n != 13 {
				t.Errorf("%d events of account A are found afterwards, want 13", n)
			}
			if n := e.archive.Stats().PendingDigest; n != 0 {
				t.Errorf("%d files are in no digest", n)
			}
			if found := e.verify(); len(found) > 0 {
				t.Errorf("findings afterwards: %q", found)
			}
			if kept, err := filepath.Glob(dir + ".damaged-*"); err != nil || len(kept) != 1 && name != "lost" {
				t.Errorf("the damaged index was kept as %v, %v", kept, err)
			}
		})
	}
}

// A log file that can't be read is left out, and the others are not.
func TestIndexIsMadeAnewOfDamagedFiles(t *testing.T) {
	e := newEnv(t)
	e.hour(accountA)
	e.hour(accountA)
	e.put(e.logs()[0], []byte("no gzip"))
	e.close()
	if err := os.RemoveAll(filepath.Join(e.dir, "index")); err != nil {
		t.Fatal(err)
	}
	e.open()
	if n := e.search(accountA); n != 3 {
		t.Errorf("%d events are found, want the 3 of the file that can be read", n)
	}
	if n := e.archive.Newest(); n != 2 {
		t.Errorf("the newest file is number %d, want 2", n)
	}
}

// Where the index begins once deliveries have expired is known, too.
func TestOldestDeliveryRemovedAfterOthersExpired(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *archive.Options) { o.Retention = 24 * time.Hour })
	for range 3 {
		e.hour(accountA)
	}
	e.pass(23 * time.Hour)
	e.hour(accountA)
	e.pass(20 * time.Hour)
	e.hour(accountA)
	runs := func() []string {
		found, err := filepath.Glob(filepath.Join(e.dir, "index", "*.run"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(found)
		return found
	}
	if n := len(runs()); n < 2 || strings.Contains(runs()[0], "0000000001-") {
		t.Fatalf("runs %q: none expired", runs())
	}
	e.reopen()
	if d := e.archive.Damage(); len(d) != 0 {
		t.Errorf("what expired is damage: %q", d)
	}
	want := e.search(accountA)
	e.close()
	if err := os.Remove(runs()[0]); err != nil {
		t.Fatal(err)
	}
	e.open()
	if d := e.archive.Damage(); len(d) != 1 || !strings.Contains(d[0], "made anew") {
		t.Errorf("damage: %q", d)
	}
	if n := e.search(accountA); n < want {
		t.Errorf("%d events are found, want %d", n, want)
	}
	e.reopen()
	if d := e.archive.Damage(); len(d) != 0 {
		t.Errorf("damage the next time: %q", d)
	}
}

// An index that is put back as it once was does not tell of all that was
// delivered since.
func TestIndexPutBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.hour(accountA)
	e.hour(accountA)
	e.close()
	dir, old := filepath.Join(e.dir, "index"), filepath.Join(t.TempDir(), "index")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	e.open()
	e.hour(accountA)
	want := e.search(accountA)
	e.close()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	e.open()
	if d := e.archive.Damage(); len(d) != 1 || !strings.Contains(d[0], "made anew") {
		t.Errorf("damage: %q", d)
	}
	if n := e.search(accountA); n != want {
		t.Errorf("%d events are found, want %d", n, want)
	}
}

// files returns the numbers and names of the files that the index tells of.
func (e *env) files() (files []string) {
	e.t.Helper()
	for f, err := range e.index.Files(0) {
		if err != nil {
			e.t.Fatal(err)
		}
		files = append(files, string(rune('0'+f.Number))+" "+f.Path)
	}
	return files
}

// search returns how many events of an account are found.
func (e *env) search(account string) int {
	e.t.Helper()
	s, err := archive.NewSearcher(e.index, e.options.Dir, e.log)
	if err != nil {
		e.t.Fatal(err)
	}
	page, err := s.Search(e.t.Context(), index.Query{Terms: []index.Term{{Attribute: index.Account, Value: account}}})
	if err != nil {
		e.t.Fatal(err)
	}
	return len(page.Events)
}
