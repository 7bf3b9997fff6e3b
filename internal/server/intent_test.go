package server_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// purpose is an intent.
type purpose struct {
	of    *call.Call
	stood int
	left  bool
}

func (p *purpose) Note() (string, []byte) { return "slot", []byte(p.of.Operation.Name) }
func (p *purpose) Stood(store.Rev)        { p.stood++ }
func (p *purpose) Leave()                 { p.left = true }

// Operations that may change something run with an intent, which ends with them;
// others do not.
func TestIntents(t *testing.T) {
	st := store.NewMem()
	defer st.Close()
	box, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	records, err := record.Open(t.Context(), st, box, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	p := newServer(t, nil)
	b := p.backend()
	change := func(ctx context.Context, c *call.Call, _, out []byte) ([]byte, error) {
		tx := records.Begin()
		tx.Create(record.KindKey, "v1/key/"+c.ID, nil)
		_, err := tx.Commit(ctx)
		return append(out, "{}"...), err
	}
	for name, readOnly := range map[string]bool{"Change": false, "Look": true} {
		b.Services[0].Operations[name] = &call.Operation{Name: name, Service: "kms", EventSource: "kms.amazonaws.com", ReadOnly: readOnly, Invoke: change}
	}
	var made []*purpose
	b.Intend = func(c *call.Call) call.Intent {
		if c.Operation.Name == "Empty" {
			return nil
		}
		made = append(made, &purpose{of: c})
		return made[len(made)-1]
	}
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	ts := p.listen(t)
	for _, operation := range []string{"Look", "Empty", "Change", "Panic"} {
		a := send(t, ts.Client(), newRequest(t, ts.URL, operation, "{}"))
		if ok := operation != "Panic"; (a.status == 200) != ok {
			t.Errorf("%s: %d %s", operation, a.status, a.body)
		}
	}
	if len(made) != 2 || made[0].stood != 1 || made[1].stood != 0 || !made[0].left || !made[1].left {
		t.Fatalf("%d intents: %+v", len(made), made)
	}
	rec, err := records.Get(t.Context(), record.KindIntent, record.IntentPrefix+"slot")
	if err != nil || string(rec.Value) != "Change" {
		t.Errorf("the note is %q, %v", rec.Value, err)
	}
	if c, _ := p.journal.last(); c.Intent != made[1] {
		t.Error("the record was not given its intent")
	}
}

// On its reserve, the audit log has place for what makes things safer, and for
// nothing else; when it fails, for nothing.
func TestReserve(t *testing.T) {
	p := newServer(t, nil)
	b := p.backend()
	ran := func(_ context.Context, _ *call.Call, _, out []byte) ([]byte, error) { return append(out, "{}"...), nil }
	for _, name := range []string{"DisableKey", "EnableKey"} {
		b.Services[0].Operations[name] = &call.Operation{Name: name, Service: "kms", EventSource: "kms.amazonaws.com", Invoke: ran}
	}
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	ts := p.listen(t)
	for _, down := range []struct {
		err   error
		safer int
	}{
		{nil, 200},
		{fmt.Errorf("wrapped: %w", audit.ErrReserve), 200},
		{errors.New("disk full"), 500},
	} {
		p.journal.mu.Lock()
		p.journal.down = down.err
		p.journal.mu.Unlock()
		for operation, want := range map[string]int{"DisableKey": down.safer, "EnableKey": 500, "Empty": 500, "Nonsense": 500} {
			if down.err == nil && operation != "Nonsense" {
				want = 200
			} else if down.err == nil {
				want = 400
			}
			if a := send(t, ts.Client(), newRequest(t, ts.URL, operation, "{}")); a.status != want {
				t.Errorf("%v: %s: %d, want %d", down.err, operation, a.status, want)
			}
		}
		r := newRequest(t, ts.URL, "Empty", "{}")
		r.Header.Set("X-Amz-Target", "Keyreeve.Empty")
		signer().Sign(r, []byte("{}"), region, "keyreeve", start)
		if a := send(t, ts.Client(), r); a.status != down.safer {
			t.Errorf("%v: the operator's service: %d, want %d", down.err, a.status, down.safer)
		}
	}
	if got := p.count(t, "keyreeve_audit_failures_total"); got != 3+5 {
		t.Errorf("keyreeve_audit_failures_total = %v, want 8", got)
	}
}

// The last of the reserve is for the operator: neither what makes things safer
// nor others' calls of the operator's service get at it.
func TestLastOfReserve(t *testing.T) {
	p := newServer(t, nil)
	ran := func(_ context.Context, _ *call.Call, _, out []byte) ([]byte, error) { return append(out, "{}"...), nil }
	p.journal.down = fmt.Errorf("wrapped: %w", audit.ErrLast)
	ts := p.listen(t)
	for owner, want := range map[string]int{alice.Account: 200, "999999999999": 500, "": 500} {
		b := p.backend()
		b.Services[0].Operations["DisableKey"] = &call.Operation{Name: "DisableKey", Service: "kms", EventSource: "kms.amazonaws.com", Invoke: ran}
		b.Services[1].Owner = owner
		if err := p.Unseal(b); err != nil {
			t.Fatal(err)
		}
		r := newRequest(t, ts.URL, "Empty", "{}")
		r.Header.Set("X-Amz-Target", "Keyreeve.Empty")
		signer().Sign(r, []byte("{}"), region, "keyreeve", start)
		if a := send(t, ts.Client(), r); a.status != want {
			t.Errorf("owner %q: the operator's service: %d, want %d", owner, a.status, want)
		}
		if a := send(t, ts.Client(), newRequest(t, ts.URL, "DisableKey", "{}")); a.status != 500 {
			t.Errorf("owner %q: DisableKey: %d, want 500", owner, a.status)
		}
	}
}
