package explain_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/explain"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/policy"
)

func newDenials(t *testing.T) (*explain.Denials, *seal.Box) {
	t.Helper()
	box, err := seal.Open(t.Context(), store.NewMem(), seal.Options{Provider: seal.KeyFile(filepath.Join(t.TempDir(), "key"))})
	if err != nil {
		t.Fatal(err)
	}
	return explain.NewDenials(box), box
}

func denied(account, id string) *call.Call {
	return &call.Call{
		ID: id, Time: time.Unix(1e9, 0).UTC(), Region: "us-east-1",
		Caller:  &call.Principal{Kind: call.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/x", EntityARN: "arn:aws:iam::" + account + ":user/x"},
		Denial:  &call.Denial{Action: "kms:Decrypt", Resource: "*", Account: account, Values: policy.Values{"kms:requestalias": policy.String("alias/planted")}},
		Failure: call.Failure{Code: "AccessDeniedException", Message: "planted message"},
	}
}

// Who is denied a lot pushes out his own denials and no one else's, and what is
// kept is bounded.
func TestDenialsAreBounded(t *testing.T) {
	d, _ := newDenials(t)
	d.Keep(denied("111122223333", "quiet"))
	for i := range 10_000 {
		d.Keep(denied("444455556666", fmt.Sprint("loud ", i)))
	}
	if account, text, err := d.Find("quiet"); err != nil || account != "111122223333" || text != "planted message" {
		t.Errorf("%q %q %v", account, text, err)
	}
	if n, _ := d.Size(); n != 513 {
		t.Errorf("%d are kept, want 512 of one account and 1 of another", n)
	}
	if _, _, err := d.Find("loud 9999"); err != nil {
		t.Error(err)
	}
	if _, _, err := d.Find("loud 9000"); err == nil {
		t.Error("an old one is kept")
	}
	for i := range 10_000 {
		d.Keep(denied(fmt.Sprintf("%012d", i), fmt.Sprint("many ", i)))
	}
	if n, bytes := d.Size(); n != 4096 || bytes > 8<<20 {
		t.Errorf("%d are kept in %d bytes", n, bytes)
	}
	large := denied("111122223333", "large")
	large.Denial.Context = []call.Pair{{Name: "a", Value: strings.Repeat("x", 40<<10)}}
	d.Keep(large)
	if _, _, err := d.Find("large"); err == nil {
		t.Error("a large one is kept")
	}
	for i := range 3000 {
		c := denied(fmt.Sprintf("%012d", i%20), fmt.Sprint("big ", i))
		c.Denial.Context = []call.Pair{{Name: "a", Value: strings.Repeat("x", 20<<10)}}
		d.Keep(c)
	}
	if n, bytes := d.Size(); bytes > 8<<20 || n < 300 {
		t.Errorf("%d are kept in %d bytes", n, bytes)
	}
}

// What is kept is sealed, and is no more to be read once the node is sealed.
func TestDenialsAreSealed(t *testing.T) {
	d, box := newDenials(t)
	d.Keep(denied("111122223333", "a"))
	for _, b := range d.Sealed() {
		if bytes.Contains(b, []byte("planted")) || bytes.Contains(b, []byte("111122223333")) {
			t.Errorf("kept as %q", b)
		}
	}
	box.Lock()
	if _, _, err := d.Find("a"); err == nil {
		t.Error("it can be read after the box was locked")
	}
	d.Keep(denied("111122223333", "b"))
	if n, _ := d.Size(); n != 1 {
		t.Errorf("%d are kept", n)
	}
}

// Calls that authorization did not deny are not kept.
func TestDenialsAlone(t *testing.T) {
	d, _ := newDenials(t)
	for name, change := range map[string]func(*call.Call){
		"another failure": func(c *call.Call) { c.Failure.Code = "NotFoundException" },
		"a success":       func(c *call.Call) { c.Failure = call.Failure{} },
		"not asked":       func(c *call.Call) { c.Denial = nil },
		"nobody":          func(c *call.Call) { c.Caller = nil },
		"a service":       func(c *call.Call) { c.Caller = &call.Principal{Kind: call.Service} },
	} {
		c := denied("111122223333", name)
		change(c)
		d.Keep(c)
		if n, _ := d.Size(); n > 0 {
			t.Fatalf("%s: kept", name)
		}
	}
}
