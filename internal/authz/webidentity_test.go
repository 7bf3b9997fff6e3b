package authz_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

const provider = "arn:aws:iam::111122223333:oidc-provider/idp.example.com:8443/Tenant"

// stranger is somebody for whom the provider vouches.
func stranger(t testing.TB, claims ...call.Pair) caller {
	t.Helper()
	return caller{t: t, Principal: call.Principal{
		Kind: call.WebIdentity, ID: provider + ":app:mona", Name: "mona",
		Session: &call.Session{Provider: provider, Claims: claims},
		Names:   policy.Principal{Federated: provider},
	}}
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	const action = "sts:AssumeRoleWithWebIdentity"
	r := roleARN(owner, "Deploy")
	trust := func(principal, condition string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"` + action + `","Condition":{` + condition + `}}`
	}
	federated := `{"Federated":"` + provider + `"}`
	const prefix = "idp.example.com:8443/tenant:"
	sub := func(values ...string) []call.Pair {
		var list []call.Pair
		for _, v := range values {
			list = append(list, call.Pair{Name: prefix + "sub", Value: v})
		}
		return list
	}
	denies := func(action string) *call.Organization {
		return resourceControl(t, organization(t, allowAll), `{"Effect":"Deny","Principal":"*","Action":"`+action+`","Resource":"*"}`)
	}
	for _, tt := range []struct {
		name    string
		c       caller
		trust   string
		orgs    organizations
		allowed bool
	}{
		{"trusted", stranger(t), trust(federated, ""), nil, true},
		{"in its own words", stranger(t, sub("mona")...), trust(federated, `"StringEquals":{"idp.example.com:8443/Tenant:Sub":"mona"}`), nil, true},
		{"another subject", stranger(t, sub("lisa")...), trust(federated, `"StringEquals":{"idp.example.com:8443/Tenant:sub":"mona"}`), nil, false},
		{"no such claim", stranger(t), trust(federated, `"StringEquals":{"idp.example.com:8443/Tenant:sub":"mona"}`), nil, false},
		{"several values, all", stranger(t, sub("mona", "lisa", "bart")...), trust(federated, `"ForAllValues:StringEquals":{"idp.example.com:8443/Tenant:sub":["mona","lisa"]}`), nil, false},
		{"several values, any", stranger(t, sub("mona", "lisa", "bart")...), trust(federated, `"ForAnyValue:StringEquals":{"idp.example.com:8443/Tenant:sub":["bart"]}`), nil, true},
		{"the provider as a condition", stranger(t), trust(federated, `"StringEquals":{"aws:FederatedProvider":"`+provider+`"}`), nil, true},
		{"MFA is nowhere", stranger(t), trust(federated, `"Null":{"aws:MultiFactorAuthPresent":"true","aws:TokenIssueTime":"true","aws:userid":"true","aws:PrincipalAccount":"true"}`), nil, true},
		{
			"claims are no keys of AWS", stranger(t, call.Pair{Name: "aws:principalaccount", Value: owner}, call.Pair{Name: "sts:externalid", Value: "x"}),
			trust(federated, `"StringEquals":{"aws:PrincipalAccount":"`+owner+`"}`) + `,` + trust(federated, `"StringEquals":{"sts:ExternalId":"x"}`), nil, false,
		},
		{"another provider", stranger(t), trust(`{"Federated":"`+provider+`/x"}`, ""), nil, false},
		{"any provider", stranger(t), trust(`{"Federated":"*"}`, ""), nil, false},
		{"the account", stranger(t), trust(`{"AWS":"`+owner+`"}`, ""), nil, false},
		{"a service", stranger(t), trust(`{"Service":"idp.example.com"}`, ""), nil, false},
		{"denied", stranger(t), trust(federated, "") + `,{"Effect":"Deny","Principal":` + federated + `,"Action":"sts:*"}`, nil, false},
		{"denied to others", stranger(t), trust(federated, "") + `,{"Effect":"Deny","NotPrincipal":` + federated + `,"Action":"sts:*"}`, nil, true},
		{"denied to all but others", stranger(t), trust(federated, "") + `,{"Effect":"Deny","NotPrincipal":{"AWS":"` + owner + `"},"Action":"sts:*"}`, nil, false},
		{"a user in his place", user(t, owner, "alice", allowAll), trust(federated, ""), nil, false},
		{"a resource control policy", stranger(t), trust(federated, ""), organizations{owner: denies(action)}, false},
		{"one of another action", stranger(t), trust(federated, ""), organizations{owner: denies("kms:*")}, true},
	} {
		res := &authz.Resource{ARN: r, Account: owner, Policy: parse(t, policy.Trust, document(tt.trust))}
		_, err := authz.New(tt.orgs).Decide(t.Context(), tt.c.call(), action, res, nil)
		if (err == nil) != tt.allowed {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// He may do nothing else, and no key policy that lets in everybody else's
	// principals has him by name.
	for _, statements := range []string{keyForOwner, keyFor(ownerRoot)} {
		if _, err := authz.New(nil).Decide(t.Context(), stranger(t).call(), decrypt, resource(t, statements), nil); err == nil {
			t.Error("a stranger decrypts")
		}
	}
	// A session has the claims, too.
	s := session(t, owner, "Deploy", `{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"idp.example.com:8443/Tenant:sub":"mona","aws:FederatedProvider":"`+provider+`"}}}`)
	for claim, allowed := range map[string]bool{"mona": true, "lisa": false} {
		s.Session = &call.Session{Provider: provider, Claims: sub(claim)}
		if _, err := authz.New(nil).Decide(t.Context(), s.call(), decrypt, resource(t, keyForOwner), nil); (err == nil) != allowed {
			t.Errorf("a session of %s: %v", claim, err)
		}
	}
}
