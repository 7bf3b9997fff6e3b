package authz_test

import (
	"errors"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

const decrypt = "kms:Decrypt"

// keyForRole is a statement of a key policy for whoever is the role Reader.
func keyForRole(principal string) string {
	return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"kms:*","Resource":"*","Condition":{"ArnEquals":{"aws:PrincipalArn":"` + roleARN(owner, "Reader") + `"}}}`
}

// The caller and the key are of one account.
func TestSameAccount(t *testing.T) {
	alice := userARN(owner, "alice")
	reader := roleARN(owner, "Reader")
	inSession := sessionARN(owner, "Reader")
	fed := federatedARN(owner, "fed")
	const id, res, boundary, sess = "identity-based policy", "resource-based policy", "permissions boundary", "session policy"
	for _, tt := range []struct {
		name      string
		c         caller
		keyPolicy string
		want      string // end of the denial; empty: allowed
	}{
		{"delegated", user(t, owner, "alice", allowKMS), keyForOwner, ""},
		{"delegated, no policy of his own", user(t, owner, "alice"), keyForOwner, noPolicy(id, decrypt)},
		{"delegated, another service's", user(t, owner, "alice", allowS3), keyForOwner, noPolicy(id, decrypt)},
		{"delegated to another account", user(t, owner, "alice", allowKMS), keyForOther, noPolicy(res, decrypt)},
		{"neither allows", user(t, owner, "alice"), keyForOther, noPolicy(res, decrypt)},
		{"delegated, boundary silent", user(t, owner, "alice", allowKMS).boundary(allowS3), keyForOwner, noPolicy(boundary, decrypt)},
		{"delegated, boundary allows", user(t, owner, "alice", allowKMS).boundary(allowAll), keyForOwner, ""},
		{"delegated, only the boundary allows", user(t, owner, "alice").boundary(allowAll), keyForOwner, noPolicy(id, decrypt)},
		{"delegated, session silent", session(t, owner, "Reader", allowKMS).limited(allowS3), keyForOwner, noPolicy(sess, decrypt)},
		{"delegated, one of two session policies allows", session(t, owner, "Reader", allowKMS).limited(allowS3, allowKMS), keyForOwner, ""},
		{"delegated, boundary and session silent", session(t, owner, "Reader", allowKMS).limited(allowS3).boundary(allowS3), keyForOwner, noPolicy(boundary, decrypt)},

		{"user named", user(t, owner, "alice"), keyFor(alice), ""},
		{"user named, boundary silent", user(t, owner, "alice").boundary(allowS3), keyFor(alice), ""},
		{"another user named", user(t, owner, "bob", allowAll), keyFor(alice), noPolicy(res, decrypt)},
		{"role named", session(t, owner, "Reader"), keyFor(reader), ""},
		{"role named, boundary silent", session(t, owner, "Reader").boundary(allowS3), keyFor(reader), noPolicy(boundary, decrypt)},
		{"role named, session silent", session(t, owner, "Reader", allowAll).limited(allowS3), keyFor(reader), noPolicy(sess, decrypt)},
		{"role named, session of none", session(t, owner, "Reader", allowAll).limited(), keyFor(reader), noPolicy(sess, decrypt)},
		{"session named, boundary and session silent", session(t, owner, "Reader").boundary(allowS3).limited(allowS3), keyFor(inSession), ""},
		{"another session named", session(t, owner, "Reader", allowAll), keyFor(inSession + "2"), noPolicy(res, decrypt)},
		{"role and session named", session(t, owner, "Reader").limited(allowS3), keyFor(reader) + "," + keyFor(inSession), ""},
		{"federated user named, no session policy", federated(t, owner, "fed"), keyFor(fed), ""},
		{"federated user by delegation, no session policy", federated(t, owner, "fed", allowAll), keyForOwner, noPolicy(sess, decrypt)},
		{"federated user by delegation", federated(t, owner, "fed", allowAll).limited(allowAll), keyForOwner, ""},
		{"issuer of the federated user named", federated(t, owner, "fed").limited(allowAll), keyFor(userARN(owner, "fed-issuer")), ""},
		{"issuer of the federated user named, no session policy", federated(t, owner, "fed"), keyFor(userARN(owner, "fed-issuer")), noPolicy(sess, decrypt)},
		{"issuer of the federated user named, boundary silent", federated(t, owner, "fed").limited(allowAll).boundary(allowS3), keyFor(userARN(owner, "fed-issuer")), noPolicy(boundary, decrypt)},
		{"anyone", user(t, owner, "alice"), keyForAll, ""},
		{"anyone, all else silent", session(t, owner, "Reader").boundary(allowS3).limited(allowS3), keyForAll, ""},
		{"anyone who is that role, all else silent", session(t, owner, "Reader").boundary(allowS3).limited(allowS3), keyForRole("*"), ""},
		{"anyone who is another role", session(t, owner, "Writer", allowAll), keyForRole("*"), noPolicy(res, decrypt)},
		{"the account for that role, by delegation", session(t, owner, "Reader", allowAll), keyForRole(ownerRoot), ""},
		{"the account for that role, no policy of its own", session(t, owner, "Reader"), keyForRole(ownerRoot), noPolicy(id, decrypt)},
		{"the account for another role", session(t, owner, "Writer", allowAll), keyForRole(ownerRoot), noPolicy(res, decrypt)},
		{"root user", root(t, owner), keyForOwner, ""},
		{"root user, who is not named", root(t, owner), keyFor(alice), noPolicy(res, decrypt)},

		{"explicit deny of the key policy", user(t, owner, "alice", allowAll), keyForOwner + "," + keyDeniesAll, " with an explicit deny in a resource-based policy"},
		{"explicit deny of an identity-based policy", user(t, owner, "alice", allowAll, denyDecrypt), keyForOwner, " with an explicit deny in an identity-based policy"},
		{"explicit deny, though named", user(t, owner, "alice", denyDecrypt), keyFor(alice), " with an explicit deny in an identity-based policy"},
		{"explicit deny, though the key policy is silent", user(t, owner, "alice", denyDecrypt), keyForOther, " with an explicit deny in an identity-based policy"},
		{"explicit deny of the boundary", user(t, owner, "alice").boundary(allowAll + "," + denyDecrypt), keyFor(alice), " with an explicit deny in a permissions boundary"},
		{"explicit deny of the session", session(t, owner, "Reader").limited(denyDecrypt), keyFor(inSession), " with an explicit deny in a session policy"},
		{"explicit denies of all", session(t, owner, "Reader", denyDecrypt).limited(denyDecrypt).boundary(denyDecrypt), keyDeniesAll, " with an explicit deny in a resource-based policy"},
		{"explicit denies of the caller's", session(t, owner, "Reader", denyDecrypt).limited(denyDecrypt).boundary(denyDecrypt), keyForOwner, " with an explicit deny in a permissions boundary"},
		{"explicit denies of session and identity", session(t, owner, "Reader", denyDecrypt).limited(denyDecrypt), keyForOwner, " with an explicit deny in a session policy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := ""
			if tt.want != "" {
				text = denial(tt.c.ARN, decrypt, tt.want)
			}
			want(t, authz.New(nil), tt.c.call(), decrypt, resource(t, tt.keyPolicy), nil, text)
		})
	}
}

// The caller is of another account than the key.
func TestCrossAccount(t *testing.T) {
	bob := userARN(other, "bob")
	const id, boundary, sess = "identity-based policy", "permissions boundary", "session policy"
	for _, tt := range []struct {
		name      string
		c         caller
		keyPolicy string
		action    string
		want      string
	}{
		{"both allow", user(t, other, "bob", allowKMS), keyForOther, decrypt, ""},
		{"both allow, by name", user(t, other, "bob", allowKMS), keyFor(bob), decrypt, ""},
		{"both allow, anyone", user(t, other, "bob", allowKMS), keyForAll, decrypt, ""},
		{"role named", session(t, other, "Reader", allowKMS), keyFor(roleARN(other, "Reader")), decrypt, ""},
		{"root user", root(t, other), keyForOther, decrypt, ""},
		{"his account is silent", user(t, other, "bob"), keyFor(bob), decrypt, noPolicy(id, decrypt)},
		{"anyone, his account is silent", user(t, other, "bob"), keyForAll, decrypt, noPolicy(id, decrypt)},
		{"boundary silent", user(t, other, "bob", allowKMS).boundary(allowS3), keyFor(bob), decrypt, noPolicy(boundary, decrypt)},
		{"session silent", session(t, other, "Reader", allowKMS).limited(allowS3), keyFor(sessionARN(other, "Reader")), decrypt, noPolicy(sess, decrypt)},
		{"the key's is silent", user(t, other, "bob", allowKMS), keyForOwner, decrypt, crossAccount},
		{"both silent", user(t, other, "bob"), keyForOwner, decrypt, crossAccount},
		{"another role named", session(t, other, "Writer", allowKMS), keyFor(roleARN(other, "Reader")), decrypt, crossAccount},
		{"root user of an account that is not named", root(t, other), keyForOwner, decrypt, crossAccount},
		{"the key's denies", user(t, other, "bob", allowKMS), keyForOther + "," + keyDeniesAll, decrypt, crossAccount},
		{"his account denies", user(t, other, "bob", allowKMS, denyDecrypt), keyForOther, decrypt, " with an explicit deny in an identity-based policy"},
		{"his account denies what is not shared", user(t, other, "bob", allowKMS, denyDecrypt), keyForOwner, decrypt, crossAccount},
		{"his boundary denies what is not shared", user(t, other, "bob", allowKMS).boundary(denyDecrypt), keyForOwner, decrypt, crossAccount},
		{"not for other accounts", user(t, other, "bob", allowKMS), keyForOther, "kms:ScheduleKeyDeletion", crossAccount},
		{"not for other accounts' root users", root(t, other), keyForOther, "kms:PutKeyPolicy", crossAccount},
		{"an unknown action", user(t, other, "bob", allowKMS), keyForOther, "kms:Everything", crossAccount},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := ""
			if tt.want != "" {
				text = hidden(tt.c.ARN, tt.action, tt.want)
			}
			want(t, authz.New(nil), tt.c.call(), tt.action, resource(t, tt.keyPolicy), nil, text)
		})
	}
}

// A key that a ciphertext names is called by it, if it is another account's.
func TestNamedByCiphertext(t *testing.T) {
	mine, theirs := resource(t, keyForOwner), resource(t, keyForOther)
	mine.FromCiphertext, theirs.FromCiphertext = true, true
	alice, bob := user(t, owner, "alice"), user(t, other, "bob")
	by := " on the resource associated with this ciphertext"
	want(t, authz.New(nil), alice.call(), decrypt, mine, nil, denial(alice.ARN, decrypt, noPolicy("identity-based policy", decrypt)))
	want(t, authz.New(nil), bob.call(), decrypt, mine, nil, "User: "+bob.ARN+" is not authorized to perform: kms:Decrypt"+by+crossAccount)
	want(t, authz.New(nil), bob.call(), decrypt, theirs, nil, "User: "+bob.ARN+" is not authorized to perform: kms:Decrypt"+by+noPolicy("identity-based policy", decrypt))
}

// What does not exist is denied in the words for what is not shared, whatever
// the caller's own policies say, and in whatever place he calls from.
func TestUnknownIsHidden(t *testing.T) {
	rcp := resourceControl(t, organization(t, allowAll), `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}`)
	closed := &call.Endpoint{Policy: call.Attached{Policy: parse(t, policy.Endpoint, document(`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`))}}
	for name, c := range map[string]caller{
		"no policy":          user(t, other, "bob"),
		"administrator":      user(t, other, "bob", allowAll),
		"explicit deny":      user(t, other, "bob", denyDecrypt),
		"broken":             func() caller { c := user(t, other, "bob"); c.Policies.Broken = "gone"; return c }(),
		"no SCP allows":      user(t, other, "bob", allowAll).in(organization(t, allowS3)),
		"an SCP denies":      user(t, other, "bob", allowAll).in(organization(t, denyDecrypt)),
		"root":               root(t, other),
		"session":            session(t, other, "Reader").limited(denyDecrypt),
		"service":            service(t, "s3.amazonaws.com"),
		"grantee of nothing": federated(t, other, "fed"),
	} {
		for _, fromCiphertext := range []bool{false, true} {
			for _, endpoint := range []*call.Endpoint{nil, closed} {
				for _, orgs := range []organizations{nil, {owner: rcp}} {
					cl := c.call()
					cl.Endpoint = endpoint
					r := resource(t, keyForOwner)
					r.FromCiphertext = fromCiphertext
					r.Grants = &grants{}
					q := &authz.Request{GrantTokens: []string{"junk"}}
					_, err := authz.New(orgs).Decide(t.Context(), cl, decrypt, r, q)
					d := authz.DenyUnknown(cl, decrypt, fromCiphertext)
					if err == nil || err.Error() != d.Text {
						t.Errorf("%s: unknown: %q; not shared: %v", name, d.Text, err)
					}
				}
			}
		}
	}
}

func TestNobody(t *testing.T) {
	r := resource(t, keyForAll)
	for name, c := range map[string]*call.Call{"nobody": {}, "the zero principal": {Caller: &call.Principal{}}} {
		t.Run(name, func(t *testing.T) {
			want(t, authz.New(nil), c, decrypt, r, nil, hidden("anonymous", decrypt, crossAccount))
			want(t, authz.New(nil), c, "kms:ListKeys", &authz.Resource{ARN: "*"}, nil, hidden("anonymous", "kms:ListKeys", crossAccount))
		})
	}
}

// Aliases, actions on no key and IAM's resources are decided by the caller's
// own policies.
func TestIdentityAlone(t *testing.T) {
	alice := userARN(owner, "alice")
	everything := &authz.Resource{ARN: "*", Account: owner}
	onKeys := `{"Effect":"Allow","Action":"kms:ListKeys","Resource":"arn:aws:kms:*:111122223333:key/*"}`
	anAlias := &authz.Resource{ARN: alias, Account: owner, Policy: keyPolicy(t, keyForAll)}
	aRole := &authz.Resource{ARN: roleARN(owner, "R"), Account: owner, Policy: parse(t, policy.Trust, document(`{"Effect":"Allow","Principal":"*","Action":"sts:*"}`))}
	newKey := &authz.Resource{ARN: "arn:aws:kms:us-west-2:111122223333:key/*", Account: owner}
	const id = "identity-based policy"
	for _, tt := range []struct {
		name   string
		c      caller
		action string
		r      *authz.Resource
		want   string
	}{
		{"all keys", user(t, owner, "alice", allowKMS), "kms:ListKeys", everything, ""},
		{"root user", root(t, owner), "kms:ListKeys", everything, ""},
		{"a statement on keys", user(t, owner, "alice", onKeys), "kms:ListKeys", everything, denialOn(alice, "kms:ListKeys", "*", noPolicy(id, "kms:ListKeys"))},
		{"no policy", user(t, owner, "alice"), "kms:CreateKey", everything, denialOn(alice, "kms:CreateKey", "*", noPolicy(id, "kms:CreateKey"))},
		{"boundary", user(t, owner, "alice", allowAll).boundary(allowS3), "kms:CreateKey", everything, denialOn(alice, "kms:CreateKey", "*", noPolicy("permissions boundary", "kms:CreateKey"))},
		{"another account's", user(t, other, "bob", allowAll), "kms:CreateKey", everything, hidden(userARN(other, "bob"), "kms:CreateKey", crossAccount)},
		{"root user of another account", root(t, other), "keyreeve:RekeyRoot", everything, hidden(otherRoot, "keyreeve:RekeyRoot", crossAccount)},
		{"the operator's service", user(t, owner, "alice", allowAll), "keyreeve:RekeyRoot", everything, ""},
		{"the operator's service, not allowed", user(t, owner, "alice", allowKMS), "keyreeve:RekeyRoot", everything, denialOn(alice, "keyreeve:RekeyRoot", "*", noPolicy(id, "keyreeve:RekeyRoot"))},
		{"an alias", user(t, owner, "alice", allowKMS), "kms:CreateAlias", anAlias, ""},
		{"an alias, by a key policy", user(t, owner, "alice"), "kms:CreateAlias", anAlias, denialOn(alice, "kms:CreateAlias", alias, noPolicy(id, "kms:CreateAlias"))},
		{
			"an alias, by another's name", user(t, owner, "alice", `{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:*:alias/other"}`),
			"kms:CreateAlias", anAlias, denialOn(alice, "kms:CreateAlias", alias, noPolicy(id, "kms:CreateAlias")),
		},
		{"tags of a key to be made", user(t, owner, "alice", `{"Effect":"Allow","Action":"kms:TagResource","Resource":"arn:aws:kms:us-west-2:111122223333:key/*"}`), "kms:TagResource", newKey, ""},
		{"tags of a key to be made, not allowed", user(t, owner, "alice"), "kms:TagResource", newKey, "User: " + alice + " is not authorized to perform: kms:TagResource" + noPolicy(id, "kms:TagResource")},
		{"IAM, whatever the trust policy says", user(t, owner, "alice"), "iam:DeleteRole", aRole, denialOn(alice, "iam:DeleteRole", roleARN(owner, "R"), noPolicy(id, "iam:DeleteRole"))},
		{"IAM", user(t, owner, "alice", allowAll), "iam:DeleteRole", aRole, ""},
		{"IAM of another account", user(t, other, "bob", allowAll), "iam:DeleteRole", aRole, hidden(userARN(other, "bob"), "iam:DeleteRole", crossAccount)},
		{"a service", service(t, "s3.amazonaws.com"), "kms:ListKeys", everything, hidden("s3.amazonaws.com", "kms:ListKeys", crossAccount)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want(t, authz.New(nil), tt.c.call(), tt.action, tt.r, nil, tt.want)
		})
	}
}

