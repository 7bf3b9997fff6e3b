package keyring_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

const usePrefix = "v1/use/" + account + "/" + region + "/"

// useOf returns a use at a time after the start; its event id begins with n.
func useOf(operation string, after time.Duration, n byte) keyring.Use {
	return keyring.Use{Operation: operation, Time: start.Add(after), EventID: [16]byte{n, 1}, RequestID: fmt.Sprint("request-", n)}
}

// lastUse returns what u knows of a key.
func (g *rig) lastUse(t testing.TB, u *keyring.Uses, id string) keyring.Use {
	t.Helper()
	last, err := u.Last(t.Context(), g.mustOpen(t, id, "kms:GetKeyLastUsage"))
	if err != nil {
		t.Fatalf("Last(%s): %v", id, err)
	}
	return last
}

func TestLastUse(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	other := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	here, there := keyring.NewUses(g.ring, keyring.UsesOptions{}), keyring.NewUses(g.ring, keyring.UsesOptions{})

	if last := g.lastUse(t, here, m.ID); !last.IsZero() || last != (keyring.Use{}) {
		t.Errorf("used before it was: %+v", last)
	}
	for i, tt := range []struct {
		name string
		use  keyring.Use
		want bool // it becomes the last one
	}{
		{"first", useOf("Encrypt", 0, 1), true},
		{"in the same second", useOf("Encrypt", 999*time.Millisecond, 2), false},
		{"by another operation", useOf("Decrypt", 500*time.Millisecond, 3), true},
		{"a second later", useOf("Decrypt", 1500*time.Millisecond, 4), true},
		{"late", useOf("Encrypt", 0, 5), false},
		{"no use", useOf("DescribeKey", 10*time.Second, 6), false},
		{"no operation", useOf("", 10*time.Second, 7), false},
		{"without an end", keyring.Use{Operation: "Sign", Time: start.Add(time.Hour), RequestID: strings.Repeat("x", 65)}, false},
		{"much later", useOf("GenerateDataKey", 2*time.Hour, 8), true},
		{"a minute late", useOf("Encrypt", 2*time.Hour-time.Minute, 9), false},
		{"after the clock was put back", useOf("Encrypt", time.Hour, 10), true},
	} {
		before := g.lastUse(t, here, m.ID)
		here.Note(m.ARN, tt.use)
		want := before
		if tt.want {
			want = tt.use
			want.Time = want.Time.Truncate(time.Second)
		}
		if last := g.lastUse(t, here, m.ID); last != want {
			t.Errorf("%d, %s: last used %+v, want %+v", i, tt.name, last, want)
		}
	}
	if last := g.lastUse(t, here, other.ID); !last.IsZero() {
		t.Errorf("another key was last used %+v", last)
	}

	// Others know once it is stored, once.
	want := g.lastUse(t, here, m.ID)
	if last := g.lastUse(t, there, m.ID); !last.IsZero() {
		t.Errorf("known elsewhere before it was stored: %+v", last)
	}
	here.Store(t.Context())
	if last := g.lastUse(t, there, m.ID); last != want {
		t.Errorf("elsewhere last used %+v, want %+v", last, want)
	}
	stored := raw(t, g.store, usePrefix)
	if len(stored) != 1 || stored[0].Key != usePrefix+m.ID {
		t.Fatalf("stored: %v", stored)
	}
	here.Store(t.Context())
	if again := raw(t, g.store, usePrefix); again[0].Rev != stored[0].Rev || here.Noted() != 0 {
		t.Errorf("stored anew, from revision %d to %d; %d keys are noted", stored[0].Rev, again[0].Rev, here.Noted())
	}
	if last := g.lastUse(t, here, m.ID); last != want {
		t.Errorf("once forgotten, last used %+v, want %+v", last, want)
	}
}

