package identity_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/store"
)

// counting counts reads of a store, and can spoil commits.
type counting struct {
	store.Store
	gets  atomic.Int64
	spoil func(commit func() (store.Rev, bool, error)) (store.Rev, bool, error)
}

func (c *counting) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	commit := func() (store.Rev, bool, error) { return c.Store.Commit(ctx, conds, ops) }
	if c.spoil != nil && len(ops) > 0 {
		return c.spoil(commit)
	}
	return commit()
}

func (c *counting) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, key)
}

type fixture struct {
	*identity.Directory
	st *counting
	rs *record.Store
}

func open(t testing.TB) fixture {
	t.Helper()
	st := &counting{Store: store.NewMem()}
	box, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	// No heartbeat within a test, so that all reads of the store are its own.
	rs, err := record.Open(t.Context(), st, box, record.Options{Heartbeat: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rs.Close() })
	return fixture{identity.Open(rs, identity.Options{}), st, rs}
}

func (f fixture) bootstrap(t testing.TB, b identity.Bootstrap) identity.Installation {
	t.Helper()
	in, err := f.Bootstrap(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// remove deletes a record underneath.
func (f fixture) remove(t *testing.T, key string) {
	t.Helper()
	if kv, _, err := f.st.Get(t.Context(), key); err != nil || kv.Rev == 0 {
		t.Fatalf("no record at %s: %v", key, err)
	}
	if _, ok, err := f.st.Commit(t.Context(), nil, []store.Op{{Key: key}}); err != nil || !ok {
		t.Fatal(ok, err)
	}
}

func (f fixture) works(id string) error {
	p, k, err := f.Credential(context.Background(), id, "")
	if err == nil && (p == nil || k == nil) {
		return errors.New("no error and no credential")
	}
	return err
}

// eventually waits for the watch to bring a change that was made underneath.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s: not within a minute", what)
			return
		}
	}
}

func TestBootstrap(t *testing.T) {
	f := open(t)
	if _, err := f.Installation(t.Context()); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("Installation before the first start: %v", err)
	}
	in := f.bootstrap(t, identity.Bootstrap{})
	if !in.New || !regexp.MustCompile(`^[1-9][0-9]{11}$`).MatchString(in.Account) || !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(in.AccessKeyID) {
		t.Errorf("Bootstrap = %+v", in)
	}
	again := f.bootstrap(t, identity.Bootstrap{Account: in.Account})
	in.New = false
	if again != in {
		t.Errorf("second Bootstrap = %+v, want %+v", again, in)
	}
	_, err := f.Bootstrap(t.Context(), identity.Bootstrap{Account: "111122223333"})
	var h interface{ Hint() string }
	if err == nil || !errors.As(err, &h) {
		t.Errorf("Bootstrap for another account: %v, want an error with a hint", err)
	}

	a, err := f.Account(t.Context(), in.Account)
	if err != nil || !a.Management || a.Created.IsZero() {
		t.Errorf("Account = %+v, %v", a, err)
	}
	u, err := f.User(t.Context(), in.Account, "administrator")
	wantARN := "arn:aws:iam::" + in.Account + ":user/administrator"
	if err != nil || u.ARN != wantARN || !regexp.MustCompile(`^AIDA[A-Z2-7]{17}$`).MatchString(u.ID) ||
		fmt.Sprint(u.Policies) != "["+call.AdministratorAccess+"]" || fmt.Sprint(u.AccessKeys) != "["+in.AccessKeyID+"]" {
		t.Errorf("User = %+v, %v", u, err)
	}
	k, err := f.AccessKey(t.Context(), in.AccessKeyID)
	if err != nil || !k.Active || k.Secret.Len() != 40 {
		t.Errorf("AccessKey = %+v, %v", k, err)
	}
	p, _, err := f.Credential(t.Context(), in.AccessKeyID, "")
	if err != nil || p.Kind != call.User || p.Account != in.Account || p.ARN != wantARN || p.ID != u.ID || p.Name != "administrator" ||
		p.AccessKeyID != in.AccessKeyID || !administers(p) {
		t.Errorf("Credential = %+v, %v", p, err)
	}
}

