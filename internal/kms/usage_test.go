package kms_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
)

// used returns the operation that a key was last used by; empty if by none.
func (e *env) used(id string) string {
	e.t.Helper()
	return e.must(alice, "GetKeyLastUsage", object{"KeyId": id}).object("KeyLastUsage").str("Operation")
}

// Every operation that works with a key uses it, if it succeeds, and no other
// does.
func TestWhatIsUse(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	left := make(map[string]bool)
	for name := range e.ops {
		if keyring.IsUse(name) {
			left[name] = true
		}
	}
	for i := range keyOperations {
		o := &keyOperations[i]
		if o.member == "" || o.member == "TargetKeyId" {
			continue // a second way to the same
		}
		t.Run(o.String(), func(t *testing.T) {
			id := e.createKey(o.spec, o.usage)
			request := o.on(e, id, id)
			before := e.used(id) // what the request was made with
			e.advance(time.Second)
			e.must(alice, o.name, request)
			want := before
			if keyring.IsUse(o.name) {
				want = o.name
			}
			delete(left, o.name)
			if got := e.used(id); got != want {
				t.Errorf("after %s the key was last used by %q, want %q", o.name, got, want)
			}
		})
	}
	if len(left) > 0 {
		t.Errorf("not tested: %v", left)
	}
}

// A use counts once it is on record.
func TestUseOfUnrecorded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	for _, tt := range []struct {
		name string
		err  error
		edit func(c *call.Call)
		want string
	}{
		{"not on record", errors.New("the disk is full"), func(*call.Call) {}, ""},
		{"failed", nil, func(c *call.Call) { c.Failure.Code = "InvalidCiphertextException" }, ""},
		{"of another service", nil, func(c *call.Call) { c.Service = "sts" }, ""},
		{"unknown", nil, func(c *call.Call) { c.Operation = nil }, ""},
		{"on record", nil, func(*call.Call) {}, "Decrypt"},
	} {
		c := &call.Call{ID: "r", Time: e.clock(), Region: testRegion, Service: "kms", Operation: e.ops["Decrypt"], Caller: alice, EventID: [16]byte{1}}
		c.AddKey(keyARN(id), ours)
		tt.edit(c)
		to := &stubborn{err: tt.err}
		records := e.service.Recording(to)
		if err := records.Append(c); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		if got := e.used(id); got != tt.want || to.calls != 1 {
			t.Errorf("%s: last used by %q, want %q; recorded %d times", tt.name, got, tt.want, to.calls)
		}
		if err := records.Err(); !errors.Is(err, tt.err) {
			t.Errorf("%s: Err() = %v", tt.name, err)
		}
	}
}

// stubborn is a recorder that fails.
type stubborn struct {
	err   error
	calls int
}

func (f *stubborn) Append(*call.Call) error { f.calls++; return f.err }
func (f *stubborn) Err() error              { return f.err }

// Sources: kms:TrailingDaysWithoutKeyUsage in "AWS KMS condition keys" of the AWS
// KMS Developer Guide: whole days since the last use, or since the key was made.
func TestTrailingDays(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		unused time.Duration
		days   int
	}{
		{0, 0},
		{day - time.Second, 0},
		{day, 1},
		{90*day - time.Second, 89},
		{90 * day, 90},
		{91 * day, 91},
	} {
		for _, used := range []bool{false, true} {
			for _, operation := range []string{"DisableKey", "ScheduleKeyDeletion"} {
				t.Run(fmt.Sprint(tt.unused, " ", used, " ", operation), func(t *testing.T) {
					t.Parallel()
					e := newEnv(t)
					e.advance(-123 * time.Millisecond) // uses are kept to the second
					id := e.createKey("HMAC_256", "GENERATE_VERIFY_MAC")
					if used {
						e.advance(1000 * day)
						e.must(alice, "GenerateMac", object{"KeyId": id, "Message": blob(1), "MacAlgorithm": "HMAC_SHA_256"})
					}
					e.advance(tt.unused)
					is := func(n int) *call.Principal {
						return principal(ours, "tester", fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*",
							"Resource": "*", "Condition": {"NumericEquals": {"kms:TrailingDaysWithoutKeyUsage": "%d"}}}}`, n))
					}
					for _, wrong := range []int{tt.days - 1, tt.days + 1} {
						who := is(wrong)
						e.fails(who, operation, object{"KeyId": id}, denied(who, "kms:"+operation, keyARN(id)))
					}
					// As AWS's example has it.
					guarded := principal(ours, "guarded", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"},
						{"Effect": "Deny", "Action": ["kms:DisableKey", "kms:ScheduleKeyDeletion"], "Resource": "*",
						"Condition": {"NumericLessThanEquals": {"kms:TrailingDaysWithoutKeyUsage": "90"}}}]}`)
					if a := e.call(guarded, operation, encode(t, object{"KeyId": id})); (a.code() == "AccessDeniedException") != (tt.days <= 90) {
						t.Errorf("guarded by 90 days, after %d: %s", tt.days, or(a.text(), "success"))
					} else if a.err == nil {
						return // it is done
					}
					e.must(is(tt.days), operation, object{"KeyId": id})
				})
			}
		}
	}
}
