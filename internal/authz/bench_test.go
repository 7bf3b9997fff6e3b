package authz_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// defaultPolicy is a key's policy if it is given none.
const defaultPolicy = `{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"` + ownerRoot + `"},"Action":"kms:*","Resource":"*"}`

// ordinary is what most calls are: the default key policy, and an administrator.
func ordinary(t testing.TB) (*call.Call, *authz.Resource) {
	t.Helper()
	return user(t, owner, "alice", allowAll).call(), resource(t, defaultPolicy)
}

// sixLayers has ten statements in each of six layers, of which the last allows:
// service control policies, endpoint policy, key policy, boundary, session
// policy, identity-based policy.
func sixLayers(t testing.TB) (*call.Call, *authz.Resource) {
	t.Helper()
	ten := func(principal, format, last string) string {
		var s []string
		for i := range 9 {
			s = append(s, fmt.Sprintf(format, i))
		}
		all := strings.Join(append(s, last), ",")
		return strings.ReplaceAll(all, `"Action"`, principal+`"Action"`)
	}
	const (
		deny  = `{"Effect":"Deny","Action":["s3:Put*","ec2:Run%d*"],"Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-x"}}}`
		some  = `{"Effect":"Allow","Action":["kms:Describe*","kms:List%d*"],"Resource":"arn:aws:kms:us-west-2:111122223333:key/*"}`
		mixed = `{"Effect":"Allow","Action":["kms:GenerateDataKey","kms:Decrypt"],"Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"team-%d"}}}`
		last  = `{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}`
	)
	c := session(t, owner, "Reader", ten("", some, last)).boundary(ten("", some, last)).limited(ten("", mixed, last))
	c.Tags = []call.Pair{{Name: "team", Value: "blue"}}
	c = c.in(organization(t, ten("", deny, allowAll)))
	cl := c.call()
	cl.Endpoint = &call.Endpoint{ID: "vpce-1", VPC: "vpc-1", Policy: call.Attached{Policy: parse(t, policy.Endpoint, document(ten(`"Principal":"*",`, mixed, last)))}}
	return cl, resource(t, ten(`"Principal":{"AWS":"`+ownerRoot+`"},`, mixed, last))
}

func bench(b *testing.B, a *authz.Authorizer, c *call.Call, r *authz.Resource, q *authz.Request) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Decide(b.Context(), c, decrypt, r, q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	b.Run("DefaultPolicy", func(b *testing.B) {
		c, r := ordinary(b)
		bench(b, authz.New(nil), c, r, nil)
	})
	b.Run("SixLayers", func(b *testing.B) {
		c, r := sixLayers(b)
		bench(b, authz.New(nil), c, r, nil)
	})
	b.Run("CrossAccount", func(b *testing.B) {
		c := user(b, other, "bob", allowAll).call()
		bench(b, authz.New(organizations{}), c, resource(b, keyForOther), nil)
	})
	b.Run("Grant", func(b *testing.B) {
		c := user(b, owner, "alice").call()
		bench(b, authz.New(nil), c, granted(b, keyForOwner, grant("AIDAalice", "Decrypt")), nil)
	})
	b.Run("Denied", func(b *testing.B) {
		c := user(b, owner, "alice").call()
		r := resource(b, defaultPolicy)
		a := authz.New(nil)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Decide(b.Context(), c, decrypt, r, nil); err == nil {
				b.Fatal("allowed")
			}
		}
	})
}

// A decision costs the same however many accounts there are. Keys and grants
// are not looked for here; package keyring measures that.
func BenchmarkDecideAmongAccounts(b *testing.B) {
	for _, n := range []int{1, 1e3, 1e6} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			many := organizations{owner: resourceControl(b, organization(b, allowAll), `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"o-x"}}}`)}
			for i := range n {
				many[fmt.Sprintf("%012d", i)] = many[owner]
			}
			c := user(b, other, "bob", allowAll).in(many[owner]).call()
			bench(b, authz.New(many), c, resource(b, keyForOther), nil)
		})
	}
}