// Of two nodes, the one that saw the later use is right.
func TestUsesOfNodes(t *testing.T) {
	now := start
	g := newRig(t, nil, keyring.Options{Now: func() time.Time { return now }})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	one, two := keyring.NewUses(g.ring, keyring.UsesOptions{}), keyring.NewUses(g.ring, keyring.UsesOptions{})
	now = start.Add(time.Hour)
	earlier, later := useOf("Encrypt", 30*time.Minute, 1), useOf("Decrypt", 40*time.Minute, 2)
	one.Note(m.ARN, earlier)
	two.Note(m.ARN, later)
	two.Store(t.Context())
	one.Store(t.Context())
	fresh := keyring.NewUses(g.ring, keyring.UsesOptions{})
	for i, u := range []*keyring.Uses{one, two, fresh} {
		if last, err := u.Last(t.Context(), g.openAt(t, m.ID, now)); err != nil || last != later {
			t.Errorf("node %d: last used %+v, %v, want %+v", i, last, err, later)
		}
	}
	one.Store(t.Context())
	if one.Noted() != 0 {
		t.Error("a use that came second is not forgotten")
	}
	// The clock was put back by half an hour: what is stored is to come.
	now = start.Add(10 * time.Minute)
	back := useOf("Encrypt", 10*time.Minute, 3)
	one.Note(m.ARN, back)
	if last, err := one.Last(t.Context(), g.openAt(t, m.ID, now)); err != nil || last != back {
		t.Errorf("after the clock was put back, last used %+v, want %+v (%v)", last, back, err)
	}
	one.Store(t.Context())
	if last := g.lastUse(t, fresh, m.ID); last != back {
		t.Errorf("after the clock was put back, last stored %+v, want %+v", last, back)
	}
}

// openAt opens a key for kms:GetKeyLastUsage, at a time.
func (g *rig) openAt(t testing.TB, id string, at time.Time) keyring.Key {
	t.Helper()
	c := newCall()
	c.Time = at
	s, err := g.ring.Find(t.Context(), account, region, id)
	if err != nil {
		t.Fatal(err)
	}
	k, err := g.ring.Open(t.Context(), c, permit(t, c, "kms:GetKeyLastUsage", s.Resource()))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Every operation that uses a key can be stored.
func TestUseOperations(t *testing.T) {
	if n := len(keyring.UseOperations()); n != 14 {
		t.Errorf("%d operations use a key, want 14", n)
	}
	for _, operation := range keyring.UseOperations() {
		if !keyring.IsUse(operation) {
			t.Errorf("%s is no use", operation)
		}
		u := useOf(operation, 0, 1)
		if got, err := keyring.DecodeUseRecord(keyring.AppendUseRecord(nil, &u)); err != nil || got != u {
			t.Errorf("%+v comes back as %+v, %v", u, got, err)
		}
	}
	for _, operation := range []string{"", "GetPublicKey", "GenerateRandom", "CreateGrant", "decrypt"} {
		if keyring.IsUse(operation) {
			t.Errorf("%q is a use", operation)
		}
	}
	u := keyring.Use{EventID: [16]byte{0: 0x2c, 1: 0xfd, 6: 0x43, 8: 0xad, 15: 0x8b}}
	if got, want := u.Event(), "2cfd0000-0000-4300-ad00-00000000008b"; got != want {
		t.Errorf("Event() = %s, want %s", got, want)
	}
}

// useRecord is a record of version 1: that it can be read must not change.
const useRecord = "01" + "03" + "808ce9ef9f34" + "2cfd5892ea8c43422d494b9594b06a8b" + "03" + "726964"

func FuzzUseRecord(f *testing.F) {
	b, err := hex.DecodeString(useRecord)
	if err != nil {
		f.Fatal(err)
	}
	u, err := keyring.DecodeUseRecord(b)
	if want := (keyring.Use{
		Operation: "Encrypt", Time: start, RequestID: "rid",
		EventID: [16]byte{0x2c, 0xfd, 0x58, 0x92, 0xea, 0x8c, 0x43, 0x42, 0x2d, 0x49, 0x4b, 0x95, 0x94, 0xb0, 0x6a, 0x8b},
	}); err != nil || u != want {
		f.Fatalf("%+v, %v, want %+v", u, err, want)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add(append(bytes.Clone(b), 0))
	f.Add([]byte{1, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := keyring.DecodeUseRecord(b)
		if err != nil {
			return
		}
		if again := keyring.AppendUseRecord(nil, &u); !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as %x", b, again)
		}
		if len(u.Event()) != 36 {
			t.Fatalf("%q is no UUID", u.Event())
		}
	})
}

func TestUnused(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name    string
		since   time.Duration // when uses began to be kept, after the key was made; 0: before
		used    time.Duration // 0: never
		now     time.Duration
		certain time.Duration // 0: the clock is believed
		want    int           // days
		tracked time.Duration // since when uses are kept, after the key was made
	}{
		{"never used", 0, 0, 30 * day, 0, 30, 0},
		{"not quite a day", 0, 0, day - 1, 0, 0, 0},
		{"never since uses are kept", 10 * day, 0, 30 * day, 0, 20, 10 * day},
		{"used", 0, 5 * day, 30*day + 23*time.Hour, 0, 25, 0},
		{"used since uses are kept", 10 * day, 15 * day, 30 * day, 0, 15, 10 * day},
		{"just now", 0, 30 * day, 30 * day, 0, 0, 0},
		{"in a time to come", 0, 33 * day, 30 * day, 0, 0, 0},
		{"before it was made", 0, 0, -3 * day, 0, 0, 0},
		{"the clock has jumped ahead", 0, 5 * day, 300 * day, 6 * day, 1, 0},
		{"the clock is late", 0, 5 * day, 6 * day, 300 * day, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := start
			o := keyring.Options{Now: func() time.Time { return now }}
			g := newRig(t, nil, o)
			var options keyring.UsesOptions
			if tt.certain != 0 {
				options.Certain = func() time.Time { return start.Add(tt.certain) }
			}
			u := keyring.NewUses(g.ring, options)
			begin := func() {
				if err := u.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if tt.since == 0 {
				begin()
			}
			now = now.Add(time.Minute) // the key is younger
			m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			if !m.Created.Equal(start) {
				t.Fatalf("made at %v", m.Created) // by the clock of the call
			}
			if tt.since != 0 {
				now = start.Add(tt.since)
				begin()
			}
			if tt.used != 0 {
				u.Note(m.ARN, keyring.Use{Operation: "Decrypt", Time: start.Add(tt.used)})
			}
			s, err := g.ring.Find(t.Context(), account, region, m.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"noted", "stored", "forgotten"} {
				if got, err := u.Unused(t.Context(), s, start.Add(tt.now)); err != nil || got != tt.want {
					t.Errorf("%s: unused for %d days, %v, want %d", when, got, err, tt.want)
				}
				u.Store(t.Context())
			}
			if got := u.Since(m); !got.Equal(start.Add(tt.tracked)) {
				t.Errorf("uses are kept since %v, want %v", got, start.Add(tt.tracked))
			}
		})
	}
}