// Sessions of GetSessionToken and GetFederationToken are kept from IAM and most
// of STS.
func TestSessionsAndIAM(t *testing.T) {
	withToken := func(c caller, mfa bool) caller {
		c.Session = &call.Session{Issued: now, MFA: mfa}
		return c
	}
	everything := &authz.Resource{ARN: "*", Account: owner}
	alice := user(t, owner, "alice", allowAll)
	for _, tt := range []struct {
		name   string
		c      caller
		action string
		ok     bool
	}{
		{"user", alice, "iam:ListUsers", true},
		{"user's session", withToken(alice, false), "iam:ListUsers", false},
		{"user's session with MFA", withToken(alice, true), "iam:ListUsers", true},
		{"user's session with MFA", withToken(alice, true), "sts:GetFederationToken", false},
		{"user's session", withToken(alice, false), "kms:ListKeys", true},
		{"user's session", withToken(alice, false), "sts:AssumeRole", true},
		{"root user's session", withToken(root(t, owner), false), "iam:ListUsers", false},
		{"federated user", federated(t, owner, "fed", allowAll).limited(allowAll), "iam:ListUsers", false},
		{"federated user", federated(t, owner, "fed", allowAll).limited(allowAll), "sts:AssumeRole", false},
		{"federated user", federated(t, owner, "fed", allowAll).limited(allowAll), "kms:ListKeys", true},
		{"role's session", session(t, owner, "Reader", allowAll), "iam:ListUsers", true},
	} {
		text := ""
		if !tt.ok {
			text = denialOn(tt.c.ARN, tt.action, "*", noPolicy("session policy", tt.action))
		}
		t.Run(tt.name+", "+tt.action, func(t *testing.T) {
			want(t, authz.New(nil), tt.c.call(), tt.action, everything, nil, text)
		})
	}
}

