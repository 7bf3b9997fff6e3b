package seed_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/seed"
	"github.com/keyreeve/keyreeve/internal/store"
)

const (
	account = "111122223333"
	region  = "eu-central-1"
	first   = "1234abcd-12ab-34cd-56ef-1234567890ab"
	second  = "5678abcd-12ab-34cd-56ef-1234567890ab"
)

var environment = map[string]string{
	"ALICE_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	"A":                       "a${B}",
	"EMPTY":                   "",
}

func lookup(name string) (string, bool) { v, ok := environment[name]; return v, ok }

func parse(t *testing.T, text string) *seed.File {
	t.Helper()
	f, err := seed.Parse([]byte(text), lookup)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

type house struct {
	st       store.Store
	provider seal.Provider
	dir      *identity.Directory
	ring     *keyring.Ring
	in       identity.Installation
}

func open(t *testing.T) house {
	t.Helper()
	return reopen(t, house{st: store.NewMem(), provider: seal.Memory()})
}

// reopen returns another node on the same store, which has seen nothing yet.
func reopen(t *testing.T, of house) house {
	t.Helper()
	h := house{st: of.st, provider: of.provider}
	box := mustBox(t, h)
	rs, err := record.Open(t.Context(), h.st, box, record.Options{Heartbeat: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	h.dir = identity.Open(rs, identity.Options{})
	if h.ring, err = keyring.New(rs, box, keyring.Options{SpareRSA: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.ring.Close(); rs.Close() })
	if h.in, err = h.dir.Bootstrap(t.Context(), identity.Bootstrap{Account: "999988887777"}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h house) apply(t *testing.T, text string) seed.Made {
	t.Helper()
	made, err := parse(t, text).Apply(t.Context(), h.dir, h.ring)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return made
}

// key opens a key for a look at it.
func (h house) key(t *testing.T, id, action string) keyring.Key {
	t.Helper()
	s, err := h.ring.Find(t.Context(), account, region, id)
	if err != nil {
		t.Fatalf("finding %s: %v", id, err)
	}
	k, err := h.ring.Open(t.Context(), nil, authz.System("test").Permit(action, s.Resource()))
	if err != nil {
		t.Fatalf("opening %s: %v", id, err)
	}
	return k
}

// example returns the example of the documentation.
func example(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/seed.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("no example in docs/seed.md")
	}
	return text
}

func TestExample(t *testing.T) {
	h := open(t)
	text := example(t)
	want := seed.Made{Accounts: 1, Policies: 1, Users: 1, Roles: 1, AccessKeys: 1, Keys: 2, Aliases: 1}
	if made := h.apply(t, text); made != want {
		t.Errorf("made %v, want %v", made, want)
	}
	if made := h.apply(t, text); made != (seed.Made{}) {
		t.Errorf("the second time, made %v, want nothing", made)
	}
	p, _, err := h.dir.Credential(t.Context(), "AKIAIOSFODNN7ALICE00", "")
	if err != nil || p.ARN != "arn:aws:iam::111122223333:user/team/alice" || len(p.Policies.Identity) != 1 || p.Policies.Identity[0].ARN != call.AdministratorAccess {
		t.Errorf("Credential = %+v, %v", p, err)
	}
	k, err := h.dir.AccessKey(t.Context(), "AKIAIOSFODNN7ALICE00")
	if err != nil || string(k.Secret.Reveal()) != environment["ALICE_SECRET_ACCESS_KEY"] {
		t.Errorf("AccessKey = %v, another secret than in the environment", err)
	}
	m := h.key(t, first, "kms:DescribeKey").Metadata()
	if m.Description != "Card numbers" || m.State != keyring.Enabled || fmt.Sprint(m.Tags) != "[{Team payments} {keyreeve:seeded true}]" {
		t.Errorf("first key = %+v", m)
	}
	m = h.key(t, second, "kms:DescribeKey").Metadata()
	if m.Spec != keyring.ECCNISTP256 || m.Usage != keyring.SignVerify || m.State != keyring.Disabled || fmt.Sprint(m.Tags) != "[{keyreeve:seeded true}]" {
		t.Errorf("second key = %+v", m)
	}
	s, err := h.ring.FindAlias(t.Context(), account, region, "alias/cards")
	if err != nil || s.ID() != first {
		t.Errorf("the alias: %v", err)
	}
}

// TestExistsIsNotChanged changes what a seed made, and seeds again.
func TestExistsIsNotChanged(t *testing.T) {
	h := open(t)
	text := example(t)
	h.apply(t, text)
	if err := h.key(t, first, "kms:UpdateKeyDescription").SetDescription(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if err := h.key(t, second, "kms:EnableKey").Enable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.dir.SetAccessKeyActive(t.Context(), "AKIAIOSFODNN7ALICE00", false); err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "path: /team/", "path: /")
	text = strings.ReplaceAll(text, "key: "+first, "key: "+second)
	if made := h.apply(t, text); made != (seed.Made{}) {
		t.Errorf("made %v, want nothing", made)
	}
	if d := h.key(t, first, "kms:DescribeKey").Metadata().Description; d != "other" {
		t.Errorf("description %q", d)
	}
	if s := h.key(t, second, "kms:DescribeKey").Metadata().State; s != keyring.Enabled {
		t.Errorf("state %s", s)
	}
	if k, err := h.dir.AccessKey(t.Context(), "AKIAIOSFODNN7ALICE00"); err != nil || k.Active {
		t.Errorf("the access key is active again: %v", err)
	}
	if u, err := h.dir.User(t.Context(), account, "alice"); err != nil || u.Path != "/team/" {
		t.Errorf("User = %+v, %v", u, err)
	}
	if s, err := h.ring.FindAlias(t.Context(), account, region, "alias/cards"); err != nil || s.ID() != first {
		t.Errorf("the alias moved: %v", err)
	}

	// What has gone in between stays away; and a dying key gets no alias.
	if err := h.dir.DeleteAccessKey(t.Context(), "AKIAIOSFODNN7ALICE00"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.key(t, second, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "alias/cards", "alias/other")
	if made := h.apply(t, text); made != (seed.Made{}) {
		t.Errorf("made %v, want nothing", made)
	}
}

// remove deletes everything below a prefix from the store, as its owner could,
// and returns how much that was.
func (h house) remove(t *testing.T, prefix string) int {
	t.Helper()
	kvs, _, err := h.st.Range(t.Context(), prefix, store.PrefixEnd(prefix), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range kvs {
		if _, _, err := h.st.Commit(t.Context(), nil, []store.Op{{Key: kv.Key}}); err != nil {
			t.Fatal(err)
		}
	}
	return len(kvs)
}

// TestNothingComesBack: what was made once is not made again, whoever deleted
// it, and whatever else was deleted with it. So a key or access key that was
// disabled does not come back as it was in the file.
func TestNothingComesBack(t *testing.T) {
	text := example(t)
	for _, prefixes := range [][]string{
		{"v1/akid/"},
		{"v1/user/" + account},
		{"v1/akid/AKIAIOSFODNN7ALICE00", "v1/user/" + account},
		{"v1/key/"},
		{"v1/key/", "v1/mat/", "v1/alias/", "v1/aliasof/"},
		{"v1/alias/", "v1/aliasof/"},
		{"v1/acct/" + account},
		{"v1/acct/" + account, "v1/user/" + account, "v1/akid/AKIAIOSFODNN7ALICE00", "v1/key/", "v1/mat/", "v1/alias/", "v1/aliasof/"},
	} {
		h := open(t)
		h.apply(t, text)
		if err := h.dir.SetAccessKeyActive(t.Context(), "AKIAIOSFODNN7ALICE00", false); err != nil {
			t.Fatal(err)
		}
		if err := h.key(t, first, "kms:DisableKey").Disable(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, prefix := range prefixes {
			if h.remove(t, prefix) == 0 {
				t.Fatalf("nothing at %s", prefix)
			}
		}
		h = reopen(t, h)
		for range 2 {
			if made := h.apply(t, text); made != (seed.Made{}) {
				t.Errorf("without %v, made %v", prefixes, made)
			}
		}
		if _, _, err := h.dir.Credential(t.Context(), "AKIAIOSFODNN7ALICE00", ""); err == nil {
			t.Errorf("without %v, the inactive access key signs again", prefixes)
		}
		if s, err := h.ring.Find(t.Context(), account, region, first); err == nil {
			if _, err := h.ring.Open(t.Context(), nil, authz.System("test").Permit("kms:Decrypt", s.Resource())); err == nil {
				t.Errorf("without %v, the disabled key opens for Decrypt again", prefixes)
			}
		}
		// What is new in the file is made.
		more := strings.ReplaceAll(text, "users:\n", "users:\n  - {account: \"999988887777\", name: new}\n")
		if made := h.apply(t, more); made != (seed.Made{Users: 1}) {
			t.Errorf("without %v, made %v of one new user", prefixes, made)
		}
	}

	// The list of what was made does not go unnoticed, nor does the first
	// record of all.
	for _, prefix := range []string{"v1/sys/seeded", "v1/sys/identity"} {
		h := open(t)
		h.apply(t, text)
		if h.remove(t, prefix) != 1 {
			t.Fatalf("no record at %s", prefix)
		}
		rs, err := record.Open(t.Context(), h.st, mustBox(t, h), record.Options{Heartbeat: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Close()
		dir := identity.Open(rs, identity.Options{})
		_, err = dir.Bootstrap(t.Context(), identity.Bootstrap{})
		if err == nil {
			_, err = parse(t, text).Apply(t.Context(), dir, h.ring)
		}
		var hinted interface{ Hint() string }
		if !errors.Is(err, record.ErrTampered) || !errors.As(err, &hinted) {
			t.Errorf("without %s: %v, want ErrTampered and a hint", prefix, err)
		}
	}
}

func mustBox(t *testing.T, h house) *seal.Box {
	t.Helper()
	box, err := seal.Open(t.Context(), h.st, seal.Options{Provider: h.provider})
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// TestFoundIsAsGoodAsMade: what a seed file names and finds there is as good as made by it.
func TestFoundIsAsGoodAsMade(t *testing.T) {
	h := open(t)
	if _, err := h.dir.CreateAccount(t.Context(), identity.Account{ID: account}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.dir.CreateUser(t.Context(), identity.User{Account: account, Name: "Bob"}); err != nil {
		t.Fatal(err)
	}
	text := "users: [{account: \"111122223333\", name: bob}]"
	if made := h.apply(t, text); made != (seed.Made{}) {
		t.Errorf("made %v", made)
	}
	if err := h.dir.DeleteUser(t.Context(), account, "bob"); err != nil {
		t.Fatal(err)
	}
	if made := h.apply(t, text); made != (seed.Made{}) {
		t.Errorf("made %v after it was deleted", made)
	}
	// Something new cannot belong to an account that is gone.
	h.apply(t, "accounts: [{id: \"111122223333\"}]")
	h.remove(t, "v1/acct/"+account)
	_, err := parse(t, "accounts: [{id: \"111122223333\"}]\nusers: [{account: \"111122223333\", name: eve}]").Apply(t.Context(), h.dir, h.ring)
	if err == nil || !strings.Contains(err.Error(), "line 2: there is no account 111122223333 any more") {
		t.Errorf("a new user of an account that is gone: %v", err)
	}
}

func TestMaterial(t *testing.T) {
	h := open(t)
	const material = "0123456789abcdef0123456789abcdef"
	key := func(id, spec, material string) string {
		return fmt.Sprintf("  - {account: %q, region: %s, id: %s, spec: %s, material: %q}\n", account, region, id, spec, material)
	}
	head := fmt.Sprintf("accounts: [{id: %q}]\nkeys:\n", account)
	encoded := base64.StdEncoding.EncodeToString([]byte(material))
	h.apply(t, head+key(first, "SYMMETRIC_DEFAULT", encoded[:10]+" \n"+encoded[10:])+key(second, "HMAC_256", encoded))
	// The same material gives the same ciphertexts' key, wherever it is.
	other := open(t)
	other.apply(t, head+key(first, "SYMMETRIC_DEFAULT", encoded))
	if a, b := h.key(t, first, "kms:DescribeKey").Metadata().MaterialID, other.key(t, first, "kms:DescribeKey").Metadata().MaterialID; a != b {
		t.Errorf("material ids %s and %s of the same material", a, b)
	}

	// Nothing is made if one of them is wrong.
	for what, wrong := range map[string]string{
		"short":         key(second, "SYMMETRIC_DEFAULT", encoded[:20]),
		"of HMAC":       key(second, "HMAC_512", encoded),
		"no PKCS #8":    key(second, "ECC_NIST_P256", encoded),
		"of other spec": key(second, "SYMMETRIC_DEFAULT", base64.StdEncoding.EncodeToString([]byte(material+material))),
	} {
		h := open(t)
		_, err := parse(t, head+key(first, "SYMMETRIC_DEFAULT", encoded)+wrong).Apply(t.Context(), h.dir, h.ring)
		if err == nil || !strings.Contains(err.Error(), "line 4: the material is not that of a key of spec") {
			t.Errorf("%s: %v, want an error about line 4", what, err)
		}
		if _, err := h.ring.Find(t.Context(), account, region, first); !errors.Is(err, keyring.ErrNotFound) {
			t.Errorf("%s: the right key was made: %v", what, err)
		}
		if _, err := h.dir.Account(t.Context(), account); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%s: the account was made: %v", what, err)
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"another management account", `accounts: [{id: "111122223333", management: true}]`, "line 1: the management account is 999988887777"},
		{"a user of no account", `users: [{account: "111122223333", name: bob}]`, "line 1: there is no account 111122223333"},
		{"a key of no account", `keys: [{account: "111122223333", region: eu-central-1, id: ` + first + `}]`, "line 1: there is no account"},
		{"an alias of no key", `aliases: [{account: "999988887777", region: eu-central-1, name: a, key: ` + first + `}]`, "line 1: there is no key"},
		{"another user's access key", "users:\n- account: \"999988887777\"\n  name: bob\n  access_keys: [{id: TAKENTAKENTAKENTAKEN, secret: s}]", "line 4: access key TAKENTAKENTAKENTAKEN is that of user carol"},
		{"too many access keys", "users:\n- account: \"999988887777\"\n  name: administrator\n  access_keys:\n  - {id: AAAAAAAAAAAAAAAA, secret: s}\n  - {id: BBBBBBBBBBBBBBBB, secret: s}", "line 6: user administrator"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := open(t)
			h.apply(t, `users: [{account: "999988887777", name: carol, access_keys: [{id: TAKENTAKENTAKENTAKEN, secret: s}]}]`)
			made, err := parse(t, test.text).Apply(t.Context(), h.dir, h.ring)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Apply = %v, want %q", err, test.want)
			}
			if made != (seed.Made{}) {
				t.Errorf("made %v", made)
			}
		})
	}
	h := open(t)
	f := parse(t, `accounts: [{id: "999988887777", management: true}]`)
	if _, err := f.Apply(t.Context(), h.dir, h.ring); err != nil {
		t.Errorf("the management account itself: %v", err)
	}
	if f.ManagementAccount() != "999988887777" || parse(t, "").ManagementAccount() != "" {
		t.Errorf("ManagementAccount = %q", f.ManagementAccount())
	}
	f = parse(t, example(t))
	if err := f.CheckRegions([]string{region}); err != nil {
		t.Error(err)
	}
	if err := f.CheckRegions([]string{"us-east-1"}); err == nil || !strings.Contains(err.Error(), "Region eu-central-1 is not enabled") {
		t.Errorf("CheckRegions = %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const planted = "plantedplantedplantedplanted"
	user := func(s string) string { return "users:\n- account: \"111122223333\"\n  name: bob\n  " + s }
	key := func(s string) string {
		return "keys:\n- account: \"111122223333\"\n  region: eu-central-1\n  id: " + first + "\n  " + s
	}
	tests := []struct{ name, text, want string }{
		{"not YAML", "accounts: [", "not YAML: line 1"},
		{"a list", "- a", "line 1: a seed file is a mapping"},
		{"two documents", "accounts: []\n---\nusers: []\n", "more than one document"},
		{"unknown member", "acounts: []", `line 1: a seed file has no "acounts"; it has version, accounts`},
		{"unknown member of a user", user("email: x"), `line 4: a user has no "email"`},
		{"unknown name is not shown", user(planted + "/" + planted + ": x"), "line 4: a user has no such member"},
		{"twice", "users: []\nusers: []", `line 2: "users" stands twice`},
		{"version", "version: 2", "line 1: version is 1"},
		{"a mapping for a text", user("path: {a: b}"), "line 4: path is a text"},
		{"a list for a text", user("path: [" + planted + "]"), "line 4: path is a text"},
		{"nothing for a text", user("path:"), "line 4: path is a text"},
		{"a text for a list", user("access_keys: " + planted), "line 4: access_keys is a list"},
		{"a text for a mapping", user("access_keys: [" + planted + "]"), "line 4: an access key is a mapping"},
		{"anchor", user("path: &a /"), "line 4: anchors and aliases"},
		{"anchor of a list", user("policies: &a []"), "line 4: anchors and aliases"},
		{"alias", "accounts: [&a {id: \"111122223333\"}, *a]", "line 1: an"},
		{"unknown alias", user("path: *" + planted), "anchors and aliases"},
		{"merge", user("<<: {path: /}"), "line 4: a user has no such member"},
		{"type", user("path: !!binary " + planted), "line 4: path is a text"},
		{"own type", user("path: !" + planted + " x"), "line 4: path is a text"},
		{"own type of a mapping", "accounts: [!x {id: a}]", "line 1: an account is a mapping"},
		{"yes", key("enabled: yes"), "line 5: enabled is true or false"},
		{"quoted true", key(`enabled: "true"`), "line 5: enabled is true or false"},
		{"unset variable", user("path: /${UNSET}/"), "line 4: the environment variable UNSET is not set"},
		{"open reference", user("path: /${A/"), "line 4: ${ begins a reference"},
		{"odd reference", user("path: /${a b}/"), "line 4: ${ begins a reference"},
		{"account", "accounts: [{id: \"1234\"}]", "line 1: identity: not valid: account id"},
		{"account twice", "accounts:\n- id: \"111122223333\"\n- id: \"111122223333\"", "line 3: account 111122223333 stands in line 2 already"},
		{"two management accounts", "accounts:\n- {id: \"111122223333\", management: true}\n- {id: \"111122223334\", management: true}", "line 3: the management account is in line 2"},
		{"three access keys", user("access_keys: [{id: AAAAAAAAAAAAAAAA, secret: s}, {id: BBBBBBBBBBBBBBBB, secret: s}, {id: CCCCCCCCCCCCCCCC, secret: s}]"), "line 2: a user has up to 2"},
		{"an access key twice", user("access_keys: [{id: AAAAAAAAAAAAAAAA, secret: s}, {id: AAAAAAAAAAAAAAAA, secret: s}]"), "line 4: access key AAAAAAAAAAAAAAAA stands"},
		{"no secret", user("access_keys: [{id: AAAAAAAAAAAAAAAA}]"), "line 4: identity: not valid: the secret of"},
		{"a secret for an id", user("access_keys: [{id: " + planted + "/+, secret: s}]"), "line 4: identity: not valid: an access key id of"},
		{"empty secret", user("access_keys: [{id: AAAAAAAAAAAAAAAA, secret: \"${EMPTY}\"}]"), "the secret of"},
		{"key id", "keys: [{account: \"111122223333\", region: eu-central-1, id: 1234}]", "line 1: the id of a key is a UUID"},
		{"key id in upper case", "keys: [{account: \"111122223333\", region: eu-central-1, id: " + strings.ToUpper(first) + "}]", "the id of a key is a UUID"},
		{"region", "keys: [{account: \"111122223333\", region: nowhere, id: " + first + "}]", "region is the name of a Region"},
		{"spec", key("spec: AES_256"), `key spec "AES_256" is not known`},
		{"usage", key("usage: SIGN_VERIFY"), "cannot have the usage"},
		{"no usage", key("spec: RSA_2048"), "a key of spec RSA_2048 needs a usage"},
		{"material", key("material: " + planted + "%"), "line 5: material is not base64"},
		{"empty material", key("material: ''"), "line 5: material is not base64"},
		{"tag of AWS", key("tags: {'AWS:x': y}"), "begin with aws:"},
		{"tag of AWS in other letters", key("tags: {'aw\u017f:x': y}"), "begin with aws:"},
		{"tag twice", key("tags: {a: b, a: c}"), "line 5: a tag stands twice"},
		{"tag text", key("tags: {a: 'b<c'}"), "a tag has letters"},
		{"our tag", key("tags: {'keyreeve:seeded': 'false'}"), "the tag keyreeve:seeded is true"},
		{"description", key("description: " + strings.Repeat("x", 8193)), "line 5: description is longer than"},
		{"alias name", "aliases: [{account: \"111122223333\", region: eu-central-1, name: 'a b', key: " + first + "}]", "the name of an alias"},
		{"alias of AWS", "aliases: [{account: \"111122223333\", region: eu-central-1, name: aws/s3, key: " + first + "}]", "are for AWS managed keys"},
		{"large", "# " + strings.Repeat("x", 4<<20), "larger than 4 MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := seed.Parse([]byte(test.text), lookup)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Parse = %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error shows what may be a secret: %v", err)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "$": "$", "$a": "$a", "$$": "$$", "${A}": "a${B}", "x${A}y${A}z": "xa${B}ya${B}z",
		"$${A}": "${A}", "x$${": "x${", "${A}$${A}": "a${B}${A}", "{}": "{}", "${EMPTY}": "",
	} {
		got, err := seed.Expand(in, lookup)
		if err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestManyErrors(t *testing.T) {
	_, err := seed.Parse([]byte("accounts:\n"+strings.Repeat("- {id: x}\n", 1000)), lookup)
	if err == nil || strings.Count(err.Error(), "\n") != 20 || !strings.HasSuffix(err.Error(), "and more") {
		t.Errorf("Parse of a thousand mistakes = %v", err)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seed.yaml")
	if err := os.WriteFile(path, []byte(`accounts: [{id: "${SEED_TEST_ACCOUNT}", management: true}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SEED_TEST_ACCOUNT", account)
	f, err := seed.Read(path)
	if err != nil || f.ManagementAccount() != account {
		t.Errorf("Read = %v", err)
	}
	if _, err := seed.Read(filepath.Dir(path)); err == nil {
		t.Error("Read of a directory: no error")
	}
	if _, err := seed.Read(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Read of no file: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := seed.Read(link); err != nil {
		t.Errorf("Read of a link: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, link} {
			_, err := seed.Read(p)
			var h interface{ Hint() string }
			if !errors.As(err, &h) {
				t.Errorf("mode %o: %v, want an error with a hint", mode, err)
			}
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 12345, -1)); err != nil {
			t.Fatal(err)
		}
		if _, err := seed.Read(path); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("another owner: %v", err)
		}
	}
}

func TestNothingPrints(t *testing.T) {
	const planted = "planted-secret-planted-secret"
	f := parse(t, "accounts: [{id: \""+account+"\"}]\nusers: [{account: \""+account+"\", name: bob, access_keys: [{id: AAAAAAAAAAAAAAAA, secret: "+planted+"}]}]\n"+
		"keys: [{account: \""+account+"\", region: "+region+", id: "+first+", material: "+base64.StdEncoding.EncodeToString([]byte(planted))+"}]")
	text := fmt.Sprintf("%v %+v %#v %v", f, f, f, *f)
	for _, bad := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprint([]byte(planted))} {
		if strings.Contains(text, bad) {
			t.Errorf("a file prints its secrets")
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("version: 1\naccounts: [{id: \"111122223333\", name: x, management: true}]")
	f.Add("users:\n- {account: \"111122223333\", name: b, path: /a/, policies: [AdministratorAccess], access_keys: [{id: AAAAAAAAAAAAAAAA, secret: \"${A}\"}]}")
	f.Add("keys:\n- {account: \"111122223333\", region: eu-central-1, id: " + first + ", material: AAAA, tags: {a: b}, enabled: false}")
	f.Add("aliases: [{name: *a}]")
	f.Add("a: &a [*a, *a]")
	f.Add("? {a: b}\n: c")
	f.Add("users: !!map {<<: [], ? : }")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := seed.Parse([]byte(text), lookup)
		if (file == nil) == (err == nil) {
			t.Errorf("Parse = %v, %v", file, err)
		}
		if err != nil && len(err.Error()) > 64<<10 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// TestRegions: a Region is enabled once, for new accounts and for those that are
// there, and stays disabled if somebody has disabled it.
func TestRegions(t *testing.T) {
	h := open(t)
	enabled := func(id string) string {
		a, err := h.dir.Account(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(a.Regions, " ")
	}
	text := "accounts: [{id: \"111122223333\", regions: [me-south-1, ap-east-1]}, {id: \"" + h.in.Account + "\", regions: [ap-east-1]}]"
	if made := h.apply(t, text); made != (seed.Made{Accounts: 1, Regions: 3}) {
		t.Errorf("made %v", made)
	}
	if got, own := enabled(account), enabled(h.in.Account); got != "ap-east-1 me-south-1" || own != "ap-east-1" {
		t.Errorf("enabled are %s, and of the management account %s", got, own)
	}
	if err := h.dir.DisableRegion(t.Context(), account, "ap-east-1"); err != nil {
		t.Fatal(err)
	}
	if made := h.apply(t, text); made != (seed.Made{}) {
		t.Errorf("the second time, made %v", made)
	}
	text = strings.Replace(text, "regions: [me-south-1,", "regions: [af-south-1, me-south-1,", 1)
	if made := h.apply(t, text); made != (seed.Made{Regions: 1}) {
		t.Errorf("with one more, made %v", made)
	}
	if got := enabled(account); got != "af-south-1 me-south-1" {
		t.Errorf("enabled are %s", got)
	}
	if err := parse(t, text).CheckRegions([]string{"ap-east-1", "me-south-1"}); err == nil || !strings.Contains(err.Error(), "Region af-south-1 is not enabled") {
		t.Errorf("CheckRegions = %v", err)
	}
	for text, want := range map[string]string{
		"accounts: [{id: \"111122223333\", regions: [nowhere]}]":              "region is the name of a Region",
		"accounts: [{id: \"111122223333\", regions: [ap-east-1, ap-east-1]}]": "Region of account 111122223333, ap-east-1",
	} {
		if _, err := seed.Parse([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