func TestBootstrapGiven(t *testing.T) {
	f := open(t)
	in := f.bootstrap(t, identity.Bootstrap{Account: "000000000000", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: secret.New([]byte("test-secret"))})
	if in.Account != "000000000000" || in.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" {
		t.Errorf("Bootstrap = %+v", in)
	}
	if k, err := f.AccessKey(t.Context(), in.AccessKeyID); err != nil || string(k.Secret.Reveal()) != "test-secret" {
		t.Errorf("AccessKey = %+v, %v", k, err)
	}
	for _, bad := range []identity.Bootstrap{
		{Account: "12345"},
		{AccessKeyID: "short", Secret: secret.New([]byte("s"))},
		{AccessKeyID: "AKIAIOSFODNN7EXAMPLE"},
		{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", Secret: secret.New([]byte("s"))},
	} {
		if _, err := open(t).Bootstrap(t.Context(), bad); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("Bootstrap(%+v) = %v, want ErrInvalid", bad, err)
		}
	}
}

func TestBootstrapRace(t *testing.T) {
	f := open(t)
	var wg sync.WaitGroup
	var made atomic.Int64
	accounts := make([]string, 8)
	for i := range accounts {
		wg.Go(func() {
			in, err := f.Bootstrap(t.Context(), identity.Bootstrap{})
			if err != nil {
				t.Error(err)
			}
			if in.New {
				made.Add(1)
			}
			accounts[i] = in.Account
		})
	}
	wg.Wait()
	for _, a := range accounts {
		if a != accounts[0] {
			t.Errorf("accounts %q, want one", accounts)
			break
		}
	}
	if made.Load() != 1 {
		t.Errorf("%d first starts", made.Load())
	}
}

