package authz_test

import (
	"errors"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
)

const (
	owner = "111122223333"
	other = "444455556666"
	key   = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

func caller(account string, policies ...string) *call.Call {
	p := &call.Principal{Kind: call.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/u"}
	for _, arn := range policies {
		p.Policies.Identity = append(p.Policies.Identity, call.Attached{ARN: arn})
	}
	return &call.Call{Caller: p}
}

func TestDecide(t *testing.T) {
	const hidden = " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	res := authz.Resource{ARN: key, Account: owner, Revision: 7}
	blob := res
	blob.FromCiphertext = true
	root := &call.Call{Caller: &call.Principal{Kind: call.Root, Account: owner, ARN: "arn:aws:iam::" + owner + ":root"}}
	for _, tt := range []struct {
		name string
		c    *call.Call
		r    authz.Resource
		want string // denial; empty: allowed
	}{
		{"administrator", caller(owner, call.AdministratorAccess), res, ""},
		{"root user", root, res, ""},
		{
			"no policy", caller(owner), res,
			"User: arn:aws:iam::111122223333:user/u is not authorized to perform: kms:Decrypt on resource: " + key + " because no identity-based policy allows the kms:Decrypt action",
		},
		{"another policy", caller(owner, "arn:aws:iam::aws:policy/ReadOnlyAccess"), res, "User: arn:aws:iam::111122223333:user/u is not authorized to perform: kms:Decrypt on resource: " + key + " because no identity-based policy allows the kms:Decrypt action"},
		{
			"administrator of another account", caller(other, call.AdministratorAccess), res,
			"User: arn:aws:iam::444455556666:user/u is not authorized to perform: kms:Decrypt on this resource" + hidden,
		},
		{
			"another account's ciphertext", caller(other, call.AdministratorAccess), blob,
			"User: arn:aws:iam::444455556666:user/u is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext" + hidden,
		},
		{"nobody", &call.Call{}, res, "User: anonymous is not authorized to perform: kms:Decrypt on this resource" + hidden},
		{"the zero principal", &call.Call{Caller: &call.Principal{}}, authz.Resource{ARN: "*"}, "User: anonymous is not authorized to perform: kms:Decrypt on this resource" + hidden},
	} {
		p, err := authz.New(nil).Decide(t.Context(), tt.c, "kms:Decrypt", &tt.r, nil)
		var d *authz.Denied
		switch {
		case tt.want == "":
			if err != nil || p.Check(tt.c, key) != nil || p.Action() != "kms:Decrypt" || p.Revision() != 7 {
				t.Errorf("%s: permit %+v, %v", tt.name, p, err)
			}
		case !errors.As(err, &d) || d.Text != tt.want:
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		case p != authz.Permit{}:
			t.Errorf("%s: a permit came with the denial", tt.name)
		}
		if tt.c.DecisionText == "" {
			t.Errorf("%s: the call does not say why", tt.name)
		}
	}
}

// A denial for what does not exist reads as one for what is not shared.
func TestUnknownIsHidden(t *testing.T) {
	c := caller(other, call.AdministratorAccess)
	for _, fromCiphertext := range []bool{false, true} {
		_, err := authz.New(nil).Decide(t.Context(), c, "kms:Decrypt", &authz.Resource{ARN: key, Account: owner, FromCiphertext: fromCiphertext}, nil)
		if d := authz.DenyUnknown(c, "kms:Decrypt", fromCiphertext); d.Text != err.Error() {
			t.Errorf("unknown: %q; not shared: %q", d.Text, err)
		}
	}
}

func TestPermitIsBound(t *testing.T) {
	c := caller(owner, call.AdministratorAccess)
	p, err := authz.New(nil).Decide(t.Context(), c, "kms:Decrypt", &authz.Resource{ARN: key, Account: owner}, nil)
	if err != nil {
		t.Fatal(err)
	}
	system := authz.System("test").Permit("kms:DeleteKey", authz.Resource{ARN: key})
	for _, tt := range []struct {
		name     string
		p        authz.Permit
		c        *call.Call
		resource string
		ok       bool
	}{
		{"its own", p, c, key, true},
		{"another call", p, caller(owner), key, false},
		{"no call", p, nil, key, false},
		{"another key", p, c, key[:len(key)-1] + "c", false},
		{"zero permit", authz.Permit{}, c, key, false},
		{"zero permit, no call", authz.Permit{}, nil, "", false},
		{"system", system, nil, key, true},
		{"system in a call", system, c, key, false},
		{"nameless system", authz.System("").Permit("kms:DeleteKey", authz.Resource{ARN: key}), nil, key, false},
	} {
		if err := tt.p.Check(tt.c, tt.resource); (err == nil) != tt.ok {
			t.Errorf("%s: Check = %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}

// A permit on everything is on everything of one account.
func TestPermitOnAllIsBoundToTheAccount(t *testing.T) {
	c := caller(other, call.AdministratorAccess)
	p, err := authz.New(nil).Decide(t.Context(), c, "kms:ListKeys", &authz.Resource{ARN: "*", Account: other}, nil)
	if err != nil {
		t.Fatal(err)
	}
	system := authz.System("test").Permit("kms:CreateKey", authz.Resource{ARN: "*", Account: owner})
	for _, tt := range []struct {
		name    string
		p       authz.Permit
		c       *call.Call
		account string
		ok      bool
	}{
		{"its own", p, c, other, true},
		{"another account", p, c, owner, false},
		{"no account", p, c, "", false},
		{"another call", p, caller(other), other, false},
		{"zero permit", authz.Permit{}, nil, "", false},
		{"system", system, nil, owner, true},
		{"system, another account", system, nil, other, false},
		{"on one key", authz.System("test").Permit("kms:ListKeys", authz.Resource{ARN: key, Account: owner}), nil, owner, false},
	} {
		if err := tt.p.CheckAll(tt.c, tt.account); (err == nil) != tt.ok {
			t.Errorf("%s: CheckAll = %v, want ok %v", tt.name, err, tt.ok)
		}
	}
	if p.Account() != other {
		t.Errorf("Account = %s", p.Account())
	}
}

func BenchmarkDecide(b *testing.B) {
	c := caller(owner, call.AdministratorAccess)
	r := authz.Resource{ARN: key, Account: owner, Revision: 7}
	a := authz.New(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Decide(b.Context(), c, "kms:Decrypt", &r, nil); err != nil {
			b.Fatal(err)
		}
	}
}