func TestServiceControlPolicies(t *testing.T) {
	management := organization(t, denyDecrypt)
	management.Management = true
	broken := organization(t, allowAll)
	broken.Broken = "policy p-1 is missing"
	missing := organization(t, allowAll)
	missing.ServiceControl[0][0].Policy = nil
	missingBeside := organization(t, allowAll)
	missingBeside.ServiceControl[0] = append(missingBeside.ServiceControl[0], call.Attached{Name: "gone"})
	none := organization(t)
	none.ServiceControl = [][]call.Attached{}
	const silent = "service control policy"
	denies := " with an explicit deny in a service control policy"
	for _, tt := range []struct {
		name string
		o    *call.Organization
		want string
	}{
		{"no organization", nil, ""},
		{"not in use", organization(t), ""},
		{"every level allows", organization(t, allowAll, allowKMS, allowAll), ""},
		{"the root is silent", organization(t, allowS3, allowAll, allowAll), noPolicy(silent, decrypt)},
		{"a level is silent", organization(t, allowAll, allowS3, allowAll), noPolicy(silent, decrypt)},
		{"the account is silent", organization(t, allowAll, allowAll, allowS3), noPolicy(silent, decrypt)},
		{"two statements at a level", organization(t, allowAll, allowS3+","+allowKMS), ""},
		{"a level denies", organization(t, allowAll, allowAll+","+denyDecrypt, allowAll), denies},
		{"one denies, another is silent", organization(t, allowS3, denyDecrypt), denies},
		{"management account", management, ""},
		{"broken", broken, noPolicy(silent, decrypt)},
		{"a policy is missing", missing, noPolicy(silent, decrypt)},
		{"a policy is missing beside one that allows", missingBeside, noPolicy(silent, decrypt)},
		{"in use without any", none, noPolicy(silent, decrypt)},
	} {
		for name, c := range map[string]caller{
			"user": user(t, owner, "alice", allowAll).in(tt.o),
			"root": root(t, owner).in(tt.o),
		} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				text := ""
				if tt.want != "" {
					text = denial(c.ARN, decrypt, tt.want)
				}
				want(t, authz.New(nil), c.call(), decrypt, resource(t, keyForOwner), nil, text)
			})
		}
	}
	t.Run("of the key's account only", func(t *testing.T) {
		c := user(t, other, "bob", allowAll)
		want(t, authz.New(organizations{owner: organization(t, denyDecrypt)}), c.call(), decrypt, resource(t, keyForOther), nil, "")
	})
	t.Run("of the caller's account", func(t *testing.T) {
		c := user(t, other, "bob", allowAll).in(organization(t, allowS3))
		want(t, authz.New(nil), c.call(), decrypt, resource(t, keyForOther), nil, hidden(c.ARN, decrypt, noPolicy(silent, decrypt)))
	})
	t.Run("where no key is", func(t *testing.T) {
		c := user(t, owner, "alice", allowAll).in(organization(t, allowS3))
		want(t, authz.New(nil), c.call(), "kms:ListKeys", &authz.Resource{ARN: "*", Account: owner}, nil, denialOn(c.ARN, "kms:ListKeys", "*", noPolicy(silent, "kms:ListKeys")))
	})
}

