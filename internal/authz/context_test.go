package authz_test

import (
	"encoding/csv"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// everything is a context with every condition key.
type everything string

func (s everything) Value(*policy.Key) policy.Value { return policy.String(string(s)) }

// conditions is the names of the condition keys that not every action has, as
// policies write them.
var conditions = strings.Fields(`
	kms:BypassPolicyLockoutSafetyCheck kms:CallerAccount kms:CustomerMasterKeySpec kms:CustomerMasterKeyUsage kms:DataKeyPairSpec
	kms:EncryptionAlgorithm kms:EncryptionContext: kms:EncryptionContextKeys kms:ExpirationModel kms:GrantConstraintSourceArn
	kms:GrantConstraintType kms:GrantIsForAWSResource kms:GrantOperations kms:GranteePrincipal kms:GranteeServicePrincipal
	kms:KeyAgreementAlgorithm kms:KeyOrigin kms:KeySpec kms:KeyUsage kms:MacAlgorithm kms:MessageType kms:MultiRegion
	kms:MultiRegionKeyType kms:PrimaryRegion kms:ReEncryptOnSameKey kms:RecipientAttestation: kms:ReplicaRegion kms:RequestAlias
	kms:ResourceAliases kms:RetiringPrincipal kms:RetiringServicePrincipal kms:RotationPeriodInDays
	kms:ScheduleKeyDeletionPendingWindowInDays kms:SigningAlgorithm kms:TrailingDaysWithoutKeyUsage kms:ValidTo kms:ViaService
	kms:WrappingAlgorithm kms:WrappingKeySpec
	aws:RequestTag/ aws:TagKeys aws:ResourceTag/
	iam:ResourceTag/ iam:PermissionsBoundary iam:PolicyARN
	sts:ExternalId sts:RoleSessionName sts:SourceIdentity sts:TransitiveTagKeys
	organizations:PolicyType organizations:ServicePrincipal
	account:TargetRegion
`)

// ofResources is the condition keys that describe a kind of resource. Source:
// the resource types of the Service Authorization Reference.
var ofResources = map[string][]string{
	"key": strings.Fields(`kms:CustomerMasterKeySpec kms:CustomerMasterKeyUsage kms:KeyOrigin kms:KeySpec kms:KeyUsage
		kms:MultiRegion kms:MultiRegionKeyType kms:ResourceAliases aws:ResourceTag/`),
	"role":   {"aws:ResourceTag/", "iam:ResourceTag/"},
	"user":   {"aws:ResourceTag/", "iam:ResourceTag/"},
	"policy": {"aws:ResourceTag/"},
	"mfa":    {"aws:ResourceTag/"},

	"oidc-provider":  {"aws:ResourceTag/"},
	"organizational": {"aws:ResourceTag/"},
	"trail":          {"aws:ResourceTag/"},
}

// Every condition key is there for exactly the actions that AWS lists for it.
func TestConditionKeysOfActions(t *testing.T) {
	f, err := os.Open("testdata/actions.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	arns := map[string]string{
		"*": "*", "key": key, "alias": alias,
		"role": roleARN(owner, "R"), "user": userARN(owner, "U"), "group": "arn:aws:iam::" + owner + ":group/G",
		"policy": "arn:aws:iam::" + owner + ":policy/P", "federated-user": federatedARN(owner, "F"),
		"mfa": "arn:aws:iam::" + owner + ":mfa/M", "oidc-provider": "arn:aws:iam::" + owner + ":oidc-provider/issuer.example/x",
		"account":        "arn:aws:account::" + owner + ":account",
		"organizational": "arn:aws:organizations::" + owner + ":ou/o-x/ou-x-12345678",
		"trail":          "arn:aws:cloudtrail:eu-central-1:" + owner + ":trail/T-1",
	}
	type probe struct{ name, statement string }
	var probes []probe
	for _, name := range conditions {
		full := name
		if strings.HasSuffix(name, ":") || strings.HasSuffix(name, "/") {
			full += "x"
		}
		probes = append(probes, probe{name, `"Action":"*","Resource":"*","Condition":{"Null":{"` + full + `":"false"}}`})
	}
	policies := make([]call.Attached, len(probes))
	keyPolicies := make([]*policy.Policy, len(probes))
	for i, p := range probes {
		policies[i] = identityPolicy(t, `{"Effect":"Allow",`+p.statement+`}`)
		keyPolicies[i] = keyPolicy(t, `{"Effect":"Allow","Principal":{"AWS":"`+ownerRoot+`"},`+p.statement+`}`)
	}
	trusting := parse(t, policy.Trust, document(`{"Effect":"Allow","Principal":{"AWS":"`+owner+`"},"Action":"sts:*"}`))
	a := authz.New(nil)
	for _, row := range rows[1:] {
		action, on, keys := row[0], strings.Fields(row[1]), strings.Fields(row[4])
		for _, kind := range on {
			r := &authz.Resource{ARN: arns[kind], Account: owner, Values: everything("r")}
			if r.ARN == "" {
				t.Fatalf("%s: no resource of kind %q", action, kind)
			}
			expected := map[string]bool{}
			if kind != "alias" { // which has no condition keys of its own
				for _, k := range keys {
					expected[k] = true
				}
				for _, k := range ofResources[kind] {
					expected[k] = true
				}
			}
			c := session(t, owner, "Reader").call()
			c.Delegation = &call.Delegation{Via: []string{"s3.amazonaws.com"}} // for kms:ViaService
			c.Service = "kms"
			for i, p := range probes {
				c.Caller.Policies.Identity = policies[i : i+1]
				switch kind {
				case "key":
					r.Policy = keyPolicy(t, keyForOwner)
				case "role":
					r.Policy = trusting
				}
				if got, err := a.Would(t.Context(), c, action, r, &authz.Request{Values: everything("q")}); err != nil || got != expected[p.name] {
					t.Errorf("%s on %s in an identity-based policy: %s is there: %v, want %v (%v)", action, kind, p.name, got, expected[p.name], err)
				}
				if kind != "key" || action == "kms:RetireGrant" {
					continue
				}
				// The same in a key policy, but for what is for IAM alone.
				c.Caller.Policies.Identity = []call.Attached{allowEverything}
				r.Policy = keyPolicies[i]
				want := expected[p.name] && p.name != "aws:ResourceTag/" && p.name != "kms:ResourceAliases"
				if got, err := a.Would(t.Context(), c, action, r, &authz.Request{Values: everything("q")}); err != nil || got != want {
					t.Errorf("%s in a key policy: %s is there: %v, want %v (%v)", action, p.name, got, want, err)
				}
			}
		}
		// Whether other accounts can be let do it, and whether a grant can.
		if on[0] != "key" {
			continue
		}
		r := resource(t, keyForAll)
		if got, err := a.Would(t.Context(), user(t, other, "bob", allowAll).call(), action, r, nil); err != nil || got != (row[2] == "yes" && action != "kms:RetireGrant") {
			t.Errorf("%s by another account: %v, want %s", action, got, row[2])
		}
		_, operation, _ := strings.Cut(action, ":")
		r = granted(t, keyForOther, grant("AIDAalice", operation))
		q := &authz.Request{Child: grant("AIDAbob", operation)}
		if got, err := a.Would(t.Context(), user(t, owner, "alice").call(), action, r, q); err != nil || got != (row[3] == "yes") {
			t.Errorf("%s by a grant: %v, want %s", action, got, row[3])
		}
	}
}

var allowEverything = func() call.Attached {
	p, err := policy.Parse(document(allowAll), policy.Options{Type: policy.Identity})
	if err != nil {
		panic(err)
	}
	return call.Attached{Name: "all", Policy: p}
}()

// visible reports the value of a condition key: a policy that allows if it is
// the one expected ("" for a key that is not there) must allow.
func visible(t *testing.T, a *authz.Authorizer, c *call.Call, r *authz.Resource, action, operator, name, value string) {
	t.Helper()
	condition := `"` + operator + `":{"` + name + `":"` + value + `"}`
	if value == "" {
		condition = `"Null":{"` + name + `":"true"}`
	}
	with := *r
	with.Policy = keyPolicy(t, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{`+condition+`}}`)
	ok, err := a.Would(t.Context(), c, action, &with, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Errorf("%s: %s %s is not %q", c.Caller.ARN, operator, name, value)
	}
}

// Global condition keys come from the call, its caller, the endpoint and the
// service in between.
func TestGlobalConditionKeys(t *testing.T) {
	org := organization(t, allowAll)
	a := authz.New(organizations{owner: org})
	issued := now.Add(-time.Hour)

	alice := user(t, owner, "alice").in(org)
	alice.Tags = []call.Pair{{Name: "Team", Value: "blue"}}
	withMFA := alice
	withMFA.Session = &call.Session{Issued: issued, MFA: true, MFATime: now.Add(-90 * time.Second), SourceIdentity: "alice@example.com"}
	reader := session(t, owner, "Reader").in(org)
	reader.Session.Issued = issued
	reader.Session.Provider = "accounts.example.com"
	fed := federated(t, owner, "fed").in(org)
	rootUser := root(t, owner).in(org)
	s3 := service(t, "s3.amazonaws.com", "s3.us-west-2.amazonaws.com")

	type keys map[string]string // "Operator name" to value
	endpoint := &call.Endpoint{
		ID: "vpce-1", VPC: "vpc-1", VPCARN: "arn:aws:ec2:us-west-2:" + owner + ":vpc/vpc-1", Account: owner, Organization: org,
		Source: netip.MustParseAddr("10.1.2.3"), Policy: call.Attached{Policy: parse(t, policy.Endpoint, document(rcpFullAccess))},
	}
	for _, tt := range []struct {
		name  string
		c     caller
		alter func(*call.Call)
		keys  keys
	}{
		{"user", alice, nil, keys{
			"DateEquals aws:CurrentTime": "2026-11-22T12:00:00Z", "NumericEquals aws:EpochTime": "1795348800", "DateEquals aws:EpochTime": "1795348800",
			"Bool aws:SecureTransport": "true", "StringEquals aws:UserAgent": "aws-cli/2", "StringEquals aws:RequestedRegion": region,
			"IpAddress aws:SourceIp": "198.51.100.0/24", "StringEquals aws:SourceVpce": "", "StringEquals aws:SourceVpc": "",
			"ArnEquals aws:SourceVpcArn": "", "IpAddress aws:VpcSourceIp": "", "StringEquals aws:VpceAccount": "", "StringEquals aws:VpceOrgID": "", "StringEquals aws:VpceOrgPaths": "",
			"ArnEquals aws:PrincipalArn": alice.ARN, "StringEquals aws:PrincipalAccount": owner, "StringEquals aws:PrincipalType": "User",
			"StringEquals aws:PrincipalOrgID": "o-x", "ForAnyValue:StringEquals aws:PrincipalOrgPaths": "o-x/r-1/ou-1/",
			"StringEquals aws:PrincipalTag/team": "blue", "StringEquals aws:PrincipalTag/other": "",
			"Bool aws:PrincipalIsAWSService": "false", "StringEquals aws:PrincipalServiceName": "", "StringEquals aws:PrincipalServiceNamesList": "",
			"StringEquals aws:userid": "AIDAalice", "StringEquals aws:username": "alice",
			"DateEquals aws:TokenIssueTime": "", "Bool aws:MultiFactorAuthPresent": "", "NumericEquals aws:MultiFactorAuthAge": "",
			"StringEquals aws:SourceIdentity": "", "StringEquals aws:FederatedProvider": "",
			"Bool aws:ViaAWSService": "false", "StringEquals aws:CalledVia": "", "StringEquals aws:CalledViaFirst": "", "StringEquals aws:CalledViaLast": "",
			"ArnEquals aws:SourceArn": "", "StringEquals aws:SourceAccount": "", "StringEquals aws:SourceOrgID": "", "StringEquals aws:SourceOrgPaths": "",
			"StringEquals aws:ResourceAccount": "", // never in a key policy
			"StringEquals aws:ResourceOrgID":   "o-x", "ForAnyValue:StringEquals aws:ResourceOrgPaths": "o-x/r-1/ou-1/",
			"StringEquals kms:CallerAccount": owner, "StringEquals kms:ViaService": "",
			"StringEquals aws:referer": "", "StringEquals aws:Nonsense": "",
		}},
		{"user with MFA", withMFA, nil, keys{
			"DateEquals aws:TokenIssueTime": "2026-11-22T11:00:00Z", "Bool aws:MultiFactorAuthPresent": "true", "NumericEquals aws:MultiFactorAuthAge": "90",
			"StringEquals aws:username": "alice", "StringEquals aws:SourceIdentity": "alice@example.com",
		}},
		{"user who presents MFA in this call", alice, func(c *call.Call) { c.MFA = c.Time }, keys{
			"DateEquals aws:TokenIssueTime": "", "Bool aws:MultiFactorAuthPresent": "true", "NumericEquals aws:MultiFactorAuthAge": "0",
		}},
		{"role session", reader, nil, keys{
			"ArnEquals aws:PrincipalArn": roleARN(owner, "Reader"), "StringEquals aws:PrincipalType": "AssumedRole", "StringEquals aws:userid": "AROAReader:s",
			"StringEquals aws:username": "", "DateEquals aws:TokenIssueTime": "2026-11-22T11:00:00Z", "Bool aws:MultiFactorAuthPresent": "false",
			"NumericEquals aws:MultiFactorAuthAge": "", "StringEquals aws:FederatedProvider": "accounts.example.com",
		}},
		{"federated user", fed, nil, keys{
			"ArnEquals aws:PrincipalArn": federatedARN(owner, "fed"), "StringEquals aws:PrincipalType": "FederatedUser", "StringEquals aws:userid": owner + ":fed",
			"StringEquals aws:username": "",
		}},
		{"root user", rootUser, nil, keys{
			"ArnEquals aws:PrincipalArn": ownerRoot, "StringEquals aws:PrincipalType": "Account", "StringEquals aws:userid": owner, "StringEquals aws:username": "",
		}},
		{"through an endpoint", alice, func(c *call.Call) { c.Endpoint = endpoint }, keys{
			"IpAddress aws:SourceIp": "", "StringEquals aws:sourceVpce": "vpce-1", "StringEquals aws:SourceVpc": "vpc-1",
			"ArnEquals aws:SourceVpcArn": endpoint.VPCARN, "IpAddress aws:VpcSourceIp": "10.1.2.3", "StringEquals aws:VpceAccount": owner,
			"StringEquals aws:VpceOrgID": "o-x", "ForAnyValue:StringEquals aws:VpceOrgPaths": "o-x/r-1/ou-1/",
		}},
		{"through a service", alice, func(c *call.Call) {
			c.Delegation = &call.Delegation{Via: []string{"cloudformation.amazonaws.com", "geo.amazonaws.com"}}
		}, keys{
			"StringEquals kms:ViaService": "geo.us-west-2.amazonaws.com", "Bool aws:ViaAWSService": "true",
			"StringEquals aws:CalledViaFirst": "cloudformation.amazonaws.com", "StringEquals aws:CalledViaLast": "geo.amazonaws.com",
			"ForAnyValue:StringEquals aws:CalledVia": "geo.amazonaws.com", "IpAddress aws:SourceIp": "", "StringEquals kms:CallerAccount": owner,
			"Bool aws:PrincipalIsAWSService": "false", "ArnEquals aws:PrincipalArn": alice.ARN, "ArnEquals aws:SourceArn": "",
		}},
		{"a service", s3, func(c *call.Call) {
			c.Delegation = &call.Delegation{SourceARN: "arn:aws:s3:::b", SourceAccount: owner, SourceOrganization: org}
		}, keys{
			"Bool aws:PrincipalIsAWSService": "true", "StringEquals aws:PrincipalServiceName": "s3.amazonaws.com",
			"ForAnyValue:StringEquals aws:PrincipalServiceNamesList": "s3.us-west-2.amazonaws.com",
			"ArnEquals aws:SourceArn":                                "arn:aws:s3:::b", "StringEquals aws:SourceAccount": owner, "StringEquals aws:SourceOrgID": "o-x",
			"ForAnyValue:StringEquals aws:SourceOrgPaths": "o-x/r-1/ou-1/", "IpAddress aws:SourceIp": "", "Bool aws:ViaAWSService": "false",
			"ArnEquals aws:PrincipalArn": "", "StringEquals aws:PrincipalType": "", "StringEquals aws:userid": "", "StringEquals aws:PrincipalAccount": "",
			"StringEquals kms:CallerAccount": "", "StringEquals kms:ViaService": "",
		}},
		{"without TLS", alice, func(c *call.Call) { c.TLS = call.TLS{} }, keys{"Bool aws:SecureTransport": "false"}},
		{"without an organization", user(t, owner, "alice"), nil, keys{
			"StringEquals aws:PrincipalOrgID": "", "StringEquals aws:PrincipalOrgPaths": "", "StringEquals aws:ResourceOrgID": "", "StringEquals aws:ResourceOrgPaths": "",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, value := range tt.keys {
				c := tt.c.call()
				c.UserAgent = "aws-cli/2"
				if tt.alter != nil {
					tt.alter(c)
				}
				operator, name, _ := strings.Cut(k, " ")
				visible(t, a, c, &authz.Resource{ARN: key, Account: owner}, decrypt, operator, name, value)
			}
		})
	}
	t.Run("aws:ResourceAccount", func(t *testing.T) {
		c := user(t, owner, "alice", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceAccount":"`+owner+`"}}}`)
		want(t, a, c.call(), decrypt, resource(t, keyForOwner), nil, "")
		want(t, a, c.call(), "kms:ListKeys", &authz.Resource{ARN: "*", Account: owner}, nil, "")
	})
	t.Run("kms:GrantIsForAWSResource", func(t *testing.T) {
		for _, action := range []string{"kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"} {
			c := alice.call()
			visible(t, a, c, &authz.Resource{ARN: key, Account: owner}, action, "Bool", "kms:GrantIsForAWSResource", "false")
			c.Delegation = &call.Delegation{Via: []string{"ebs.amazonaws.com"}}
			visible(t, a, c, &authz.Resource{ARN: key, Account: owner}, action, "Bool", "kms:GrantIsForAWSResource", "true")
		}
	})
}