// Since when uses are kept stays, and is known to all nodes.
func TestUsesBegin(t *testing.T) {
	now := start
	options := keyring.Options{Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
	g := newRig(t, nil, options)
	old := &keyring.Metadata{Created: start.Add(-time.Hour)}
	since := func() time.Time {
		t.Helper()
		u := keyring.NewUses(g.ring, keyring.UsesOptions{})
		if got := u.Since(old); got != old.Created {
			t.Errorf("before it began, uses are kept since %v, want %v", got, old.Created)
		}
		if err := u.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		return u.Since(old)
	}
	first := since()
	now = start.Add(time.Hour)
	if again := since(); first != start || again != first {
		t.Errorf("since %v and then since %v, want %v", first, again, start)
	}
	// What was altered makes it now: keys count as used more recently, not less.
	const key = "v1/sys/uses"
	kvs := raw(t, g.store, key)
	if len(kvs) != 1 {
		t.Fatalf("%d records", len(kvs))
	}
	if _, ok, err := g.store.Commit(t.Context(), nil, []store.Op{{Key: key, Val: append(kvs[0].Val, 0)}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := since(); got != now {
		t.Errorf("altered, it is since %v, want %v", got, now)
	}
}

// A key that is destroyed takes its last use along, and it does not come back.
func TestLastUseOfDestroyedKey(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		t.Run(fmt.Sprint("damaged ", damaged), func(t *testing.T) {
			g := newRig(t, nil, keyring.Options{Log: slog.New(slog.DiscardHandler)})
			m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			other := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			u := keyring.NewUses(g.ring, keyring.UsesOptions{})
			u.Note(m.ARN, useOf("Decrypt", 0, 1))
			u.Note(other.ARN, useOf("Decrypt", 0, 2))
			u.Store(t.Context())
			if n := len(raw(t, g.store, usePrefix)); n != 2 {
				t.Fatalf("%d uses are stored", n)
			}
			if damaged {
				alter(t, g.store, usePrefix+m.ID)
				g.watched(t)
			}
			u.Note(m.ARN, useOf("Decrypt", time.Second, 3))
			due, err := g.mustOpen(t, m.ID, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), 7*24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.ring.RunDue(t.Context(), due); err != nil {
				t.Fatal(err)
			}
			u.Store(t.Context())
			left := raw(t, g.store, usePrefix)
			if len(left) != 1 || left[0].Key != usePrefix+other.ID {
				t.Errorf("left are %v", left)
			}
			u.Store(t.Context())
			if u.Noted() != 0 {
				t.Error("a key that is gone is still noted")
			}
		})
	}
}

// alter changes a byte of what stands at a key.
func alter(t testing.TB, st store.Store, key string) {
	t.Helper()
	kvs := raw(t, st, key)
	if len(kvs) != 1 {
		t.Fatalf("%d records at %s", len(kvs), key)
	}
	value := bytes.Clone(kvs[0].Val)
	value[len(value)-1] ^= 1
	if _, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: key, Val: value}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

// A record that was altered says nothing: the key counts as used now. The next
// use makes it anew.
func TestUsesAltered(t *testing.T) {
	g := newRig(t, nil, keyring.Options{Log: slog.New(slog.DiscardHandler)})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	noting := keyring.NewUses(g.ring, keyring.UsesOptions{})
	noting.Note(m.ARN, useOf("Decrypt", 0, 1))
	noting.Store(t.Context())
	noting.Store(t.Context())
	alter(t, g.store, usePrefix+m.ID)
	g.watched(t)

	s, err := g.ring.Find(t.Context(), account, region, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	later := start.Add(1000 * time.Hour)
	if got, err := noting.Unused(t.Context(), s, later); err != nil || got != 0 {
		t.Errorf("unused for %d days, %v, want 0", got, err)
	}
	if last, err := noting.Last(t.Context(), g.mustOpen(t, m.ID, "kms:GetKeyLastUsage")); !errors.Is(err, record.ErrTampered) {
		t.Errorf("last used %+v, %v, want %v", last, err, record.ErrTampered)
	}
	use := useOf("Encrypt", time.Hour, 2)
	noting.Note(m.ARN, use)
	for _, when := range []string{"noted", "stored", "forgotten"} {
		if last := g.lastUse(t, noting, m.ID); last != use {
			t.Errorf("%s: last used %+v, want %+v", when, last, use)
		}
		if got, err := noting.Unused(t.Context(), s, later); err != nil || got != 41 {
			t.Errorf("%s: unused for %d days, %v, want 41", when, got, err)
		}
		noting.Store(t.Context())
	}
}

// What cannot be stored because of damaged records keeps nothing else from being
// stored, and names of no key do no harm.
func TestUsesBesideDamage(t *testing.T) {
	var log bytes.Buffer
	g := newRig(t, nil, keyring.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	var ids []string
	for range keyring.UseBatch + 10 {
		m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
		ids = append(ids, m.ID)
		u.Note(m.ARN, useOf("VerifyMac", 0, 1))
	}
	for _, none := range []string{
		"", "junk", arn.Alias(region, account, "alias/a"), arn.Key(region, account, "alias/a"),
		arn.Key(region, account, strings.Repeat("0", 8)+"-0000-0000-0000-"+strings.Repeat("0", 12)), "arn:aws:kms:::key/",
	} {
		u.Note(none, useOf("Decrypt", 0, 1))
	}
	for _, id := range ids[:12] {
		alter(t, g.store, "v1/key/"+account+"/"+region+"/"+id)
	}
	g.watched(t)
	u.Store(t.Context())
	if n := len(raw(t, g.store, usePrefix)); n != len(ids)-12 {
		t.Errorf("%d uses are stored of %d", n, len(ids)-12)
	}
	u.Store(t.Context()) // nothing is new, and nothing is told again
	if n := strings.Count(log.String(), "when a key was last used is not stored"); n != 12 {
		t.Errorf("%d lines tell of it:\n%s", n, log.String())
	}
	if u.Noted() != 0 {
		t.Errorf("%d keys are still noted", u.Noted())
	}
}

// Many uses go in one transaction; if it fails, they are stored the next time.
func TestUsesAreBatched(t *testing.T) {
	st := &faulty{Store: store.NewMem()}
	g := newRig(t, st, keyring.Options{Log: slog.New(slog.DiscardHandler)})
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	const keys = 2*keyring.UseBatch + 1
	var ids []string
	for range keys {
		m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
		ids = append(ids, m.ID)
		u.Note(m.ARN, useOf("VerifyMac", 0, 1))
	}
	before := st.commits.Load()
	u.Store(t.Context())
	if n := st.commits.Load() - before; n != 3 {
		t.Errorf("%d uses took %d transactions, want 3", keys, n)
	}
	if n := len(raw(t, st, usePrefix)); n != keys {
		t.Errorf("%d uses are stored of %d", n, keys)
	}
	// One commit fails, and then each of its uses is stored alone.
	for _, id := range ids {
		u.Note(arn.Key(region, account, id), useOf("VerifyMac", time.Second, 2))
	}
	st.fail.Store(st.commits.Load() + 2)
	u.Store(t.Context())
	for _, id := range ids {
		if last := g.lastUse(t, keyring.NewUses(g.ring, keyring.UsesOptions{}), id); last.EventID[0] != 2 {
			t.Errorf("%s: last used %+v", id, last)
		}
	}
	// All fail: they are tried again.
	u.Note(arn.Key(region, account, ids[0]), useOf("VerifyMac", 2*time.Second, 3))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	u.Store(over)
	if last := g.lastUse(t, keyring.NewUses(g.ring, keyring.UsesOptions{}), ids[0]); last.EventID[0] != 2 {
		t.Errorf("stored after the end: %+v", last)
	}
	u.Store(t.Context())
	if last := g.lastUse(t, keyring.NewUses(g.ring, keyring.UsesOptions{}), ids[0]); last.EventID[0] != 3 {
		t.Errorf("last used %+v", last)
	}
}

// Whatever happens to a key while its use is stored: its last use is known, and
// goes with it.
func TestUsesOfChangingKeys(t *testing.T) {
	st := &changing{Store: store.NewMem()}
	g := newRig(t, st, keyring.Options{})
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	var ids []string
	for range 5 {
		m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
		ids = append(ids, m.ID)
		u.Note(m.ARN, useOf("VerifyMac", 0, 1))
	}
	const changed, used, destroyed = 2, 3, 4
	later := useOf("GenerateMac", time.Second, 2)
	st.before = func() {
		if err := g.mustOpen(t, ids[changed], "kms:UpdateKeyDescription").SetDescription(t.Context(), "new"); err != nil {
			t.Error(err)
		}
		u.Note(arn.Key(region, account, ids[used]), later)
		due, err := g.mustOpen(t, ids[destroyed], "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), time.Hour)
		if err == nil {
			err = g.ring.RunDue(t.Context(), due)
		}
		if err != nil {
			t.Error(err)
		}
	}
	u.Store(t.Context())
	if st.before != nil {
		t.Fatal("nothing was stored")
	}
	if last := g.lastUse(t, u, ids[used]); last != later {
		t.Errorf("used while it was stored, last used %+v, want %+v", last, later)
	}
	u.Store(t.Context())
	for i, id := range ids[:destroyed] {
		want := useOf("VerifyMac", 0, 1)
		if i == used {
			want = later
		}
		if last := g.lastUse(t, keyring.NewUses(g.ring, keyring.UsesOptions{}), id); last != want {
			t.Errorf("%d: last used %+v, want %+v", i, last, want)
		}
	}
	if left := raw(t, st, usePrefix+ids[destroyed]); len(left) != 0 || u.Noted() != 0 {
		t.Errorf("of a key that was destroyed meanwhile, %v is left; %d keys are noted", left, u.Noted())
	}
}

// A later use is not forgotten with the one that is stored, and a key that
// changes again and again gets its use stored all the same.
func TestUseOfBusyKey(t *testing.T) {
	st := &changing{Store: store.NewMem()}
	g := newRig(t, st, keyring.Options{})
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	first, later := useOf("VerifyMac", 0, 1), useOf("GenerateMac", time.Second, 2)
	u.Note(m.ARN, first)
	st.before = func() { u.Note(m.ARN, later) }
	u.Store(t.Context())
	if last := g.lastUse(t, u, m.ID); last != later || u.Noted() != 1 {
		t.Errorf("used while it was stored, last used %+v, want %+v; %d keys are noted", last, later, u.Noted())
	}
	n := 0
	var change func()
	change = func() {
		if n++; n < 3 {
			st.before = change
		}
		if err := g.mustOpen(t, m.ID, "kms:UpdateKeyDescription").SetDescription(t.Context(), fmt.Sprint(n)); err != nil {
			t.Error(err)
		}
	}
	st.before = change
	u.Store(t.Context())
	if last := g.lastUse(t, keyring.NewUses(g.ring, keyring.UsesOptions{}), m.ID); n != 3 || last != later {
		t.Errorf("changed %d times, last used %+v, want %+v", n, last, later)
	}
}

// changing is a store that does something before the next commit of a use.
type changing struct {
	store.Store
	before func()
}

func (c *changing) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if c.before != nil && len(ops) > 0 && strings.HasPrefix(ops[0].Key, "v1/use/") {
		f := c.before
		c.before = nil
		f()
	}
	return c.Store.Commit(ctx, conds, ops)
}

// Where there is no room, storing makes some, at once.
func TestUsesRoom(t *testing.T) {
	told := &teller{of: "not_noted", heard: make(chan struct{})}
	g := newRig(t, nil, keyring.Options{Log: slog.New(slog.NewTextHandler(told, nil))})
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	u.LimitNoted(1)
	for range 3 * keyring.UseShards {
		u.Note(g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC).ARN, useOf("VerifyMac", 0, 1))
	}
	noted := u.Noted()
	if noted == 0 || noted > keyring.UseShards {
		t.Fatalf("%d keys are noted, want up to %d", noted, keyring.UseShards)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.Keep(ctx, time.Hour, time.Minute)
	}()
	<-told.heard // long before the hour is over
	stop()
	<-done // what is left is stored at the end
	if n := len(raw(t, g.store, usePrefix)); n != noted {
		t.Errorf("%d uses are stored of %d", n, noted)
	}
}

// teller is a log that tells when something is written to it.
type teller struct {
	of    string
	heard chan struct{}
	once  sync.Once
}

func (l *teller) Write(b []byte) (int, error) {
	if strings.Contains(string(b), l.of) {
		l.once.Do(func() { close(l.heard) })
	}
	return len(b), nil
}

// However many note uses while they are stored, the last one is known.
func TestUsesAtOnce(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	ids := []string{
		g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC).ID, g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC).ID,
	}
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	const each = 300
	var work, storing sync.WaitGroup
	over := make(chan struct{})
	storing.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				u.Store(t.Context())
			}
		}
	})
	for w := range 4 {
		work.Go(func() {
			for i := range each {
				for _, id := range ids {
					// Each second is noted by two, and no more than a minute late.
					u.Note(arn.Key(region, account, id), useOf("VerifyMac", time.Duration(i)*time.Millisecond*100, byte(w)))
				}
			}
		})
	}
	work.Wait()
	close(over)
	storing.Wait()
	want := start.Add((each - 1) * 100 * time.Millisecond).Truncate(time.Second)
	for _, id := range ids {
		if last := g.lastUse(t, u, id); !last.Time.Equal(want) {
			t.Errorf("last used at %v, want %v", last.Time, want)
		}
	}
	u.Store(t.Context())
	u.Store(t.Context())
	for _, id := range ids {
		if last := g.lastUse(t, u, id); !last.Time.Equal(want) || u.Noted() != 0 {
			t.Errorf("stored: last used at %v, want %v; %d keys are noted", last.Time, want, u.Noted())
		}
	}
}

// Who has no permit for it learns nothing.
func TestLastUsePermit(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	u.Note(m.ARN, useOf("VerifyMac", 0, 1))
	for _, action := range []string{"kms:DescribeKey", "kms:VerifyMac", "kms:ScheduleKeyDeletion"} {
		if last, err := u.Last(t.Context(), g.mustOpen(t, m.ID, action)); !errors.Is(err, authz.ErrNoPermit) || !last.IsZero() {
			t.Errorf("under %s: %+v, %v", action, last, err)
		}
	}
}