func TestResourceControlPolicies(t *testing.T) {
	org := organization(t, allowAll)
	inside := `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"o-x"},"BoolIfExists":{"aws:PrincipalIsAWSService":"false"}}}`
	strict := resourceControl(t, org, inside)
	closed := resourceControl(t, org, `{"Effect":"Deny","Principal":"*","Action":["kms:*","sts:*"],"Resource":"*"}`)
	management := *closed
	management.Management = true
	broken := *strict
	broken.Broken = "policy p-2 is missing"
	missing := *strict
	missing.ResourceControl = [][]call.Attached{{{Name: "gone"}}}
	denies := " with an explicit deny in a resource control policy"
	elsewhere := organization(t, allowAll)
	elsewhere.ID = "o-y"
	forService := `,{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"kms:*","Resource":"*"}`
	for _, tt := range []struct {
		name   string
		o      *call.Organization // of the key's account
		c      caller
		action string
		want   string
	}{
		{"member of the organization", strict, user(t, other, "bob", allowAll).in(org), decrypt, ""},
		{"stranger", strict, user(t, other, "bob", allowAll), decrypt, denies},
		{"member of another", strict, user(t, other, "bob", allowAll).in(elsewhere), decrypt, denies},
		{"service", strict, service(t, "s3.amazonaws.com"), decrypt, ""},
		{"service, denied", closed, service(t, "s3.amazonaws.com"), decrypt, denies},
		{"own account", closed, user(t, owner, "alice", allowAll).in(closed), decrypt, denies},
		{"own root user", closed, root(t, owner).in(closed), decrypt, denies},
		{"key of the management account", &management, user(t, other, "bob", allowAll), decrypt, ""},
		{"own key of the management account", &management, user(t, owner, "alice", allowAll).in(&management), decrypt, ""},
		{"broken", &broken, user(t, other, "bob", allowAll).in(org), decrypt, noPolicy("resource control policy", decrypt)},
		{"missing", &missing, user(t, other, "bob", allowAll).in(org), decrypt, noPolicy("resource control policy", decrypt)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := ""
			if tt.want != "" {
				text = hidden(tt.c.ARN, tt.action, tt.want)
				if tt.c.Account == owner {
					text = denial(tt.c.ARN, tt.action, tt.want)
				}
				if tt.c.Kind == call.Service {
					text = hidden("s3.amazonaws.com", tt.action, tt.want)
				}
			}
			r := resource(t, keyForOwner+","+keyForOther+forService)
			want(t, authz.New(organizations{owner: tt.o}), tt.c.call(), tt.action, r, nil, text)
		})
	}
	t.Run("not of what has no resource", func(t *testing.T) {
		c := user(t, owner, "alice", allowAll).in(closed)
		want(t, authz.New(nil), c.call(), "kms:ListKeys", &authz.Resource{ARN: "*", Account: owner}, nil, "")
		want(t, authz.New(nil), c.call(), "iam:ListRoles", &authz.Resource{ARN: roleARN(owner, "R"), Account: owner}, nil, "")
	})
	t.Run("of an alias", func(t *testing.T) {
		c := user(t, owner, "alice", allowAll).in(closed)
		want(t, authz.New(nil), c.call(), "kms:CreateAlias", &authz.Resource{ARN: alias, Account: owner}, nil, denialOn(c.ARN, "kms:CreateAlias", alias, denies))
	})
}

