package keyring_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// keyPolicy is one that leaves all to the account, and lets somebody describe
// the key.
func keyPolicy(who string) string {
	return `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::` + account + `:root"}, "Action": "kms:*", "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": "` + who + `"}, "Action": "kms:DescribeKey", "Resource": "*"}]}`
}

// asUser decides as a user with this unique id.
func (g *rig) asUser(t testing.TB, id, name, unique, action string) error {
	t.Helper()
	s, err := g.ring.Find(t.Context(), account, region, id)
	if err != nil {
		t.Fatal(err)
	}
	c := newCall()
	c.Caller = &call.Principal{
		Kind: call.User, Account: account, ARN: name, EntityARN: name, ID: unique, EntityID: unique,
		Names: policy.Principal{Account: account, ARN: name, ID: unique},
	}
	r := s.Resource()
	p, err := authz.New(nil).Decide(t.Context(), c, action, &r, nil)
	if err != nil {
		return err
	}
	_, err = g.ring.Open(t.Context(), c, p)
	return err
}

func TestSetPolicy(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	text := keyPolicy(granteeName)
	set := func(text string, bindings ...keyring.Binding) error {
		return g.mustOpen(t, m.ID, "kms:PutKeyPolicy").SetPolicy(t.Context(), text, bindings)
	}
	if err := set(text, keyring.Binding{ARN: granteeName, ID: grantee}); err != nil {
		t.Fatal(err)
	}
	got := g.mustOpen(t, m.ID, "kms:GetKeyPolicy")
	if p := got.Policy(); p == nil || p.Text() != text || got.Metadata().Policy != text || len(got.Metadata().Bindings) != 1 {
		t.Errorf("policy: %v, %v", got.Metadata().Policy, got.Metadata().Bindings)
	}
	if err := g.asUser(t, m.ID, granteeName, grantee, "kms:DescribeKey"); err != nil {
		t.Errorf("the one who is named: %v", err)
	}
	var denied *authz.Denied
	if err := g.asUser(t, m.ID, granteeName, "AIDANAMESAKE", "kms:DescribeKey"); !errors.As(err, &denied) {
		t.Errorf("a namesake: %v", err)
	}
	// The same again writes nothing; other bindings do.
	revision := got.Metadata().Revision
	if err := set(text, keyring.Binding{ARN: granteeName, ID: grantee}); err != nil {
		t.Fatal(err)
	}
	if now := g.mustOpen(t, m.ID, "kms:GetKeyPolicy").Metadata().Revision; now != revision {
		t.Error("the same policy was written again")
	}
	if err := set(text, keyring.Binding{ARN: granteeName, ID: "AIDANAMESAKE"}); err != nil {
		t.Fatal(err)
	}
	if err := g.asUser(t, m.ID, granteeName, "AIDANAMESAKE", "kms:DescribeKey"); err != nil {
		t.Errorf("the namesake, once named: %v", err)
	}
	// What is no policy changes nothing.
	var bad *policy.Error
	for _, text := range []string{"", "{}", text + "x"} {
		if err := set(text); !errors.As(err, &bad) {
			t.Errorf("SetPolicy(%.20q) = %v, want a policy.Error", text, err)
		}
	}
	if err := set(strings.Repeat(" ", keyring.MaxPolicy) + text); !errors.Is(err, keyring.ErrParameter) {
		t.Errorf("a policy that is too large: %v", err)
	}
	if now := g.mustOpen(t, m.ID, "kms:GetKeyPolicy").Metadata(); now.Policy != text {
		t.Error("the policy has changed")
	}
	c := newCall()
	_, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
		Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Policy: "{}",
	})
	if !errors.As(err, &bad) {
		t.Errorf("Create with no policy: %v, want a policy.Error", err)
	}
}

