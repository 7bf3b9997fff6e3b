package keyring_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/secret"
)

func TestCreate(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	c := newCall()
	c.Time = start.Add(1234567 * time.Nanosecond)
	m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
		Account: account, Region: region, Spec: keyring.ECCNISTP256, Usage: keyring.SignVerify,
		Description: "für alle", Tags: []keyring.Tag{{Key: "b", Value: "2"}, {Key: "a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := g.mustOpen(t, m.ID, "kms:DescribeKey").Metadata()
	for name, pair := range map[string][2]any{
		"ARN":         {got.ARN, "arn:aws:kms:" + region + ":" + account + ":key/" + m.ID},
		"Account":     {got.Account, account},
		"Region":      {got.Region, region},
		"State":       {got.State, keyring.Enabled},
		"Description": {got.Description, "für alle"},
		"Tags":        {fmt.Sprint(got.Tags), "[{b 2} {a }]"},
		"Created":     {got.Created, start.Add(time.Millisecond)},
		"Deletion":    {got.Deletion, time.Time{}},
		"Aliases":     {got.Aliases, 0},
		"Revision":    {got.Revision, m.Revision},
		"MaterialID":  {len(got.MaterialID), 64},
		"what Create returned": {
			fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", *m),
		},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s = %v, want %v", name, pair[0], pair[1])
		}
	}
	var policy struct {
		ID        string `json:"Id"`
		Statement []struct {
			Sid       string
			Principal struct{ AWS string }
		}
	}
	if err := json.Unmarshal([]byte(got.Policy), &policy); err != nil {
		t.Fatal(err)
	}
	if policy.ID != "key-default-1" || policy.Statement[0].Sid != "Enable IAM User Permissions" || policy.Statement[0].Principal.AWS != "arn:aws:iam::"+account+":root" {
		t.Errorf("policy: %s", got.Policy)
	}
	if p := keyring.DefaultPolicy("cn-north-1", account); !strings.Contains(p, `"arn:aws-cn:iam::`+account+`:root"`) {
		t.Errorf("policy in aws-cn: %s", p)
	}
}

func TestCreateRefuses(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	const id = "11111111-1111-4111-8111-111111111111"
	g.seed(t, id, keyring.SymmetricDefault, keyring.EncryptDecrypt, make([]byte, 32))
	good := keyring.CreateParams{Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt}
	p256, _, err := keyring.GeneratePair(keyring.ECCNISTP256)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(*keyring.CreateParams)
		want error
	}{
		{"taken id", func(p *keyring.CreateParams) { p.ID = id }, keyring.ErrExists},
		{"bad id", func(p *keyring.CreateParams) { p.ID = "x/y" }, keyring.ErrParameter},
		{"id in upper case", func(p *keyring.CreateParams) { p.ID = "AAAAAAAA-1111-4111-8111-111111111111" }, keyring.ErrParameter},
		{"account", func(p *keyring.CreateParams) { p.Account = "1" }, keyring.ErrParameter},
		{"region", func(p *keyring.CreateParams) { p.Region = "a/b" }, keyring.ErrParameter},
		{"usage", func(p *keyring.CreateParams) { p.Usage = keyring.SignVerify }, keyring.ErrParameter},
		{"spec", func(p *keyring.CreateParams) { p.Spec = "SM4" }, keyring.ErrParameter},
		{"51 tags", func(p *keyring.CreateParams) { p.Tags = make([]keyring.Tag, 51) }, keyring.ErrTooManyTags},
		{"description", func(p *keyring.CreateParams) { p.Description = "\xff" }, keyring.ErrParameter},
		{"short material", func(p *keyring.CreateParams) { p.Material = secret.New(make([]byte, 31)) }, keyring.ErrParameter},
		{"empty material", func(p *keyring.CreateParams) { p.Material = secret.New([]byte{}) }, keyring.ErrParameter},
		{"material that is no key", func(p *keyring.CreateParams) {
			p.Spec, p.Usage, p.Material = keyring.RSA2048, keyring.SignVerify, secret.New(make([]byte, 32))
		}, keyring.ErrParameter},
		{"material of another spec", func(p *keyring.CreateParams) {
			p.Spec, p.Usage, p.Material = keyring.ECCNISTP384, keyring.SignVerify, secret.New(p256)
		}, keyring.ErrParameter},
	} {
		p := good
		tt.edit(&p)
		if m, err := g.ring.Create(t.Context(), nil, authz.System("seed").Permit("kms:CreateKey", authz.Resource{ARN: "*", Account: p.Account}), p); !errors.Is(err, tt.want) || m != nil {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if keys := g.keys(t, "", 10); len(keys) != 1 {
		t.Errorf("keys after it: %v", keys)
	}
}

// keys lists one page of keys.
func (g *rig) keys(t testing.TB, after string, limit int) []string {
	t.Helper()
	c := newCall()
	entries, more, err := g.ring.Keys(t.Context(), c, permit(t, c, "kms:ListKeys", anyResource()), account, region, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range entries {
		if e.ARN != "arn:aws:kms:"+region+":"+account+":key/"+e.ID {
			t.Errorf("ARN of %s: %s", e.ID, e.ARN)
		}
		ids = append(ids, e.ID)
	}
	if more {
		ids = append(ids, "…")
	}
	return ids
}

// aliases lists one page of aliases, as name → the first 2 digits of the key.
func (g *rig) aliases(t testing.TB, keyID, after string, limit int) string {
	t.Helper()
	c := newCall()
	as, more, err := g.ring.Aliases(t.Context(), c, permit(t, c, "kms:ListAliases", anyResource()), account, region, keyID, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range as {
		if a.ARN != "arn:aws:kms:"+region+":"+account+":"+a.Name || a.Created.IsZero() || a.Updated.Before(a.Created) {
			t.Errorf("alias %+v", a)
		}
		out = append(out, strings.TrimPrefix(a.Name, "alias/")+a.TargetID[:1])
	}
	if more {
		out = append(out, "…")
	}
	return strings.Join(out, " ")
}

func TestKeysInPages(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)
		g.seed(t, id, keyring.SymmetricDefault, keyring.EncryptDecrypt, make([]byte, 32))
		want = append(want, id)
	}
	// Neighbours that must not show.
	for _, at := range [][2]string{{account, "eu-central-2"}, {account, "eu-central"}, {"111122223334", region}, {"011122223333", region}} {
		_, err := g.ring.Create(t.Context(), nil, authz.System("seed").Permit("kms:CreateKey", authz.Resource{ARN: "*", Account: at[0]}),
			keyring.CreateParams{Account: at[0], Region: at[1], Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []int{1, 7, 24, 25, 26, 1000} {
		var got []string
		for after := ""; ; {
			page := g.keys(t, after, limit)
			more := len(page) > 0 && page[len(page)-1] == "…"
			page = slices.DeleteFunc(page, func(s string) bool { return s == "…" })
			if len(page) > limit {
				t.Fatalf("page of %d has %d", limit, len(page))
			}
			got = append(got, page...)
			if !more {
				break
			}
			after = page[len(page)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
	if got := g.keys(t, "zzz", 5); len(got) != 0 {
		t.Errorf("after the last: %v", got)
	}
	c := newCall()
	for _, limit := range []int{0, -1, 1001} {
		if _, _, err := g.ring.Keys(t.Context(), c, permit(t, c, "kms:ListKeys", anyResource()), account, region, "", limit); !errors.Is(err, keyring.ErrParameter) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

func TestTagsAndDescription(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	tag := func(tags ...keyring.Tag) error { return g.mustOpen(t, m.ID, "kms:TagResource").Tag(t.Context(), tags) }
	want := func(text string) {
		t.Helper()
		if got := fmt.Sprint(g.mustOpen(t, m.ID, "kms:ListResourceTags").Metadata().Tags); got != text {
			t.Errorf("tags %s, want %s", got, text)
		}
	}
	if err := tag(keyring.Tag{Key: "b", Value: "1"}, keyring.Tag{Key: "a", Value: "1"}); err != nil {
		t.Fatal(err)
	}
	want("[{b 1} {a 1}]")
	if err := tag(keyring.Tag{Key: "a", Value: "2"}, keyring.Tag{Key: "A", Value: "3"}); err != nil {
		t.Fatal(err)
	}
	want("[{b 1} {a 2} {A 3}]")
	rev := g.mustOpen(t, m.ID, "kms:DescribeKey").Metadata().Revision
	if err := tag(keyring.Tag{Key: "a", Value: "2"}); err != nil {
		t.Fatal(err)
	}
	if err := g.mustOpen(t, m.ID, "kms:UntagResource").Untag(t.Context(), []string{"nobody"}); err != nil {
		t.Fatal(err)
	}
	if err := g.mustOpen(t, m.ID, "kms:EnableKey").Enable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := g.mustOpen(t, m.ID, "kms:DescribeKey").Metadata().Revision; now != rev {
		t.Error("what changes nothing wrote the record")
	}
	if err := g.mustOpen(t, m.ID, "kms:UntagResource").Untag(t.Context(), []string{"b", "A", "x"}); err != nil {
		t.Fatal(err)
	}
	want("[{a 2}]")
	var many []keyring.Tag
	for i := range 50 {
		many = append(many, keyring.Tag{Key: fmt.Sprint("t", i), Value: ""})
	}
	if err := tag(many...); !errors.Is(err, keyring.ErrTooManyTags) {
		t.Errorf("51 tags: %v, want ErrTooManyTags", err)
	}
	want("[{a 2}]")
	if err := tag(many[1:]...); err != nil {
		t.Errorf("50 tags: %v", err)
	}
	if err := g.mustOpen(t, m.ID, "kms:UpdateKeyDescription").SetDescription(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if d := g.mustOpen(t, m.ID, "kms:DescribeKey").Metadata().Description; d != "x" {
		t.Errorf("description %q", d)
	}
}

func TestAliases(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	one := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.SymmetricDefault, keyring.EncryptDecrypt, make([]byte, 32)).ID
	two := g.seed(t, "22222222-2222-4222-8222-222222222222", keyring.SymmetricDefault, keyring.EncryptDecrypt, make([]byte, 32)).ID
	mac := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC).ID
	for _, name := range []string{"alias/b", "alias/a/1", "alias/c"} {
		if err := g.createAlias(t, one, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.createAlias(t, two, "alias/b"); !errors.Is(err, keyring.ErrExists) {
		t.Errorf("a name that is taken: %v, want ErrExists", err)
	}
	if err := g.createAlias(t, two, "alias/d"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "alias/", "b", "alias/" + strings.Repeat("x", 251)} {
		if err := g.createAlias(t, one, name); !errors.Is(err, keyring.ErrParameter) {
			t.Errorf("CreateAlias(%q): %v", name, err)
		}
		if _, err := g.ring.FindAlias(t.Context(), account, region, name); !errors.Is(err, keyring.ErrNotFound) {
			t.Errorf("FindAlias(%q): %v", name, err)
		}
	}
	if got, want := g.aliases(t, "", "", 10), "a/11 b1 c1 d2"; got != want {
		t.Errorf("aliases: %s, want %s", got, want)
	}
	if got, want := g.aliases(t, "", "alias/a/1", 2), "b1 c1 …"; got != want {
		t.Errorf("second page: %s, want %s", got, want)
	}
	if got, want := g.aliases(t, one, "alias/b", 2), "c1"; got != want {
		t.Errorf("aliases of one after b: %s, want %s", got, want)
	}
	s, err := g.ring.FindAlias(t.Context(), account, region, "alias/b")
	if err != nil || s.ID() != one {
		t.Fatalf("FindAlias = %v, %v", s, err)
	}

	move := func(name, from, to string) error {
		s1, err := g.ring.Find(t.Context(), account, region, from)
		if err != nil {
			t.Fatal(err)
		}
		s2, err := g.ring.Find(t.Context(), account, region, to)
		if err != nil {
			t.Fatal(err)
		}
		c := newCall()
		c.Time = start.Add(time.Hour)
		k1, err := g.ring.Open(t.Context(), c, permit(t, c, "kms:UpdateAlias", s1.Resource()))
		if err != nil {
			t.Fatal(err)
		}
		k2, err := g.ring.Open(t.Context(), c, permit(t, c, "kms:UpdateAlias", s2.Resource()))
		if err != nil {
			t.Fatal(err)
		}
		return k1.UpdateAlias(t.Context(), g.aliasPermit(t, c, "kms:UpdateAlias", name), name, k2)
	}
	for _, tt := range []struct {
		name, from, to string
		want           error
		aliases        string
	}{
		{"alias/b", one, two, nil, "a/11 b2 c1 d2"},
		{"alias/b", one, two, keyring.ErrStale, "a/11 b2 c1 d2"},
		{"alias/b", two, two, nil, "a/11 b2 c1 d2"},
		{"alias/b", two, mac, keyring.ErrIncompatible, "a/11 b2 c1 d2"},
		{"alias/x", two, one, keyring.ErrNotFound, "a/11 b2 c1 d2"},
	} {
		if err := move(tt.name, tt.from, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("moving %s: %v, want %v", tt.name, err, tt.want)
		}
		if got := g.aliases(t, "", "", 10); got != tt.aliases {
			t.Errorf("aliases: %s, want %s", got, tt.aliases)
		}
	}
	if s, err := g.ring.FindAlias(t.Context(), account, region, "alias/b"); err != nil || s.ID() != two {
		t.Errorf("FindAlias after the move = %v, %v", s, err)
	}
	if got := g.aliases(t, two, "", 10); got != "b2 d2" {
		t.Errorf("aliases of two: %s", got)
	}
	c := newCall()
	as, _, err := g.ring.Aliases(t.Context(), c, permit(t, c, "kms:ListAliases", anyResource()), account, region, two, "", 1)
	if err != nil || !as[0].Created.Equal(start) || !as[0].Updated.Equal(start.Add(time.Hour)) {
		t.Errorf("dates of alias/b: %+v, %v", as, err)
	}

	remove := func(name, of string) error {
		k, c, err := g.open(t, of, "kms:DeleteAlias")
		if err != nil {
			t.Fatal(err)
		}
		return k.DeleteAlias(t.Context(), g.aliasPermit(t, c, "kms:DeleteAlias", name), name)
	}
	if err := remove("alias/b", one); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("deleting an alias of another key: %v, want ErrStale", err)
	}
	if err := remove("alias/b", two); err != nil {
		t.Error(err)
	}
	if err := remove("alias/b", two); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("deleting it again: %v, want ErrNotFound", err)
	}
	if _, err := g.ring.FindAlias(t.Context(), account, region, "alias/b"); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("FindAlias after it: %v", err)
	}
	for id, want := range map[string]int{one: 2, two: 1, mac: 0} {
		if n := g.mustOpen(t, id, "kms:DescribeKey").Metadata().Aliases; n != want {
			t.Errorf("key %s counts %d aliases, want %d", id, n, want)
		}
	}
	if _, err := g.mustOpen(t, one, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	var bad *keyring.StateError
	if err := move("alias/d", two, one); !errors.As(err, &bad) || bad.State != keyring.PendingDeletion {
		t.Errorf("moving an alias to a key that is pending deletion: %v", err)
	}
	if err := move("alias/c", one, two); err != nil {
		t.Errorf("moving an alias from a key that is pending deletion: %v", err)
	}
	if err := remove("alias/a/1", one); err != nil {
		t.Errorf("deleting an alias of a key that is pending deletion: %v", err)
	}
}

func TestAliasLimitIsExact(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	one := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	for i := range 45 {
		if err := g.createAlias(t, one, fmt.Sprint("alias/", i)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 8 {
		wg.Go(func() {
			for {
				err := g.createAlias(t, one, fmt.Sprint("alias/more", i))
				if errors.Is(err, keyring.ErrConflict) {
					continue
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made++
				} else if !errors.Is(err, keyring.ErrLimit) {
					t.Error(err)
				}
				return
			}
		})
	}
	wg.Wait()
	if made != 5 {
		t.Errorf("%d aliases made beyond 45, want 5", made)
	}
	if err := g.createAlias(t, one, "alias/3"); !errors.Is(err, keyring.ErrExists) {
		t.Errorf("a name that is taken, at the limit: %v, want ErrExists", err)
	}
}

func TestAliasPermits(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	k, c, err := g.open(t, m.ID, "kms:CreateAlias")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]authz.Permit{
		"zero":           {},
		"another alias":  g.aliasPermit(t, c, "kms:CreateAlias", "alias/b"),
		"another action": g.aliasPermit(t, c, "kms:DeleteAlias", "alias/a"),
		"another call":   g.aliasPermit(t, newCall(), "kms:CreateAlias", "alias/a"),
		"the key's":      permit(t, c, "kms:CreateAlias", anyResource()),
		"another account's": authz.System("test").Permit("kms:CreateAlias", authz.Resource{
			ARN: arn.Alias(region, account, "alias/a"), Account: "444455556666",
		}),
	} {
		if err := k.CreateAlias(t.Context(), p, "alias/a"); !errors.Is(err, authz.ErrNoPermit) {
			t.Errorf("%s: %v, want ErrNoPermit", name, err)
		}
	}
}

// Of changes at the same time none is lost.
func TestConcurrentChanges(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := keyring.Attempt(context.Background(), func() error {
				k, _, err := g.open(t, m.ID, "kms:TagResource")
				if err != nil {
					return err
				}
				return k.Tag(context.Background(), []keyring.Tag{{Key: fmt.Sprint(i), Value: ""}})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(g.mustOpen(t, m.ID, "kms:DescribeKey").Metadata().Tags); n != 20 {
		t.Errorf("%d tags, want 20", n)
	}
}

func TestAttempt(t *testing.T) { synctest.Test(t, testAttempt) }

func testAttempt(t *testing.T) {
	n := 0
	begun := time.Now()
	err := keyring.Attempt(t.Context(), func() error { n++; return fmt.Errorf("x: %w", keyring.ErrStale) })
	if took := time.Since(begun); !errors.Is(err, keyring.ErrConflict) || n < 300 || took < 10*time.Second || took > 11*time.Second {
		t.Errorf("always stale: %v after %d tries and %v", err, n, took)
	}
	n = 0
	if err := keyring.Attempt(t.Context(), func() error {
		if n++; n < 3 {
			return keyring.ErrStale
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("stale twice: %v after %d", err, n)
	}
	n = 0
	if err := keyring.Attempt(t.Context(), func() error { n++; return keyring.ErrNotFound }); !errors.Is(err, keyring.ErrNotFound) || n != 1 {
		t.Errorf("not found: %v after %d", err, n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := keyring.Attempt(ctx, func() error { return keyring.ErrStale }); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestKeysPerRegion(t *testing.T) {
	now := start
	g := newRig(t, nil, keyring.Options{KeysPerRegion: 3, Now: func() time.Time { return now }})
	create := func(region string) (*keyring.Metadata, error) {
		return g.ring.Create(t.Context(), nil, authz.System("seed").Permit("kms:CreateKey", anyResource()),
			keyring.CreateParams{Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt})
	}
	var m *keyring.Metadata
	for range 3 {
		var err error
		if m, err = create(region); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := create(region); !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("the fourth: %v, want ErrLimit", err)
	}
	if _, err := create("us-east-1"); err != nil {
		t.Errorf("in another Region: %v", err)
	}
	if _, err := g.mustOpen(t, m.ID, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := create(region); !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("with one pending deletion: %v, want ErrLimit", err)
	}
	if err := g.ring.RunDue(t.Context(), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := create(region); err != nil {
		t.Errorf("with one destroyed: %v", err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 8 {
		wg.Go(func() {
			if _, err := create("us-west-2"); err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made != 3 {
		t.Errorf("%d made at once, want 3", made)
	}
	now = now.Add(time.Minute)
	if _, err := create("us-west-2"); !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("after counting again: %v, want ErrLimit", err)
	}
}