// values is a context of known keys, whose names must be those that package
// policy gives them.
type values map[string]policy.Value

func (v values) Value(k *policy.Key) policy.Value { return v[k.Name+k.Sub] }

// Where a key of the request and one of the resource bear the same name, the
// resource's is meant for what is done to a key, and the request's for a new
// one.
func TestRequestAndResource(t *testing.T) {
	rsa := `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"kms:KeySpec":"RSA_2048","kms:CustomerMasterKeySpec":"RSA_2048"}}}`
	usage := `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"kms:KeyUsage":"SIGN_VERIFY","kms:CustomerMasterKeyUsage":"SIGN_VERIFY"}}}`
	of := values{"kms:keyspec": policy.String("RSA_2048"), "kms:keyusage": policy.String("SIGN_VERIFY")}
	not := values{"kms:keyspec": policy.String("HMAC_256"), "kms:keyusage": policy.String("GENERATE_VERIFY_MAC")}
	const id = "identity-based policy"
	for _, statement := range []string{rsa, usage} {
		c := user(t, owner, "alice", statement)
		r := resource(t, keyForOwner)
		r.Values = of
		want(t, authz.New(nil), c.call(), "kms:DescribeKey", r, &authz.Request{Values: not}, "")
		r = resource(t, keyForOwner)
		r.Values = not
		want(t, authz.New(nil), c.call(), "kms:DescribeKey", r, &authz.Request{Values: of}, denial(c.ARN, "kms:DescribeKey", noPolicy(id, "kms:DescribeKey")))
		r = &authz.Resource{ARN: "*", Account: owner}
		want(t, authz.New(nil), c.call(), "kms:CreateKey", r, &authz.Request{Values: of}, "")
		want(t, authz.New(nil), c.call(), "kms:CreateKey", r, &authz.Request{Values: not}, denialOn(c.ARN, "kms:CreateKey", "*", noPolicy(id, "kms:CreateKey")))
		want(t, authz.New(nil), c.call(), "kms:CreateKey", r, nil, denialOn(c.ARN, "kms:CreateKey", "*", noPolicy(id, "kms:CreateKey")))
	}
	t.Run("tags", func(t *testing.T) {
		c := user(t, owner, "alice", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"iam:ResourceTag/team":"blue","aws:ResourceTag/team":"blue"}}}`)
		r := &authz.Resource{ARN: roleARN(owner, "R"), Account: owner, Values: values{"aws:resourcetag/team": policy.String("blue")}}
		want(t, authz.New(nil), c.call(), "iam:DeleteRole", r, nil, "")
	})
}

// Variables take their values from where conditions do.
func TestVariables(t *testing.T) {
	mine := `{"Effect":"Allow","Principal":{"AWS":["` + userARN(owner, "bob") + `","` + roleARN(owner, "Test") + `"]},"Action":"kms:Encrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:user":"${aws:username}"}}}`
	q := &authz.Request{Values: values{"kms:encryptioncontext:user": policy.String("bob")}}
	bob, reader := user(t, owner, "bob"), session(t, owner, "Test")
	want(t, authz.New(nil), bob.call(), "kms:Encrypt", resource(t, mine), q, "")
	want(t, authz.New(nil), reader.call(), "kms:Encrypt", resource(t, mine), q, denial(reader.ARN, "kms:Encrypt", noPolicy("resource-based policy", "kms:Encrypt")))
}