// Keys with the same policy share one that is compiled, and what no key has any
// more goes.
func TestCompiledPoliciesAreShared(t *testing.T) {
	g := newRig(t, nil, keyring.Options{Keys: 64})
	compiled := func(text string) *policy.Policy {
		t.Helper()
		c := newCall()
		m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
			Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Policy: text,
			Bindings: []keyring.Binding{{ARN: granteeName, ID: grantee}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := g.ring.Find(t.Context(), account, region, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.Resource().Policy
	}
	if one, two := compiled(""), compiled(""); one == nil || one != two {
		t.Error("two keys have two default policies")
	}
	if one, two := compiled(keyPolicy(granteeName)), compiled(keyPolicy(granteeName)); one == nil || one != two {
		t.Error("two keys with one policy have two")
	}
	for i := range 500 {
		compiled(keyPolicy("arn:aws:iam::" + account + ":user/" + fmt.Sprint(i)))
	}
	for end := time.Now().Add(time.Minute); keyring.SharedPolicies() > 300; {
		if time.Now().After(end) {
			t.Fatalf("%d policies are kept for 64 cached keys", keyring.SharedPolicies())
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func TestResourceValues(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	tags := []keyring.Tag{{Key: "Team", Value: "a"}, {Key: "team", Value: "b"}, {Key: "aws/x:y", Value: ""}}
	if err := g.mustOpen(t, m.ID, "kms:TagResource").Tag(t.Context(), tags); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alias/b", "alias/a", "alias/c"} {
		if err := g.createAlias(t, m.ID, name); err != nil {
			t.Fatal(err)
		}
	}
	err := keyring.Attempt(t.Context(), func() error {
		k, c, err := g.open(t, m.ID, "kms:DeleteAlias")
		if err != nil {
			return err
		}
		return k.DeleteAlias(t.Context(), g.aliasPermit(t, c, "kms:DeleteAlias", "alias/b"), "alias/b")
	})
	if err != nil {
		t.Fatal(err)
	}
	value := func(key string) string {
		t.Helper()
		s, err := g.ring.Find(t.Context(), account, region, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		k := policy.ParseKey(key)
		v := s.Resource().Values.Value(&k)
		if !v.Exists() {
			return "absent"
		}
		return v.String()
	}
	want := map[string]string{
		"kms:KeySpec": "HMAC_256", "kms:CustomerMasterKeySpec": "HMAC_256", "kms:KeyUsage": "GENERATE_VERIFY_MAC", "kms:KeyOrigin": "AWS_KMS",
		"kms:MultiRegion": "false", "kms:MultiRegionKeyType": "absent", "aws:ResourceTag/Team": "a", "aws:ResourceTag/team": "b",
		"aws:ResourceTag/TEAM": "a", "aws:ResourceTag/aws/x:y": "", "aws:ResourceTag/none": "absent", "kms:RequestAlias": "absent",
	}
	for key, want := range want {
		if got := value(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	names := func() []string {
		s, err := g.ring.Find(t.Context(), account, region, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, name := range []string{"alias/a", "alias/b", "alias/c"} {
			p, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"`+name+`"}}}}`, policy.Options{Type: policy.Identity})
			if err != nil {
				t.Fatal(err)
			}
			if p.Evaluate(&policy.Request{Action: "kms:X", Resource: "*", Context: s.Resource().Values}, nil).Allow {
				names = append(names, name)
			}
		}
		return names
	}
	if got := names(); !slices.Equal(got, []string{"alias/a", "alias/c"}) {
		t.Errorf("aliases: %v", got)
	}
	// A record from before it had them is made up for.
	k := g.mustOpen(t, m.ID, "kms:DescribeKey")
	rec, err := g.records.Get(t.Context(), record.KindKey, "v1/key/"+account+"/"+region+"/"+m.ID)
	if err != nil {
		t.Fatal(err)
	}
	old, err := keyring.AsBefore(nil, k.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	tx := g.records.Begin()
	tx.Put(rec, old)
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"alias/a", "alias/c"}) {
		t.Errorf("aliases of an old record: %v", got)
	}
	if err := g.createAlias(t, m.ID, "alias/b"); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"alias/a", "alias/b", "alias/c"}) {
		t.Errorf("aliases of a record that was old: %v", got)
	}
}
