package iam_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/policy"
)

// agreeCases is how many calls are made in each installation.
const agreeCases = 60

// TestSimulatorsAgree: what is simulated, what is explained and what is enforced
// are one, in random installations: users with policies of their own, of groups
// and a boundary, and a role; with an organization or without; keys of two
// accounts with random policies; calls with random condition keys. The simulator
// is told the condition keys that the call has, and no others.
func TestSimulatorsAgree(t *testing.T) {
	t.Parallel()
	verdicts := make(map[string]int)
	start := time.Now()
	for seed := range uint64(agreeWorlds) {
		g := &agreement{env: newEnv(t), r: rand.New(rand.NewPCG(seed, 4)), organized: seed%2 == 0, verdicts: verdicts}
		g.build()
		for range agreeCases {
			g.try(seed)
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%v in %v", verdicts, time.Since(start))
	for _, v := range []string{"allowed", "explicitDeny", "implicitDeny"} {
		if verdicts[v] < agreeWorlds {
			t.Errorf("only %d are %s", verdicts[v], v)
		}
	}
}

// An agreement compares answers in one installation.
type agreement struct {
	*env
	r         *rand.Rand
	asker     *call.Principal // alice, as she was before there was an organization
	organized bool
	role      *call.Principal // a session of role Worker
	own       []string        // documents that carol has herself
	boundary  string          // of carol; empty for none
	verdicts  map[string]int
}

func (g *agreement) chance(percent int) bool { return g.r.IntN(100) < percent }

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

const (
	ourKey   = "arn:aws:kms:eu-central-1:111122223333:key/1"
	theirKey = "arn:aws:kms:eu-central-1:444455556666:key/1"
	ourAlias = "arn:aws:kms:eu-central-1:111122223333:alias/a"
	carolARN = "arn:aws:iam::111122223333:user/carol"
)

// build makes carol, her group and boundary, the role, and an organization.
func (g *agreement) build() {
	ctx := context.Background()
	alice := g.who("alice")
	g.asker = alice
	g.must(alice, "CreateUser", `{"UserName": "carol", "Tags": [{"Key": "team", "Value": "red"}]}`)
	g.must(alice, "CreateGroup", `{"GroupName": "staff"}`)
	g.must(alice, "AddUserToGroup", `{"UserName": "carol", "GroupName": "staff"}`)
	g.must(alice, "CreateRole", `{"RoleName": "Worker", "Tags": [{"Key": "team", "Value": "blue"}], "AssumeRolePolicyDocument": `+quote(trustOurs)+`}`)
	put := func(operation, of string) string {
		document := g.document("Allow", "Deny")
		g.must(alice, operation, `{`+of+`, "PolicyName": "p`+fmt.Sprint(g.r.Uint32())+`", "PolicyDocument": `+quote(document)+`}`)
		return document
	}
	g.own = append(g.own, put("PutUserPolicy", `"UserName": "carol"`))
	if g.chance(60) {
		g.own = append(g.own, put("PutGroupPolicy", `"GroupName": "staff"`))
	}
	put("PutRolePolicy", `"RoleName": "Worker"`)
	if g.chance(40) {
		g.boundary = g.document("Allow", "Deny")
		g.must(alice, "CreatePolicy", `{"PolicyName": "Edge", "PolicyDocument": `+quote(g.boundary)+`}`)
		g.must(alice, "PutUserPermissionsBoundary", `{"UserName": "carol", "PermissionsBoundary": "arn:aws:iam::111122223333:policy/Edge"}`)
		g.must(alice, "PutRolePermissionsBoundary", `{"RoleName": "Worker", "PermissionsBoundary": "arn:aws:iam::111122223333:policy/Edge"}`)
	}
	role, _, err := g.dir.RoleByARN(ctx, "arn:aws:iam::111122223333:role/Worker")
	g.check(err)
	s, err := g.dir.NewSession(ctx, identity.SessionParams{Kind: identity.RoleSession, Caller: alice, Role: &role, Name: "session", Duration: time.Hour})
	g.check(err)
	g.role, _, err = g.dir.Credential(ctx, s.AccessKeyID, s.Token)
	g.check(err)
	if !g.organized {
		return
	}
	const master, org, root = "777788889999", "o-abcdefghij", "r-abcd"
	_, err = g.dir.CreateAccount(ctx, identity.Account{ID: master})
	g.check(err)
	_, err = g.dir.CreateOrganization(ctx, identity.Organization{
		ID: org, Root: root, Master: master,
		Types: []identity.OrganizationPolicyType{identity.ServiceControlPolicy, identity.ResourceControlPolicy},
	})
	g.check(err)
	g.check(g.dir.PlaceAccount(ctx, ours, org, root))
	attach := func(id string, t identity.OrganizationPolicyType, content string) {
		_, err := g.dir.CreateOrganizationPolicy(ctx, identity.OrganizationPolicy{Organization: org, ID: id, Type: t, Name: id, Content: content})
		g.check(err)
		g.check(g.dir.AttachOrganizationPolicy(ctx, org, id, pick(g.r, root, ours)))
	}
	if g.chance(50) {
		attach("p-service00", identity.ServiceControlPolicy, g.document("Deny"))
	}
	if g.chance(30) {
		attach("p-resource0", identity.ResourceControlPolicy, g.resourceControl())
	}
	// Composed anew, with the organization.
	g.role, _, err = g.dir.Credential(ctx, s.AccessKeyID, s.Token)
	g.check(err)
}

// document makes a policy with one to three statements.
func (g *agreement) document(effects ...string) string {
	var statements []map[string]any
	for i := range 1 + g.r.IntN(3) {
		s := map[string]any{"Effect": effects[0]}
		if len(effects) > 1 && i > 0 && g.chance(50) {
			s["Effect"] = effects[1]
		}
		actions := pick(g.r, []string{"*"}, []string{"kms:*"}, []string{"kms:Decrypt", "kms:List*"}, []string{"KMS:de*", "iam:Get?ser"}, []string{"kms:CreateAlias", "iam:*"})
		element := "Action"
		if g.chance(10) {
			element = "NotAction"
		}
		s[element] = actions
		s["Resource"] = "*"
		if g.chance(40) {
			s[pick(g.r, "Resource", "Resource", "NotResource")] = pick(g.r, []string{ourKey}, []string{"arn:aws:kms:*:444455556666:key/*"},
				[]string{"arn:aws:iam::*:user/${aws:username}", "arn:aws:kms:*:*:key/*"}, []string{"arn:aws:kms:eu-central-1:*:alias/${aws:PrincipalTag/team, 'a'}"})
			if _, ok := s["NotResource"]; ok {
				delete(s, "Resource")
			}
		}
		if g.chance(60) {
			s["Condition"] = g.conditions()
		}
		statements = append(statements, s)
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	g.check(err)
	return string(text)
}

// resourceControl makes a resource control policy.
func (g *agreement) resourceControl() string {
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{
		"Effect": "Deny", "Principal": "*", "Action": pick(g.r, "kms:*", "kms:Decrypt"), "Resource": "*", "Condition": g.conditions(),
	}})
	g.check(err)
	return string(text)
}

// conditions makes one or two conditions, on what calls may have.
func (g *agreement) conditions() map[string]any {
	all := map[string]any{}
	for range 1 + g.r.IntN(2) {
		switch g.r.IntN(13) {
		case 0:
			all[pick(g.r, "StringEquals", "StringNotEquals", "StringEqualsIfExists")] = map[string]any{"kms:EncryptionContext:app": pick(g.r, "a", "b", "${aws:username}")}
		case 1:
			all[pick(g.r, "ForAnyValue:StringEquals", "ForAnyValue:StringLike")] = map[string]any{"kms:EncryptionContextKeys": []string{"app", "x*"}}
		case 2:
			all[pick(g.r, "IpAddress", "NotIpAddress")] = map[string]any{"aws:SourceIp": pick(g.r, "192.0.2.0/24", "198.51.100.0/24")}
		case 3:
			all["Bool"] = map[string]any{pick(g.r, "aws:SecureTransport", "aws:ViaAWSService", "kms:GrantIsForAWSResource"): pick(g.r, "true", "false")}
		case 4:
			all[pick(g.r, "DateLessThan", "DateGreaterThan")] = map[string]any{"aws:CurrentTime": "2026-11-21T12:00:00Z"}
		case 5:
			all[pick(g.r, "StringEquals", "StringNotEquals")] = map[string]any{"aws:PrincipalTag/team": pick(g.r, "red", "blue")}
		case 6:
			all[pick(g.r, "StringLike", "StringNotLike")] = map[string]any{pick(g.r, "aws:PrincipalArn", "aws:userid", "aws:PrincipalType"): pick(g.r, "arn:aws:iam::111122223333:*", "*:session", "User")}
		case 7:
			all["Null"] = map[string]any{pick(g.r, "aws:PrincipalOrgID", "kms:RequestAlias", "aws:MultiFactorAuthPresent", "aws:username", "kms:ResourceAliases", "kms:ViaService"): pick(g.r, "true", "false")}
		case 8:
			all[pick(g.r, "StringEquals", "StringNotEqualsIfExists")] = map[string]any{pick(g.r, "kms:KeySpec", "kms:CustomerMasterKeySpec"): "SYMMETRIC_DEFAULT"}
		case 9:
			all["StringEquals"] = map[string]any{pick(g.r, "aws:ResourceTag/team", "iam:ResourceTag/Team"): pick(g.r, "red", "${aws:PrincipalTag/team}")}
		case 10:
			all["StringEquals"] = map[string]any{pick(g.r, "kms:CallerAccount", "aws:ResourceAccount", "aws:PrincipalAccount"): pick(g.r, ours, theirs)}
		case 11:
			all["StringEquals"] = map[string]any{"aws:RequestedRegion": pick(g.r, "eu-central-1", "us-east-1")}
		default:
			all["NumericLessThan"] = map[string]any{"aws:EpochTime": "1795262400"} // 2026-11-21T12:00:00Z
		}
	}
	return all
}

// keyPolicy makes the policy of a key.
func (g *agreement) keyPolicy() string {
	var statements []map[string]any
	for range 1 + g.r.IntN(3) {
		s := map[string]any{
			"Effect": pick(g.r, "Allow", "Allow", "Allow", "Deny"), "Action": pick(g.r, "kms:*", "kms:Decrypt", "kms:CreateAlias"), "Resource": "*",
			"Principal": map[string]any{"AWS": pick(g.r, "arn:aws:iam::111122223333:root", carolARN, "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/alice", "*", "arn:aws:iam::444455556666:root")},
		}
		if g.chance(40) {
			s["Condition"] = g.conditions()
		}
		statements = append(statements, s)
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	g.check(err)
	return string(text)
}

// A fact is a condition key that a call has.
type fact struct {
	key, kind string
	values    []string
}

// try makes a call in all ways and compares.
func (g *agreement) try(seed uint64) {
	ctx := context.Background()
	byRole := g.chance(25)
	caller, source := g.who("carol"), carolARN
	if byRole {
		caller, source = g.role, "arn:aws:iam::111122223333:role/Worker"
	}
	action := pick(g.r, "kms:Decrypt", "kms:Decrypt", "kms:Encrypt", "kms:ScheduleKeyDeletion", "kms:CreateAlias", "kms:ListKeys", "iam:GetUser")
	resource, account, keyPolicy := pick(g.r, ourKey, ourKey, theirKey), ours, ""
	switch {
	case action == "kms:ListKeys":
		resource = "*"
	case action == "iam:GetUser":
		resource = pick(g.r, carolARN, "arn:aws:iam::111122223333:user/p/dave")
	case action == "kms:CreateAlias" && g.chance(50):
		resource = ourAlias
	case byRole:
		// A policy of a resource can be simulated for users alone: the key has
		// that which lets the account decide.
		resource = ourKey
		keyPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`
	default:
		keyPolicy = g.keyPolicy()
	}
	if resource == theirKey {
		account = theirs
	}

	// The call.
	at := time.Date(2026, 11, 21, pick(g.r, 9, 15), 0, 0, 0, time.UTC)
	c := &call.Call{ID: "id", Time: at, Region: pick(g.r, "eu-central-1", "us-east-1"), Service: "kms", Caller: caller, UserAgent: "agent"}
	ip := pick(g.r, "192.0.2.7", "198.51.100.7")
	c.Source = netip.AddrPortFrom(netip.MustParseAddr(ip), 50000)
	facts := []fact{
		{"aws:CurrentTime", "date", []string{at.Format(time.RFC3339)}},
		{"aws:EpochTime", "numeric", []string{fmt.Sprint(at.Unix())}},
		{"aws:RequestedRegion", "string", []string{c.Region}},
		{"aws:SourceIp", "ip", []string{ip}},
		{"aws:UserAgent", "string", []string{"agent"}},
		{"aws:SecureTransport", "boolean", []string{"false"}},
		{"aws:userid", "string", []string{caller.ID}},
	}
	if g.chance(50) {
		c.TLS.Version, facts[5].values = tls.VersionTLS13, []string{"true"}
	}
	if byRole {
		facts = append(facts, fact{"aws:MultiFactorAuthPresent", "boolean", []string{"false"}})
	}
	asked, described := policy.Values{}, policy.Values{}
	add := func(to policy.Values, key string, values ...string) {
		kind, v := "stringList", policy.Strings(values)
		if len(values) == 1 {
			kind, v = "string", policy.String(values[0])
		}
		to[strings.ToLower(key)] = v
		facts = append(facts, fact{key, kind, values})
	}
	if g.chance(60) {
		add(asked, "kms:EncryptionContext:app", pick(g.r, "a", "b", "carol"))
		add(asked, "kms:EncryptionContextKeys", "app", pick(g.r, "x1", "y"))
	}
	if g.chance(40) {
		add(asked, "kms:RequestAlias", "alias/a")
	}
	if g.chance(60) {
		add(described, "kms:KeySpec", pick(g.r, "SYMMETRIC_DEFAULT", "RSA_2048"))
	}
	if g.chance(60) {
		add(described, "aws:ResourceTag/team", pick(g.r, "red", "blue"))
	}
	if g.chance(30) {
		add(described, "kms:ResourceAliases", "alias/a", "alias/b")
	}
	r := &authz.Resource{ARN: resource, Account: account, Values: described}
	if keyPolicy != "" {
		p, err := policy.Parse(keyPolicy, policy.Options{Type: policy.KeyPolicy, Stored: true})
		g.check(err)
		r.Policy = p
	}
	q := &authz.Request{Values: asked}
	az := authz.New(g.dir)
	_, err := az.Decide(ctx, c, action, r, q)
	enforced := err == nil
	d, err := az.Explain(ctx, c, action, r, q)
	g.check(err)
	want := "implicitDeny"
	switch {
	case d.Allowed:
		want = "allowed"
	case slices.ContainsFunc(d.Layers, func(l authz.Layer) bool { return l.Denied }):
		want = "explicitDeny"
	}

	// The same, asked of the simulators.
	question := map[string]any{"ActionNames": []any{action}, "ResourceArns": []any{resource}}
	var entries []any
	sort.Slice(facts, func(i, j int) bool { return facts[i].key < facts[j].key })
	for _, f := range facts {
		var values []any
		for _, v := range f.values {
			values = append(values, v)
		}
		entries = append(entries, map[string]any{"ContextKeyName": f.key, "ContextKeyType": f.kind, "ContextKeyValues": values})
	}
	question["ContextEntries"] = entries
	if keyPolicy != "" && !byRole {
		question["ResourcePolicy"] = keyPolicy
	}
	answer := func(operation string) string {
		text, err := json.Marshal(question)
		g.check(err)
		results := g.must(g.asker, operation, string(text)).list("EvaluationResults")
		first, _ := results[0].(map[string]any)
		return object(first).str("EvalDecision")
	}
	question["PolicySourceArn"] = source
	simulated := answer("SimulatePrincipalPolicy")
	custom := want
	if !byRole && !g.organized {
		// Nobody knows who carol is now.
		delete(question, "PolicySourceArn")
		question["CallerArn"] = carolARN
		question["ContextEntries"] = append(entries, map[string]any{"ContextKeyName": "aws:PrincipalTag/team", "ContextKeyType": "string", "ContextKeyValues": []any{"red"}})
		var documents []any
		for _, document := range g.own {
			documents = append(documents, document)
		}
		question["PolicyInputList"] = documents
		if g.boundary != "" {
			question["PermissionsBoundaryPolicyInputList"] = []any{g.boundary}
		}
		custom = answer("SimulateCustomPolicy")
	}
	g.verdicts[want]++
	if enforced != d.Allowed || simulated != want || custom != want {
		text, _ := json.MarshalIndent(question, "", " ")
		g.t.Errorf("seed %d: enforced %t, explained %s (%s), simulated %s and %s\n%s\nown %q\nboundary %s", seed, enforced, want, d.Text, simulated, custom, text, g.own, g.boundary)
	}
}
