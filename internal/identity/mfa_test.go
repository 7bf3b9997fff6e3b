package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// TestTOTP is the test vectors of RFC 6238, appendix B, for HMAC-SHA-1, and the
// first of RFC 4226, appendix D.
func TestTOTP(t *testing.T) {
	seed := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
		0: "755224", 30: "287082",
	} {
		if got := identity.TOTP(seed, time.Unix(at, 0)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

// phone is a virtual MFA device of the house, and the phone that has its seed.
type phone struct {
	*house
	serial string
	seed   []byte
	ahead  time.Duration // of its clock
}

func (h *house) phone(name string) *phone {
	h.t.Helper()
	v, seed, err := h.CreateMFADevice(h.t.Context(), identity.MFADevice{Account: ours, Name: name})
	h.ok(err)
	return &phone{house: h, serial: v.SerialNumber, seed: seed.Reveal()}
}

// code returns the code of some steps from now.
func (p *phone) code(steps int) string {
	return identity.TOTP(p.seed, p.clock.now().Add(p.ahead+time.Duration(steps)*30*time.Second))
}

// wrong returns what is the code of no step near.
func (p *phone) wrong() string {
	for n := 0; ; n++ {
		code, near := fmt.Sprintf("%06d", n), false
		for s := -12; s <= 12; s++ {
			near = near || p.code(s) == code
		}
		if !near {
			return code
		}
	}
}

func (p *phone) enable(user string) error {
	return p.EnableMFADevice(p.t.Context(), ours, user, p.serial, p.code(-1), p.code(0))
}

func (p *phone) verify(code string) error {
	p.t.Helper()
	return p.VerifyMFA(p.t.Context(), p.alice(), p.serial, code)
}

// later lets time pass: n steps.
func (p *phone) later(n int) { p.clock.advance(time.Duration(n) * 30 * time.Second) }

func TestMFADevice(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.phone("Phone")
	if p.serial != "arn:aws:iam::"+ours+":mfa/Phone" || len(p.seed) != 40 {
		t.Fatalf("made %s with %d bytes", p.serial, len(p.seed))
	}
	for name, v := range map[string]identity.MFADevice{
		"the name in another case": {Account: ours, Name: "phone"},
	} {
		_, _, err := h.CreateMFADevice(ctx, v)
		h.wants(name, err, identity.ErrExists)
	}
	for name, v := range map[string]identity.MFADevice{
		"no name":         {Account: ours},
		"a slash":         {Account: ours, Name: "a/b"},
		"a path":          {Account: ours, Name: "a", Path: "team/"},
		"an odd path":     {Account: ours, Name: "a", Path: "/te!m/"},
		"too long an ARN": {Account: ours, Name: strings.Repeat("a", 226), Path: "/b/"},
		"a reserved tag":  {Account: ours, Name: "a", Tags: []identity.Tag{{Name: "aws:a"}}},
	} {
		_, _, err := h.CreateMFADevice(ctx, v)
		h.wants(name, err, identity.ErrInvalid)
	}
	_, _, err := h.CreateMFADevice(ctx, identity.MFADevice{Account: "999988887777", Name: "a"})
	h.wants("an account that is not there", err, identity.ErrNotFound)

	// Before it is enabled, it is good for nothing.
	h.wants("before it is enabled", p.verify(p.code(0)), identity.ErrNotFound)
	h.wants("resync of what is nobody's", h.ResyncMFADevice(ctx, ours, "alice", p.serial, p.code(-1), p.code(0)), identity.ErrNotFound)
	h.wants("codes in the wrong order", h.EnableMFADevice(ctx, ours, "alice", p.serial, p.code(0), p.code(-1)), identity.ErrCode)
	h.wants("the same code twice", h.EnableMFADevice(ctx, ours, "alice", p.serial, p.code(0), p.code(0)), identity.ErrCode)
	h.wants("old codes", h.EnableMFADevice(ctx, ours, "alice", p.serial, p.code(-3), p.code(-2)), identity.ErrCode)
	h.wants("nobody", h.EnableMFADevice(ctx, ours, "nobody", p.serial, p.code(-1), p.code(0)), identity.ErrNotFound)
	h.wants("another account", h.EnableMFADevice(ctx, theirs, "alice", p.serial, p.code(-1), p.code(0)), identity.ErrNotFound)
	h.ok(p.enable("alice"))
	h.user("bob")
	h.wants("enabled twice", p.enable("bob"), identity.ErrExists)

	// The codes with which it was enabled are used up.
	h.wants("the first code", p.verify(p.code(-1)), identity.ErrCode)
	h.wants("the second code", p.verify(p.code(0)), identity.ErrCode)
	h.ok(p.verify(p.code(1)))
	h.wants("a used code", p.verify(p.code(1)), identity.ErrCode)
	p.later(3)
	h.wants("two steps old", p.verify(p.code(-2)), identity.ErrCode)
	h.ok(p.verify(p.code(-1)))
	h.ok(p.verify(p.code(0)))
	p.later(1)
	h.wants("two steps early", p.verify(p.code(2)), identity.ErrCode)
	h.ok(p.verify(p.code(1)))
	h.wants("older than what was used", p.verify(p.code(0)), identity.ErrCode)
	p.later(4)
	for _, code := range []string{"", "12345", "1234567", "abcdef", " " + p.code(0)[:5]} {
		if err := p.verify(code); !errors.Is(err, identity.ErrCode) {
			t.Errorf("%q: %v", code, err)
		}
	}
	p.later(4)

	// It is alice's alone.
	bob := h.caller(h.accessKey("bob"), "")
	h.wants("bob", h.VerifyMFA(ctx, bob, p.serial, p.code(0)), identity.ErrNotFound)
	rootKey, err := h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{})
	h.ok(err)
	h.wants("the root user", h.VerifyMFA(ctx, h.caller(rootKey.ID, ""), p.serial, p.code(0)), identity.ErrNotFound)
	for _, serial := range []string{"", "GAHT12345678", p.serial + "x", strings.Replace(p.serial, "Phone", "phone", 1), strings.Replace(p.serial, ours, theirs, 1)} {
		h.wants(serial, h.VerifyMFA(ctx, h.alice(), serial, p.code(0)), identity.ErrNotFound)
	}
	h.ok(p.verify(p.code(0)))

	// Lists and tags.
	h.ok(h.TagMFADevice(ctx, p.serial, []identity.Tag{{Name: "k", Value: "v"}, {Name: "x"}}))
	h.ok(h.UntagMFADevice(ctx, p.serial, []string{"X"}))
	spare := h.phone("spare")
	yes, no := true, false
	for _, c := range []struct {
		assigned *bool
		want     string
	}{{nil, "Phone spare"}, {&yes, "Phone"}, {&no, "spare"}} {
		list, _, err := h.MFADevices(ctx, ours, identity.Page{}, c.assigned)
		h.ok(err)
		var names []string
		for _, v := range list {
			names = append(names, v.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("listed %s, want %s", got, c.want)
		}
	}
	mine, err := h.UserMFADevices(ctx, ours, "alice")
	if err != nil || len(mine) != 1 || mine[0].SerialNumber != p.serial || mine[0].UserID != h.alice().EntityID || mine[0].Enabled.IsZero() ||
		len(mine[0].Tags) != 1 || mine[0].Tags[0].Name != "k" {
		t.Errorf("alice has %+v, %v", mine, err)
	}
	if all, inUse, err := h.CountMFADevices(ctx, ours); err != nil || all != 2 || inUse != 1 {
		t.Errorf("%d devices, %d in use, %v", all, inUse, err)
	}

	// Nothing goes while something refers to it; a renamed user has it still.
	h.wants("deleting a device in use", h.DeleteMFADevice(ctx, p.serial), identity.ErrConflict)
	h.ok(h.UpdateUser(ctx, ours, "alice", "alicia", ""))
	p.later(2)
	h.ok(p.verify(p.code(0)))
	h.ok(h.DeleteAccessKey(ctx, h.key))
	h.wants("deleting a user with a device", h.DeleteUser(ctx, ours, "alicia"), identity.ErrConflict)
	h.wants("deactivating somebody else's", h.DeactivateMFADevice(ctx, ours, "bob", p.serial), identity.ErrNotFound)
	h.ok(h.DeactivateMFADevice(ctx, ours, "alicia", p.serial))
	h.wants("deactivating twice", h.DeactivateMFADevice(ctx, ours, "alicia", p.serial), identity.ErrNotFound)
	h.ok(h.DeleteUser(ctx, ours, "alicia"))
	h.ok(h.DeleteMFADevice(ctx, p.serial))
	h.wants("deleting it twice", h.DeleteMFADevice(ctx, p.serial), identity.ErrNotFound)
	h.ok(h.DeleteMFADevice(ctx, spare.serial))
}

// TestMFALimits: wrong codes are counted in the record, for all nodes.
func TestMFALimits(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.phone("phone")
	h.ok(p.enable("alice"))
	p.later(2)
	for n := range 20 {
		if n > 0 && n%5 == 0 {
			for _, d := range []*identity.Directory{h.Directory, h.other} {
				if err := d.VerifyMFA(ctx, h.alice(), p.serial, p.code(0)); !errors.Is(err, identity.ErrTries) {
					t.Fatalf("the right code after %d wrong ones: %v", n, err)
				}
			}
			p.later(2)
		}
		d := h.Directory
		if n%2 == 1 {
			d = h.other
		}
		if err := d.VerifyMFA(ctx, h.alice(), p.serial, p.wrong()); !errors.Is(err, identity.ErrCode) || errors.Is(err, identity.ErrTries) {
			t.Fatalf("wrong code %d: %v", n, err)
		}
	}
	// By now, a minute is not enough.
	p.later(2)
	h.wants("after 20 wrong ones", p.verify(p.code(0)), identity.ErrTries)
	h.clock.advance(time.Hour)
	h.ok(p.verify(p.code(0)))
	p.later(2)
	for range 4 {
		h.wants("a wrong one", p.verify(p.wrong()), identity.ErrCode)
	}
	h.ok(p.verify(p.code(0)))

	for i := range identity.MaxUserMFADevices {
		q := h.phone(fmt.Sprint("more", i))
		if err := q.enable("alice"); (err == nil) != (i+1 < identity.MaxUserMFADevices) || err != nil && !errors.Is(err, identity.ErrLimit) {
			t.Errorf("device %d: %v", i+2, err)
		}
	}
}

// TestMFAResync: the clock of a phone may be some minutes off, once it was said.
func TestMFAResync(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.phone("phone")
	h.ok(p.enable("alice"))
	p.later(20)
	p.ahead = -4 * time.Minute
	h.wants("a late clock", p.verify(p.code(0)), identity.ErrCode)
	h.wants("one code twice", h.ResyncMFADevice(ctx, ours, "alice", p.serial, p.code(0), p.code(0)), identity.ErrCode)
	h.ok(h.ResyncMFADevice(ctx, ours, "alice", p.serial, p.code(-1), p.code(0)))
	h.wants("the code it was synchronized with", p.verify(p.code(0)), identity.ErrCode)
	p.later(2)
	h.ok(p.verify(p.code(0)))
	// Back in time are only codes that were used, or passed over.
	h.wants("used codes", h.ResyncMFADevice(ctx, ours, "alice", p.serial, p.code(-1), p.code(0)), identity.ErrCode)
	p.ahead = time.Hour
	h.wants("an hour ahead", h.ResyncMFADevice(ctx, ours, "alice", p.serial, p.code(-1), p.code(0)), identity.ErrCode)
}

// TestMFAOnce: of many who use one code at once, one is let in.
func TestMFAOnce(t *testing.T) {
	h := newHouse(t)
	p := h.phone("phone")
	h.ok(p.enable("alice"))
	p.later(2)
	alice, code := h.alice(), p.code(0)
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for n := range 8 {
		d := h.Directory
		if n%2 == 1 {
			d = h.other
		}
		wg.Go(func() {
			err := d.VerifyMFA(t.Context(), alice, p.serial, code)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				in++
			} else if !errors.Is(err, identity.ErrCode) && !errors.Is(err, identity.ErrConcurrent) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if in != 1 {
		t.Errorf("%d were let in", in)
	}
}

// TestMFAUnderneath: who deletes, alters or exchanges records gets no MFA.
func TestMFAUnderneath(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.phone("phone")
	h.ok(p.enable("alice"))
	bob := h.user("bob")
	q := h.phone("of-bob")
	h.ok(q.enable("bob"))
	p.later(2)
	owner := "v1/mfaof/" + h.alice().EntityID
	h.damage(t, owner)
	h.wants("an altered list", p.verify(p.code(0)), record.ErrTampered)
	h.wants("deleting alice then", h.DeleteUser(ctx, ours, "alice"), identity.ErrConflict) // her access key
	h.remove(t, owner)
	h.wants("a deleted list", p.verify(p.code(0)), identity.ErrNotFound)
	h.damage(t, "v1/mfa/"+ours+"/phone")
	h.wants("an altered device", p.verify(p.code(0)), record.ErrTampered)

	// A user made anew is somebody else.
	h.remove(t, "v1/user/"+ours+"/bob")
	h.remove(t, "v1/uid/"+bob.ID)
	h.user("bob")
	if list, err := h.UserMFADevices(ctx, ours, "bob"); err != nil || len(list) != 0 {
		t.Errorf("a namesake has %+v, %v", list, err)
	}
	h.wants("a namesake", h.VerifyMFA(ctx, h.caller(h.accessKey("bob"), ""), q.serial, q.code(0)), identity.ErrNotFound)
	h.ok(h.DeleteMFADevice(ctx, q.serial)) // whose user is gone
}
