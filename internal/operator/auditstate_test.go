package operator_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/operator"
)

// files is an archive with so many heads and files that no digest lists.
type files struct{ heads, pending int }

func (f files) Heads() (list []archive.Head) {
	for n := range f.heads {
		list = append(list, archive.Head{
			Account: fmt.Sprintf("%012d", n/2), Region: []string{"eu-central-1", "us-east-1"}[n%2], End: time.Unix(1e9, 0), Oldest: time.Unix(1, 0), Count: 7,
			Newest: archive.Link{Bucket: archive.BucketName, Object: fmt.Sprintf("digest-%d", n), Hash: "aa", Signature: "bb"},
		})
	}
	return list
}

func (f files) Pending() (list []archive.LogFile) {
	for n := range f.pending {
		list = append(list, archive.LogFile{Bucket: archive.BucketName, Object: fmt.Sprintf("file-%06d", f.pending-n), Hash: "cc"})
	}
	return list
}

func (files) PublicKeys(string, time.Time, time.Time) []archive.PublicKey {
	return []archive.PublicKey{{Region: "us-east-1", Fingerprint: "ff", Value: []byte{1, 2, 3}, Start: time.Unix(1e9, 0), End: time.Unix(2e9, 0)}}
}

func (files) Damage() []string { return []string{"something is not as it was"} }

// describe calls DescribeAudit.
func (s *scene) describe(t *testing.T, in string) (out keyreeveapi.DescribeAuditOutput) {
	t.Helper()
	got, c := s.invoke(t, admin, "DescribeAudit", in)
	if err := json.Unmarshal([]byte(got), &out); err != nil {
		t.Fatalf("DescribeAudit %s = %s", in, got)
	}
	if !c.Operation.ReadOnly || c.Elements != nil {
		t.Errorf("DescribeAudit %s is on record as %s", in, audited(c.Elements))
	}
	return out
}

func TestDescribeAudit(t *testing.T) {
	p := newPlane(t)
	s := newScene(t, t.TempDir(), nil)
	s.log.Protect(p.box)
	s.happen(t, 3, nil)
	s.ops = keyreeveapi.Operations(operator.NewService(authz.New(nil), operator.Options{
		Account: management, Box: p.box, Journal: s.log, Events: &s.archived, Archive: files{heads: 4001, pending: 2001}, ArchiveDir: "data/archive",
	}))

	out := s.describe(t, `{"VerifyJournal":true}`)
	if !filepath.IsAbs(out.Directory) || !strings.HasSuffix(out.Directory, "data/archive") {
		t.Errorf("the archive is in %q", out.Directory)
	}
	if len(out.Journal) != 1 || out.Journal[0].Records != 3 || !out.Journal[0].Verified || len(out.Journal[0].Problems) > 0 || out.Journal[0].Size == 0 {
		t.Errorf("the journal is %+v", out.Journal)
	}
	if len(out.Damage) != 1 || out.Damage[0] != "something is not as it was" {
		t.Errorf("the damage is %q", out.Damage)
	}
	if len(out.Keys) != 1 || out.Keys[0].Region != "us-east-1" || string(out.Keys[0].Value) != "\x01\x02\x03" || !out.Keys[0].End.Equal(time.Unix(2e9, 0)) {
		t.Errorf("the keys are %+v", out.Keys)
	}
	if h := out.Heads[1]; h.Account != "000000000000" || h.Region != "us-east-1" || h.Object != "digest-1" || h.Hash != "aa" || h.Signature != "bb" || h.Count != 7 {
		t.Errorf("a head is %+v", h)
	}
	heads, pending := make(map[string]bool), make(map[string]bool)
	for pages := 1; ; pages++ {
		for _, h := range out.Heads {
			heads[h.Object] = true
		}
		for _, f := range out.Pending {
			pending[f.Object] = true
		}
		if out.NextToken == "" {
			if pages != 4 {
				t.Errorf("there are %d pages", pages)
			}
			break
		}
		if out = s.describe(t, fmt.Sprintf(`{"NextToken":%q}`, out.NextToken)); out.Keys != nil || out.Journal != nil || out.Damage != nil {
			t.Errorf("page %d tells once more what the first has told", pages+1)
		}
	}
	if len(heads) != 4001 || len(pending) != 2001 {
		t.Errorf("%d heads and %d files", len(heads), len(pending))
	}
	if got, _ := s.invoke(t, admin, "DescribeAudit", `{"NextToken":"x"}`); !strings.HasPrefix(got, "ValidationException: ") {
		t.Errorf("a token that is none: %s", got)
	}
}

// What was changed in the journal shows.
func TestDescribeAuditDamage(t *testing.T) {
	p := newPlane(t)
	s := newScene(t, t.TempDir(), nil)
	s.log.Protect(p.box)
	s.happen(t, 3, nil)
	s.ops = keyreeveapi.Operations(operator.NewService(authz.New(nil), operator.Options{Account: management, Box: p.box, Journal: s.log, Events: &s.archived}))
	segments, err := s.log.Segments()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.log.Dir(), segments[len(segments)-1].Name)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "user/alice", "user/mallo", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.describe(t, `{}`); len(out.Journal[0].Problems) > 0 || out.Journal[0].Verified {
		t.Errorf("without a look: %+v", out.Journal)
	}
	out := s.describe(t, `{"VerifyJournal":true}`)
	if n := len(out.Journal); n == 0 || len(out.Journal[n-1].Problems) != 1 || !out.Journal[n-1].Verified {
		t.Errorf("the journal is %+v", out.Journal)
	}
	if out.Directory != "" || out.Keys != nil || out.Heads != nil {
		t.Errorf("without an archive: %+v", out)
	}
}

// FuzzCursor follows the journal from wherever a client says.
func FuzzCursor(f *testing.F) {
	for _, cursor := range []string{"", "0:0:0", "memory:0", "1:2:3", "88888888888888888:1:1", "20512:0:1e9", "x"} {
		f.Add(cursor)
	}
	var scenes []*scene
	for _, dir := range []string{"", f.TempDir()} {
		s := newScene(f, dir, nil)
		s.happen(f, 2, nil)
		scenes = append(scenes, s)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, s := range scenes {
			in, err := json.Marshal(map[string]any{"Cursor": cursor})
			if err != nil {
				t.Fatal(err)
			}
			got, _ := s.invoke(t, admin, "TailEvents", string(in))
			if strings.HasPrefix(got, "{") {
				var out keyreeveapi.TailEventsOutput
				if err := json.Unmarshal([]byte(got), &out); err != nil || out.Cursor == "" {
					t.Fatalf("from %q on: %s", cursor, got)
				}
			} else if !strings.HasPrefix(got, "ValidationException: ") && !strings.HasPrefix(got, "SerializationException: ") {
				t.Fatalf("from %q on: %s", cursor, got)
			}
		}
	})
}