func TestEndpointPolicy(t *testing.T) {
	endpoint := func(statements string) *call.Endpoint {
		return &call.Endpoint{ID: "vpce-1", VPC: "vpc-1", Policy: call.Attached{Policy: parse(t, policy.Endpoint, document(statements))}}
	}
	everything := `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`
	const silent = "VPC endpoint policy"
	alice := user(t, owner, "alice", allowAll)
	for _, tt := range []struct {
		name   string
		e      *call.Endpoint
		c      caller
		policy string
		want   string
		only   bool // nothing else keeps it from being allowed
	}{
		{"open", endpoint(everything), alice, keyForOwner, "", false},
		{"open, no policy of his own", endpoint(everything), user(t, owner, "alice"), keyForOwner, noPolicy("identity-based policy", decrypt), false},
		{"for him and the key", endpoint(`{"Effect":"Allow","Principal":{"AWS":"` + alice.ARN + `"},"Action":"kms:Decrypt","Resource":"` + key + `"}`), alice, keyForOwner, "", false},
		{"for another", endpoint(`{"Effect":"Allow","Principal":{"AWS":"` + userARN(owner, "bob") + `"},"Action":"kms:Decrypt","Resource":"*"}`), alice, keyForOwner, noPolicy(silent, decrypt), true},
		{"for another action, though the key names him", endpoint(`{"Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`), alice, keyFor(alice.ARN), noPolicy(silent, decrypt), true},
		{"denies", endpoint(everything + `,{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}`), alice, keyForOwner, " with an explicit deny in a VPC endpoint policy", true},
		{"denies, and so do others", endpoint(`{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}`), user(t, owner, "alice", denyDecrypt), keyDeniesAll, " with an explicit deny in a VPC endpoint policy", false},
		{"for another, and he may not anyway", endpoint(`{"Effect":"Allow","Principal":{"AWS":"` + userARN(owner, "bob") + `"},"Action":"kms:Decrypt","Resource":"*"}`), user(t, owner, "alice"), keyForOwner, noPolicy(silent, decrypt), false},
		{"denies, and he may not anyway", endpoint(`{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}`), user(t, owner, "alice"), keyForOwner, " with an explicit deny in a VPC endpoint policy", false},
		{"missing", &call.Endpoint{ID: "vpce-1"}, alice, keyForOwner, noPolicy(silent, decrypt), false},
		{"none", nil, alice, keyForOwner, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c.call()
			c.Endpoint = tt.e
			text := ""
			if tt.want != "" {
				text = denial(tt.c.ARN, decrypt, tt.want)
			}
			want(t, authz.New(nil), c, decrypt, resource(t, tt.policy), nil, text)
			if only := c.Denial != nil && c.Denial.OnlyEndpoint; only != tt.only {
				t.Errorf("OnlyEndpoint = %v, want %v", only, tt.only)
			}
		})
	}
}