func TestCredentialRefused(t *testing.T) {
	f := open(t)
	in := f.bootstrap(t, identity.Bootstrap{})
	refused := func(what, id string) {
		t.Helper()
		if err := f.works(id); !errors.Is(err, sigv4.ErrUnrecognizedClient) {
			t.Errorf("%s: %v, want ErrUnrecognizedClient", what, err)
		}
	}
	refused("unknown", "AKIAAAAAAAAAAAAAAAAA")
	if _, _, err := f.Credential(t.Context(), in.AccessKeyID, "token"); !errors.Is(err, sigv4.ErrUnrecognizedClient) {
		t.Errorf("with a session token: %v", err)
	}

	before := f.st.gets.Load()
	for _, id := range []string{
		"", "AKIA", "AKIAIOSFODNN7EX", strings.Repeat("A", 129), "AKIAIOSFODNN7EXAMPL/", "AKIA/../v1/acct/1", "AKIAIOSFODNN7EXAMPL\x00",
		"AKIAIOSFODNN7EXAMPLÉ", "AKIAIOSFODNN7EXAMPL ",
	} {
		refused(fmt.Sprintf("%q", id), id)
	}
	if n := f.st.gets.Load() - before; n != 0 {
		t.Errorf("malformed ids read the store %d times", n)
	}

	if err := f.SetAccessKeyActive(t.Context(), in.AccessKeyID, false); err != nil {
		t.Fatal(err)
	}
	refused("inactive", in.AccessKeyID)
	if err := f.SetAccessKeyActive(t.Context(), in.AccessKeyID, true); err != nil {
		t.Fatal(err)
	}
	if err := f.works(in.AccessKeyID); err != nil {
		t.Errorf("active again: %v", err)
	}

	second, err := f.CreateAccessKey(t.Context(), in.Account, "administrator", "", secret.Bytes{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.works(second.ID); err != nil {
		t.Errorf("second key: %v", err)
	}
	if err := f.DeleteAccessKey(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	refused("deleted", second.ID)
	if err := f.works(in.AccessKeyID); err != nil {
		t.Errorf("the other one: %v", err)
	}
}

func TestDangling(t *testing.T) {
	for _, test := range []struct {
		what string
		key  func(in identity.Installation) string
	}{
		{"user", func(in identity.Installation) string { return "v1/user/" + in.Account + "/administrator" }},
		{"account", func(in identity.Installation) string { return "v1/acct/" + in.Account }},
		{"access key", func(in identity.Installation) string { return "v1/akid/" + in.AccessKeyID }},
	} {
		t.Run(test.what, func(t *testing.T) {
			f := open(t)
			in := f.bootstrap(t, identity.Bootstrap{})
			if err := f.works(in.AccessKeyID); err != nil {
				t.Fatal(err)
			}
			f.remove(t, test.key(in))
			eventually(t, "refused", func() bool { return errors.Is(f.works(in.AccessKeyID), sigv4.ErrUnrecognizedClient) })
		})
	}
}

// TestNamesake deletes a user and makes another of that name.
func TestNamesake(t *testing.T) {
	f := open(t)
	in := f.bootstrap(t, identity.Bootstrap{})
	make := func() identity.User {
		u, err := f.CreateUser(t.Context(), identity.User{Account: in.Account, Name: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	first := make()
	k, err := f.CreateAccessKey(t.Context(), in.Account, "alice", "", secret.Bytes{})
	if err != nil || f.works(k.ID) != nil {
		t.Fatal(err, f.works(k.ID))
	}
	// Underneath, so that the access key stays.
	f.remove(t, "v1/user/"+in.Account+"/alice")
	eventually(t, "user gone", func() bool { return f.works(k.ID) != nil })
	if second := make(); second.ID == first.ID {
		t.Fatalf("two users have the id %s", first.ID)
	}
	if err := f.works(k.ID); !errors.Is(err, sigv4.ErrUnrecognizedClient) {
		t.Errorf("the namesake's key works: %v", err)
	}
	if _, err := f.AccessKey(t.Context(), k.ID); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("AccessKey = %v, want ErrNotFound", err)
	}
	if err := f.DeleteAccessKey(t.Context(), k.ID); err != nil {
		t.Error(err)
	}

	k, err = f.CreateAccessKey(t.Context(), in.Account, "alice", "", secret.Bytes{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteUser(t.Context(), in.Account, "alice"); !errors.Is(err, identity.ErrConflict) {
		t.Errorf("deleting a user with an access key: %v, want ErrConflict", err)
	}
	if err := f.DeleteAccessKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteUser(t.Context(), in.Account, "alice"); err != nil {
		t.Fatal(err)
	}
	if err := f.works(k.ID); !errors.Is(err, sigv4.ErrUnrecognizedClient) {
		t.Errorf("a deleted user's key works: %v", err)
	}
}

func TestUsers(t *testing.T) {
	f := open(t)
	in := f.bootstrap(t, identity.Bootstrap{})
	u, err := f.CreateUser(t.Context(), identity.User{Account: in.Account, Name: "Bob", Path: "/a/b/"})
	if err != nil || u.ARN != "arn:aws:iam::"+in.Account+":user/a/b/Bob" {
		t.Errorf("CreateUser = %+v, %v", u, err)
	}
	if got, err := f.User(t.Context(), in.Account, "Bob"); err != nil || fmt.Sprint(got) != fmt.Sprint(u) {
		t.Errorf("User = %+v, %v, want %+v", got, err, u)
	}
	if _, err := f.CreateUser(t.Context(), identity.User{Account: in.Account, Name: "bob"}); !errors.Is(err, identity.ErrExists) {
		t.Errorf("a name in another case: %v, want ErrExists", err)
	}
	if _, err := f.CreateUser(t.Context(), identity.User{Account: "999999999999", Name: "bob"}); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("in an unknown account: %v, want ErrNotFound", err)
	}
	p, _, err := f.Credential(t.Context(), in.AccessKeyID, "")
	if err != nil || !administers(p) {
		t.Error(err)
	}
	k, err := f.CreateAccessKey(t.Context(), in.Account, "Bob", "", secret.Bytes{})
	if err != nil {
		t.Fatal(err)
	}
	if p, _, err := f.Credential(t.Context(), k.ID, ""); err != nil || administers(p) || p.Name != "Bob" {
		t.Errorf("Credential = %+v, %v", p, err)
	}
	for _, bad := range []identity.User{
		{Account: "1", Name: "a"},
		{Account: in.Account, Name: ""},
		{Account: in.Account, Name: "a/b"},
		{Account: in.Account, Name: strings.Repeat("a", 65)},
		{Account: in.Account, Name: "a", Path: "a/"},
		{Account: in.Account, Name: "a", Path: "/a"},
		{Account: in.Account, Name: "a", Path: "//"},
		{Account: in.Account, Name: "a", Path: "/ü/"},
		{Account: in.Account, Name: "a", Path: "/" + strings.Repeat("a", 511) + "/"},
		{Account: in.Account, Name: "a", Policies: []string{"arn:aws:iam::aws:policy/UnknownAccess"}},
		{Account: in.Account, Name: "a", Policies: []string{"arn:aws:iam::999999999999:policy/Foreign"}},
		{Account: in.Account, Name: "a", Policies: []string{call.AdministratorAccess, call.AdministratorAccess}},
	} {
		if _, err := f.CreateUser(t.Context(), bad); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("CreateUser(%+v) = %v, want ErrInvalid", bad, err)
		}
	}
	if _, err := f.CreateAccount(t.Context(), identity.Account{ID: in.Account}); !errors.Is(err, identity.ErrExists) {
		t.Errorf("an account twice: %v, want ErrExists", err)
	}
	if _, err := f.CreateAccount(t.Context(), identity.Account{Name: "a\nb"}); !errors.Is(err, identity.ErrInvalid) {
		t.Errorf("an account's name with a line end: %v, want ErrInvalid", err)
	}
	if a, err := f.CreateAccount(t.Context(), identity.Account{Name: "second"}); err != nil || a.Management {
		t.Errorf("CreateAccount = %+v, %v", a, err)
	}
}

func TestAccessKeys(t *testing.T) {
	f := open(t)
	in := f.bootstrap(t, identity.Bootstrap{Account: "123456789012"})
	// The account stands in the id, where others look for it.
	raw, err := base32.StdEncoding.DecodeString(in.AccessKeyID[4:])
	if err != nil {
		t.Fatal(err)
	}
	if n := binary.BigEndian.Uint64(append([]byte{0, 0}, raw[:6]...)) & 0x7fffffffff80 >> 7; n != 123456789012 {
		t.Errorf("the id %s says account %d", in.AccessKeyID, n)
	}

	if _, err := f.CreateUser(t.Context(), identity.User{Account: in.Account, Name: "carol"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var made, limited atomic.Int64
	for range 6 {
		wg.Go(func() {
			for {
				_, err := f.CreateAccessKey(t.Context(), in.Account, "carol", "", secret.Bytes{})
				switch {
				case err == nil:
					made.Add(1)
				case errors.Is(err, identity.ErrLimit):
					limited.Add(1)
				case errors.Is(err, record.ErrConflict):
					continue
				default:
					t.Error(err)
				}
				return
			}
		})
	}
	wg.Wait()
	if made.Load() != 2 || limited.Load() != 4 {
		t.Errorf("%d keys made, %d refused, want 2 and 4", made.Load(), limited.Load())
	}

	if _, err := f.CreateUser(t.Context(), identity.User{Account: in.Account, Name: "dave"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CreateAccessKey(t.Context(), in.Account, "dave", in.AccessKeyID, secret.New([]byte("x"))); !errors.Is(err, identity.ErrExists) {
		t.Errorf("another's id: %v, want ErrExists", err)
	}
	if _, err := f.CreateAccessKey(t.Context(), in.Account, "nobody", "", secret.Bytes{}); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("for nobody: %v, want ErrNotFound", err)
	}
	const planted = "planted/secret+planted/secret+planted"
	given := secret.New([]byte(planted))
	k, err := f.CreateAccessKey(t.Context(), in.Account, "dave", "AKIADAVEDAVEDAVEDAVE", given)
	if err != nil {
		t.Fatal(err)
	}
	given.Wipe()
	if string(k.Secret.Reveal()) != planted {
		t.Error("the secret was not copied")
	}
	got, err := f.AccessKey(t.Context(), k.ID)
	if err != nil || !got.Secret.Equal(k.Secret) || got.User != "dave" {
		t.Errorf("AccessKey = %+v, %v", got, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, &got); strings.Contains(text, planted) {
		t.Error("an access key prints its secret")
	}
	var dump bytes.Buffer
	if err := f.st.Snapshot(t.Context(), &dump); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(dump.Bytes(), []byte(planted)) {
		t.Error("the secret stands in the store")
	}
}

// TestStrictRecords puts values into the records that this program did not write.
func TestStrictRecords(t *testing.T) {
	f := open(t)
	in := f.bootstrap(t, identity.Bootstrap{})
	for key, kind := range map[string]record.Kind{
		"v1/akid/" + in.AccessKeyID:                record.KindAccessKey,
		"v1/acct/" + in.Account:                    record.KindAccount,
		"v1/user/" + in.Account + "/administrator": record.KindUser,
		"v1/sys/identity":                          record.KindSystem,
	} {
		rec, err := f.rs.Get(t.Context(), kind, key)
		if err != nil {
			t.Fatal(err)
		}
		good := bytes.Clone(rec.Value)
		newer := bytes.Clone(good)
		newer[0] = 99
		long := append(bytes.Clone(good), 0)
		if kind == record.KindAccessKey {
			long = append(bytes.Clone(good), bytes.Repeat([]byte{0}, 5)...)
		}
		for what, bad := range map[string][]byte{"newer": newer, "long": long, "short": good[:len(good)-1], "empty": {}, "huge length": {1, 0xff, 0xff, 0xff, 0xff, 0x0f}} {
			rec, err := f.rs.Get(t.Context(), kind, key)
			if err != nil {
				t.Fatal(err)
			}
			tx := f.rs.Begin()
			tx.Put(rec, bad)
			if _, err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if kind == record.KindSystem {
				_, err = f.Bootstrap(t.Context(), identity.Bootstrap{})
			} else {
				err = f.works(in.AccessKeyID)
			}
			if err == nil || errors.Is(err, sigv4.ErrUnrecognizedClient) || errors.Is(err, identity.ErrNotFound) {
				t.Errorf("%s, %s: %v, want an error of the server", key, what, err)
			}
		}
		rec, err = f.rs.Get(t.Context(), kind, key)
		if err != nil {
			t.Fatal(err)
		}
		tx := f.rs.Begin()
		tx.Put(rec, good)
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.works(in.AccessKeyID); err != nil {
			t.Fatalf("put right again: %v", err)
		}
	}
}

// TestBootstrapOnce: the management account is made in an empty store alone.
// Where only its record is missing, its administrator does not come back.
func TestBootstrapOnce(t *testing.T) {
	f := open(t)
	given := identity.Bootstrap{Account: "111122223333", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: secret.New([]byte("s"))}
	f.bootstrap(t, given)
	if _, err := f.CreateAccount(t.Context(), identity.Account{ID: "444455556666"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"v1/sys/identity", "v1/sys/seeded", "v1/acct/111122223333", "v1/user/111122223333/administrator", "v1/akid/AKIAIOSFODNN7EXAMPLE"} {
		f.remove(t, key)
		in, err := f.Bootstrap(t.Context(), given)
		if !errors.Is(err, record.ErrTampered) || in != (identity.Installation{}) {
			t.Errorf("Bootstrap without %s and those before = %+v, %v, want ErrTampered", key, in, err)
		}
	}
}

func TestSeeded(t *testing.T) {
	f := open(t)
	if _, err := f.Seeded(t.Context()); !errors.Is(err, record.ErrTampered) {
		t.Errorf("Seeded before the first start: %v", err)
	}
	f.bootstrap(t, identity.Bootstrap{})
	has := func() (got string) {
		t.Helper()
		s, err := f.Seeded(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "c"} {
			if s.Has(name) {
				got += name
			}
			if s.Has(name) != s.Gone(name) {
				t.Errorf("Gone(%s) = %t", name, s.Gone(name))
			}
		}
		if s.Len() != len(got) {
			t.Errorf("Len = %d of %q", s.Len(), got)
		}
		return got
	}
	for _, step := range []struct {
		add  []string
		want string
	}{{nil, ""}, {[]string{"b", "b"}, "b"}, {[]string{"c", "a"}, "abc"}, {[]string{"a"}, "abc"}} {
		if err := f.AddSeeded(t.Context(), step.add); err != nil {
			t.Fatal(err)
		}
		if got := has(); got != step.want {
			t.Errorf("after %q: %q, want %q", step.add, got, step.want)
		}
	}
	// As much as there may be, in one record; and nothing at all of too much.
	many := make([]string, identity.MaxSeeded-3)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	if err := f.AddSeeded(t.Context(), append(many, "one too many")); !errors.Is(err, identity.ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
	if got := has(); got != "abc" {
		t.Errorf("after one too many: %q", got)
	}
	if err := f.AddSeeded(t.Context(), many); err != nil {
		t.Errorf("%d of them: %v", identity.MaxSeeded, err)
	}
}

// administers reports whether a principal has AdministratorAccess.
func administers(p *call.Principal) bool {
	return p != nil && slices.ContainsFunc(p.Policies.Identity, func(a call.Attached) bool { return a.ARN == call.AdministratorAccess && a.Policy != nil })
}
