package authz_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// TestSimulate decides calls that nobody makes.
func TestSimulate(t *testing.T) {
	const (
		mine   = "arn:aws:kms:eu-central-1:111122223333:key/1"
		theirs = "arn:aws:kms:eu-central-1:444455556666:key/1"
		bucket = "arn:aws:s3:::b/o"
		alice  = "arn:aws:iam::111122223333:user/alice"
		all    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
		named  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"*","Resource":"*"}]}`
		root   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"*","Resource":"*"}]}`
		other  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"*","Resource":"*"}]}`
		denied = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`
	)
	when := func(condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":` + condition + `}]}`
	}
	for _, tt := range []struct {
		name             string
		action, resource string
		identity, own    string // documents; own is the resource's
		given            policy.Values
		nobody           bool // in particular
		want             bool
	}{
		{name: "without the key's policy, one's own decides", action: "kms:Decrypt", resource: mine, identity: all, want: true},
		{name: "and elsewhere, too", action: "kms:Decrypt", resource: theirs, identity: all, want: true},
		{name: "but not what cannot be shared", action: "kms:DisableKey", resource: theirs, identity: all},
		{name: "a key policy that names the account", action: "kms:Decrypt", resource: mine, identity: all, own: root, want: true},
		{name: "a key policy that names the user", action: "kms:Decrypt", resource: mine, own: named, want: true},
		{name: "a key policy that names another", action: "kms:Decrypt", resource: mine, identity: all, own: other},
		{name: "elsewhere both must allow", action: "kms:Decrypt", resource: theirs, own: named},
		{name: "and do", action: "kms:Decrypt", resource: theirs, identity: all, own: named, want: true},
		{name: "a bucket's policy that names another", action: "s3:GetObject", resource: bucket, identity: all, own: other, want: true},
		{name: "a bucket's policy that names the user", action: "s3:GetObject", resource: bucket, own: named, want: true},
		{name: "a bucket's policy that denies", action: "s3:GetObject", resource: bucket, identity: all, own: denied},
		{name: "retiring has nothing to do with key policies", action: "kms:RetireGrant", resource: mine, identity: all, own: denied, want: true},
		{name: "an action in another case", action: "KMS:decrypt", resource: mine, identity: when(`{"StringEquals":{"kms:KeySpec":"RSA_2048"}}`), given: policy.Values{"kms:keyspec": policy.String("RSA_2048")}, want: true},
		{name: "a key by its name of before", action: "kms:Decrypt", resource: mine, identity: when(`{"StringEquals":{"kms:CustomerMasterKeySpec":"RSA_2048"}}`), given: policy.Values{"kms:keyspec": policy.String("RSA_2048")}, want: true},
		{name: "no resource may be any", action: "kms:Decrypt", resource: "*", identity: when(`{"StringEquals":{"aws:ResourceTag/a":"b"}}`), given: policy.Values{"aws:resourcetag/a": policy.String("b")}, want: true},
		{name: "a key that the action does not populate", action: "kms:ListKeys", resource: "*", identity: when(`{"StringEquals":{"kms:KeySpec":"RSA_2048"}}`), given: policy.Values{"kms:keyspec": policy.String("RSA_2048")}},
		{name: "a key of an action that is not known", action: "s3:ListBucket", resource: "*", identity: when(`{"StringEquals":{"s3:prefix":"p"}}`), given: policy.Values{"s3:prefix": policy.String("p")}, want: true},
		{name: "what is not given is not there", action: "kms:ListKeys", resource: "*", identity: when(`{"DateGreaterThan":{"aws:CurrentTime":"2001-01-01T00:00:00Z"}}`)},
		{name: "who calls is there", action: "kms:ListKeys", resource: "*", identity: when(`{"ArnEquals":{"aws:PrincipalArn":"` + alice + `"},"StringEquals":{"aws:username":"alice","kms:CallerAccount":"111122223333"}}`)},
		{name: "who calls is there where it can be", action: "kms:Decrypt", resource: mine, identity: when(`{"ArnEquals":{"aws:PrincipalArn":"` + alice + `"},"StringEquals":{"aws:username":"alice","kms:CallerAccount":"111122223333"}}`), want: true},
		{name: "what is given goes first", action: "kms:Decrypt", resource: mine, identity: when(`{"StringEquals":{"aws:username":"zoe"}}`), given: policy.Values{"aws:username": policy.String("zoe")}, want: true},
		{name: "of nobody nothing follows", action: "kms:Decrypt", resource: mine, identity: when(`{"Null":{"aws:username":"true","aws:PrincipalType":"true","kms:CallerAccount":"true"}}`), nobody: true, want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			caller := &call.Principal{Kind: call.User, Account: "111122223333"}
			if !tt.nobody {
				caller.ARN, caller.EntityARN, caller.Name = alice, alice, "alice"
			}
			caller.Names = policy.Principal{Account: caller.Account, ARN: caller.ARN}
			if tt.identity != "" {
				caller.Policies.Identity = []call.Attached{{Policy: parsed(t, tt.identity, policy.Identity)}}
			}
			s := &authz.Simulation{Caller: caller, Action: tt.action, Resource: tt.resource, Account: "111122223333", Given: tt.given}
			if tt.resource == theirs {
				s.Account = "444455556666"
			}
			if tt.own != "" {
				s.Policy = parsed(t, tt.own, policy.Resource)
			}
			d, err := authz.New(nil).Simulate(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if d.Allowed != tt.want {
				t.Errorf("allowed %t: %s", d.Allowed, d.Text)
			}
		})
	}
}

func parsed(t *testing.T, text string, as policy.Type) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(text, policy.Options{Type: as})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