// A grant counts among what would have allowed a call but for the endpoint.
func TestOnlyEndpoint(t *testing.T) {
	alice := user(t, owner, "alice")
	for _, statements := range []string{`{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}`, `{"Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`} {
		for granted, only := range map[string]bool{"Decrypt": true, "Encrypt": false} {
			c := alice.call()
			c.Endpoint = &call.Endpoint{ID: "vpce-1", Policy: call.Attached{Policy: parse(t, policy.Endpoint, document(statements))}}
			r := resource(t, keyFor(userARN(owner, "bob")))
			r.Grants = &grants{all: []*authz.Grant{{ID: "g", Grantee: c.Caller.EntityID, Operations: []string{granted}}}}
			if _, err := authz.New(nil).Decide(t.Context(), c, decrypt, r, nil); err == nil {
				t.Fatalf("%s with a grant to %s: allowed", statements, granted)
			}
			if c.Denial.OnlyEndpoint != only {
				t.Errorf("%s with a grant to %s: OnlyEndpoint = %v", statements, granted, c.Denial.OnlyEndpoint)
			}
		}
	}
}

// Whatever restricts and cannot be read denies everything.
func TestBroken(t *testing.T) {
	alice := userARN(owner, "alice")
	for _, tt := range []struct {
		name  string
		layer string
		alter func(*call.Principal)
	}{
		{"said to be", "identity-based policy", func(p *call.Principal) { p.Policies.Broken = "inline policy x was altered" }},
		{"a policy", "identity-based policy", func(p *call.Principal) { p.Policies.Identity = append(p.Policies.Identity, call.Attached{Name: "x"}) }},
		{"boundary", "permissions boundary", func(p *call.Principal) { p.Policies.Boundary = &call.Attached{Name: "x"} }},
		{"session policy", "session policy", func(p *call.Principal) { p.Policies.Session = []call.Attached{{Name: "x"}} }},
	} {
		for name, statements := range map[string]string{"named": keyFor(alice), "anyone": keyForAll, "delegated": keyForOwner} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				c := user(t, owner, "alice", allowAll).call()
				tt.alter(c.Caller)
				r := resource(t, statements)
				r.Grants = &grants{all: []*authz.Grant{{Grantee: c.Caller.EntityID, Operations: []string{"Decrypt"}}}}
				want(t, authz.New(nil), c, decrypt, r, nil, denial(alice, decrypt, noPolicy(tt.layer, decrypt)))
			})
		}
	}
	t.Run("key policy", func(t *testing.T) {
		for _, c := range []caller{user(t, owner, "alice", allowAll), root(t, owner)} {
			r := &authz.Resource{ARN: key, Account: owner, Grants: &grants{all: []*authz.Grant{{Grantee: "AIDAalice", Operations: []string{"Decrypt"}}}}}
			want(t, authz.New(nil), c.call(), decrypt, r, nil, denial(c.ARN, decrypt, noPolicy("resource-based policy", decrypt)))
		}
		bob := user(t, other, "bob", allowAll)
		want(t, authz.New(nil), bob.call(), decrypt, &authz.Resource{ARN: key, Account: owner}, nil, hidden(bob.ARN, decrypt, crossAccount))
	})
	t.Run("trust policy", func(t *testing.T) {
		c := user(t, owner, "alice", allowAll)
		r := &authz.Resource{ARN: roleARN(owner, "R"), Account: owner}
		want(t, authz.New(nil), c.call(), "sts:AssumeRole", r, nil, denialOn(alice, "sts:AssumeRole", r.ARN, " because no role trust policy allows the sts:AssumeRole action"))
	})
}

