package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
)

// What is taken out of a log that is open, between two segments or from the end of
// one, is noticed before the segments around it are removed.
func TestRemoveLooksAtNeighbours(t *testing.T) {
	cutOff := func(t *testing.T, path string, lines int) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all := bytes.SplitAfter(text, []byte("\n"))
		text = bytes.Join(all[:len(all)-1-lines], nil)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		tamper func(t *testing.T, paths []string)
		want   string // nothing is wrong if it is empty
	}{
		"nothing":                  {func(*testing.T, []string) {}, ""},
		"last record of a segment": {func(t *testing.T, paths []string) { cutOff(t, paths[1], 2) }, "goes on from a write that is not here"},
		"a segment":                {func(t *testing.T, paths []string) { must(t, os.Remove(paths[1])) }, "it goes on from 2026-11-21-000002.jsonl, not from 2026-11-21-000001.jsonl"},
		"the oldest segment":       {func(t *testing.T, paths []string) { must(t, os.Remove(paths[0])) }, "the segment before it is missing: 2026-11-21-000001.jsonl"},
		"the segment that is open": {func(t *testing.T, paths []string) { must(t, os.Remove(paths[3])) }, "it goes on from 2026-11-21-000004.jsonl, not from 2026-11-21-000003.jsonl"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := attach(t, dir, newBox(t), newSafe(), nil)
			defer leave(t, l)
			n := 0
			write := func() {
				for range 2 {
					must(t, l.Append(numbered(n, createKey)))
					n++
				}
			}
			for range 3 {
				write()
				must(t, l.Cut())
			}
			write()
			paths, err := filepath.Glob(filepath.Join(dir, "2*.jsonl"))
			if err != nil || len(paths) != 4 {
				t.Fatal(paths, err)
			}
			tt.tamper(t, paths)
			must(t, l.Cut())
			write()
			segments, err := l.Segments()
			must(t, err)
			for _, s := range segments[:len(segments)-1] {
				if _, err := l.VerifySegment(s.Name); err != nil {
					t.Error(err)
				}
				if err := l.Remove(s.Name); err != nil {
					t.Error(err)
				}
			}
			var found []string
			for _, p := range l.Damage() {
				found = append(found, p.Text)
			}
			if got := strings.Join(found, "\n"); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("damage %q, want %q", found, tt.want)
			}
		})
	}
}

// An old segment that somebody has put in does not take the log's memory of how
// far it was removed back.
func TestRemoveOfWhatWasPutIn(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	for i := range 3 {
		must(t, l.Append(numbered(i, createKey)))
		must(t, l.Cut())
	}
	must(t, l.Remove("2026-11-21-000001.jsonl"))
	must(t, os.WriteFile(filepath.Join(dir, "2020-01-01-000001.jsonl"), audit.Header("2020-01-01-000001.jsonl"), 0o600))
	must(t, l.Remove("2020-01-01-000001.jsonl"))
	must(t, l.Remove("2026-11-21-000002.jsonl"))
	if d := l.Damage(); len(d) != 1 || d[0].Segment != "2020-01-01-000001.jsonl" {
		t.Errorf("damage %v, want that of what was put in", d)
	}
	if s.head.Removed != "2026-11-21-000002.jsonl" {
		t.Errorf("removed through %s", s.head.Removed)
	}
	if err := l.Remove("2026-11-21-000003.jsonl"); !errors.Is(err, audit.ErrNeeded) {
		t.Errorf("the newest segment: %v", err)
	}
	leave(t, l)
}

// The tag that the vault has must close a write: within a line it is nothing, even
// if the line could pass for a record.
func TestTagWithinLine(t *testing.T) {
	const segment = "2026-11-21-000001.jsonl"
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	must(t, l.Append(numbered(1, createKey)))
	leave(t, l)

	header := audit.Header(segment)
	line, _, _ := bytes.Cut(header, []byte("\n"))
	tag := audit.TagOf(nil)
	tag(append(bytes.Clone(line), '\n'))
	forged := append([]byte(`{"x":{"y":"`), bytes.Repeat([]byte("z"), int(s.head.Size)-len(header)-len(`{"x":{"y":"","z":`)-len(audit.Closing()))...)
	forged = append(forged, `","z":{"tag":"`+s.head.Tag.String()+"\"}\n"...)
	if len(header)+len(forged) != int(s.head.Size) {
		t.Fatalf("%d bytes, want %d", len(header)+len(forged), s.head.Size)
	}
	text := append(append(header, forged...), `{"tag":"`+tag(forged).String()+"\"}\n"...)
	must(t, os.WriteFile(filepath.Join(dir, segment), text, 0o600))

	l = attach(t, dir, box, s, nil)
	defer leave(t, l)
	if d := l.Damage(); len(d) != 1 || !strings.Contains(d[0].Text, "does not have the records that it had") {
		t.Errorf("damage %v", d)
	}
}