// Services are allowed by key policies and grants alone.
func TestService(t *testing.T) {
	s := service(t, "cloudtrail.amazonaws.com", "cloudtrail.us-west-2.amazonaws.com")
	named := `{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:cloudtrail:us-west-2:111122223333:trail/finance"}}}`
	const action = "kms:GenerateDataKey"
	denied := hidden("cloudtrail.amazonaws.com", action, crossAccount)
	for _, tt := range []struct {
		name   string
		policy string
		source string
		want   string
	}{
		{"for its resource", named, "arn:aws:cloudtrail:us-west-2:111122223333:trail/finance", ""},
		{"for another", named, "arn:aws:cloudtrail:us-west-2:111122223333:trail/other", denied},
		{"for none", named, "", denied},
		{"anyone", keyForAll, "", ""},
		{"not named", keyForOwner, "", denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := s.call()
			c.Delegation = &call.Delegation{SourceARN: tt.source, SourceAccount: owner}
			want(t, authz.New(nil), c, action, resource(t, tt.policy), nil, tt.want)
		})
	}
	t.Run("a user says so", func(t *testing.T) {
		c := user(t, owner, "alice").call()
		c.Delegation = &call.Delegation{SourceARN: "arn:aws:cloudtrail:us-west-2:111122223333:trail/finance"}
		want(t, authz.New(nil), c, action, resource(t, named), nil, denial(c.Caller.ARN, action, noPolicy("resource-based policy", action)))
	})
}

func TestAssumeRole(t *testing.T) {
	const action = "sts:AssumeRole"
	r := roleARN(owner, "Admin")
	trust := func(principal string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":["sts:AssumeRole","sts:TagSession"]}`
	}
	alice := userARN(owner, "alice")
	bare := func(who string) string { return denialOn(who, action, r, "") }
	denyAssume := `{"Effect":"Deny","Action":"sts:*","Resource":"*"}`
	const untrusted = " because no role trust policy allows the sts:AssumeRole action"
	rcp := resourceControl(t, organization(t, allowAll), `{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}`)
	for _, tt := range []struct {
		name  string
		c     caller
		trust string
		orgs  organizations
		want  string
	}{
		{"user trusted", user(t, owner, "alice"), trust(`{"AWS":"` + alice + `"}`), nil, ""},
		{"account trusted", user(t, owner, "alice", allowAll), trust(`{"AWS":"` + owner + `"}`), nil, ""},
		{"account trusted, not allowed", user(t, owner, "alice", allowKMS), trust(`{"AWS":"` + owner + `"}`), nil, denialOn(alice, action, r, noPolicy("identity-based policy", action))},
		{"another trusted", user(t, owner, "alice", allowAll), trust(`{"AWS":"` + userARN(owner, "bob") + `"}`), nil, denialOn(alice, action, r, untrusted)},
		{"a role trusted, boundary silent", session(t, owner, "Reader").boundary(allowS3), trust(`{"AWS":"` + roleARN(owner, "Reader") + `"}`), nil, denialOn(sessionARN(owner, "Reader"), action, r, noPolicy("permissions boundary", action))},
		{"trust policy denies", user(t, owner, "alice", allowAll), trust(`{"AWS":"`+owner+`"}`) + `,{"Effect":"Deny","Principal":"*","Action":"sts:*"}`, nil, denialOn(alice, action, r, " with an explicit deny in the role trust policy")},
		{"he is denied", user(t, owner, "alice", allowAll, denyAssume), trust(`{"AWS":"` + alice + `"}`), nil, denialOn(alice, action, r, " with an explicit deny in an identity-based policy")},
		{"other account, both allow", user(t, other, "bob", allowAll), trust(`{"AWS":"` + other + `"}`), nil, ""},
		{"other account, trusted only", user(t, other, "bob"), trust(`{"AWS":"` + userARN(other, "bob") + `"}`), nil, denialOn(userARN(other, "bob"), action, r, noPolicy("identity-based policy", action))},
		{"other account, allowed only", user(t, other, "bob", allowAll), trust(`{"AWS":"` + owner + `"}`), nil, bare(userARN(other, "bob"))},
		{"other account, denied by trust policy", user(t, other, "bob", allowAll), trust(`"*"`) + `,{"Effect":"Deny","Principal":"*","Action":"sts:*"}`, nil, bare(userARN(other, "bob"))},
		{"other account, denied itself and not trusted", user(t, other, "bob", allowAll, denyAssume), trust(`{"AWS":"` + owner + `"}`), nil, bare(userARN(other, "bob"))},
		{"root user", root(t, owner), trust(`{"AWS":"` + owner + `"}`), nil, "Roles may not be assumed by root accounts."},
		{"root user of another account", root(t, other), trust(`{"AWS":"` + other + `"}`), nil, "Roles may not be assumed by root accounts."},
		{"root user of another account, not trusted", root(t, other), trust(`{"AWS":"` + owner + `"}`), nil, bare(otherRoot)},
		{"a service", service(t, "geo.amazonaws.com"), trust(`{"Service":"geo.amazonaws.com"}`), nil, ""},
		{"a resource control policy", user(t, other, "bob", allowAll), trust(`{"AWS":"` + other + `"}`), organizations{owner: rcp}, denialOn(userARN(other, "bob"), action, r, " with an explicit deny in a resource control policy")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := &authz.Resource{ARN: r, Account: owner, Policy: parse(t, policy.Trust, document(tt.trust))}
			want(t, authz.New(tt.orgs), tt.c.call(), action, res, nil, tt.want)
		})
	}
	c := user(t, other, "bob", allowAll).call()
	if d := authz.DenyUnknownRole(c, action, r); d.Text != bare(userARN(other, "bob")) {
		t.Errorf("unknown role: %q", d.Text)
	}
}

// A user's key policy and a decision's permit are of one revision.
func TestPermitIsBound(t *testing.T) {
	c := user(t, owner, "alice", allowAll).call()
	p, err := authz.New(nil).Decide(t.Context(), c, decrypt, resource(t, keyForOwner), nil)
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
		{"another call", p, user(t, owner, "alice").call(), key, false},
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
	c := user(t, other, "bob", allowAll).call()
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
		{"another call", p, user(t, other, "bob").call(), other, false},
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

// An organization that cannot be read decides nothing.
func TestErrorDecidesNothing(t *testing.T) {
	c := user(t, other, "bob", allowAll).call()
	p, err := authz.New(failing{}).Decide(t.Context(), c, decrypt, resource(t, keyForOther), nil)
	if !errors.Is(err, errStore) || p != (authz.Permit{}) || c.DecisionText == "" {
		t.Errorf("Decide = %+v, %v", p, err)
	}
	if ok, err := authz.New(failing{}).Would(t.Context(), c, decrypt, resource(t, keyForOther), nil); ok || !errors.Is(err, errStore) {
		t.Errorf("Would = %v, %v", ok, err)
	}
	if d, err := authz.New(failing{}).Explain(t.Context(), c, decrypt, resource(t, keyForOther), nil); d != nil || !errors.Is(err, errStore) {
		t.Errorf("Explain = %+v, %v", d, err)
	}
}
