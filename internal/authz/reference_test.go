package authz_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	referenceSeed  = flag.Uint64("reference.seed", 1, "seed of the random cases")
	referenceCases = flag.Uint64("reference.cases", defaultCases, "number of random cases")
)

// pairs is a map as the reference likes it.
func pairs(m wire.StringMap) map[string]string {
	all := make(map[string]string)
	for _, p := range m {
		all[p.Name] = p.Value
	}
	return all
}

// A maker makes cases up, and remembers what of, for the report.
type maker struct {
	*rand.Rand
	report []string
}

func (m *maker) chance(percent int) bool { return m.IntN(100) < percent }

func oneOf[T any](m *maker, of ...T) T { return of[m.IntN(len(of))] }

// document parses a document, and notes it in the report.
func (m *maker) document(layer string, kind policy.Type, statements ...string) *policy.Policy {
	text := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	m.report = append(m.report, layer+": "+text)
	p, err := policy.Parse(text, policy.Options{Type: kind})
	if err != nil {
		panic(err.Error() + ": " + text)
	}
	return p
}

func (m *maker) attached(layer string, kind policy.Type, statements ...string) call.Attached {
	return call.Attached{Name: layer, Policy: m.document(layer, kind, statements...)}
}

const (
	sourceARN = "arn:aws:cloudtrail:us-west-2:111122223333:trail/*"
	slowKey   = "key/1234abcd-12ab-34cd-56ef-1234567890ab"
	slowAlias = "alias/app"
)

var slowActions = []string{
	"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:DescribeKey", "kms:CreateGrant", "kms:ScheduleKeyDeletion", "kms:DisableKey",
}

// grantable is how many of them grants can allow.
const grantable = 6

// slowConditions are conditions that now hold and now do not.
var slowConditions = []string{
	`"StringEquals":{"kms:CallerAccount":"111122223333"}`,
	`"StringEquals":{"aws:PrincipalAccount":"444455556666"}`,
	`"StringNotEquals":{"aws:sourceVpce":"vpce-1"}`,
	`"StringEquals":{"aws:SourceVpc":"vpc-1"}`,
	`"StringEquals":{"kms:EncryptionContext:App":"a"}`,
	`"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["App","Team"]}`,
	`"Null":{"kms:EncryptionContextKeys":"true"}`,
	`"StringEquals":{"aws:ResourceTag/Team":"x"}`,
	`"ForAnyValue:StringLike":{"kms:ResourceAliases":"alias/a*"}`,
	`"StringEquals":{"kms:KeySpec":"SYMMETRIC_DEFAULT"}`,
	`"StringLike":{"kms:RequestAlias":"alias/a*"}`,
	`"StringEquals":{"kms:ViaService":"geo.us-west-2.amazonaws.com"}`,
	`"StringNotEquals":{"kms:ViaService":"geo.us-west-2.amazonaws.com"}`,
	`"Bool":{"aws:ViaAWSService":"true"}`,
	`"Bool":{"kms:GrantIsForAWSResource":"true"}`,
	`"ForAllValues:StringEquals":{"kms:GrantOperations":["Encrypt","Decrypt"]}`,
	`"BoolIfExists":{"aws:PrincipalIsAWSService":"false"}`,
	`"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"o-one"}`,
	`"StringEquals":{"aws:PrincipalOrgID":"o-one"}`,
	`"StringEquals":{"aws:ResourceOrgID":"o-one"}`,
	`"StringEquals":{"aws:ResourceAccount":"111122223333"}`,
	`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}`,
	`"StringEquals":{"aws:PrincipalType":["User","AssumedRole"]}`,
	`"StringEquals":{"aws:PrincipalTag/team":"x"}`,
	`"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/team}"}`,
	`"StringEquals":{"kms:EncryptionContext:user":"${aws:username}"}`,
	`"Bool":{"aws:MultiFactorAuthPresent":"true"}`,
	`"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}`,
	`"DateLessThan":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}`,
	`"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}`,
	`"ArnLike":{"aws:SourceArn":"arn:aws:cloudtrail:*:111122223333:trail/*"}`,
	`"StringEquals":{"aws:userid":["AIDAONE","AROAONE:s","111122223333"]}`,
	`"Null":{"kms:CallerAccount":"true"}`,
	`"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}`,
	`"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}`,
}

// statement makes a statement up that is mostly about the case.
func (m *maker) statement(c *slowCase, effect, principal string) string {
	action := oneOf(m, "kms:*", c.action, c.action, "kms:D*", oneOf(m, slowActions...))
	if c.isRole() {
		action = oneOf(m, "sts:*", "sts:AssumeRole", "sts:AssumeRole", "sts:Tag*")
	}
	resource := "*"
	if principal == "" || strings.HasPrefix(principal, "endpoint:") {
		resource = oneOf(m, "*", "*", c.arn, "arn:aws:kms:*:"+owner+":key/*", "arn:aws:kms:us-west-2:*:"+slowAlias)
	}
	principal = strings.TrimPrefix(principal, "endpoint:")
	s := `{"Effect":"` + effect + `",`
	if principal != "" {
		s += `"Principal":` + principal + `,`
	}
	s += `"Action":"` + action + `","Resource":"` + resource + `"`
	if m.chance(30) {
		s += `,"Condition":{` + oneOf(m, slowConditions...) + `}`
	}
	return s + "}"
}

// statements makes up those of one policy: often allowing, seldom denying.
func (m *maker) statements(c *slowCase, principal func() string) []string {
	var all []string
	for range 1 + m.IntN(2) {
		effect := "Allow"
		if m.chance(12) {
			effect = "Deny"
		}
		all = append(all, m.statement(c, effect, principal()))
	}
	return all
}

func nobodyNamed() string { return "" }

// name makes a Principal element up.
func (m *maker) name(p *call.Principal) string {
	if p.Kind == call.Service {
		return oneOf(m, `"*"`, `{"Service":"`+p.Services[0]+`"}`, `{"AWS":"`+owner+`"}`)
	}
	names := []string{`"*"`, `{"AWS":"` + owner + `"}`, `{"AWS":"` + owner + `"}`, `{"AWS":"arn:aws:iam::` + other + `:root"}`, `{"AWS":"` + p.ARN + `"}`, `{"AWS":"` + p.EntityARN + `"}`, `{"AWS":"arn:aws:iam::` + owner + `:user/nobody"}`}
	if p.Issuer != "" {
		names = append(names, `{"AWS":"`+p.Issuer+`"}`)
	}
	return oneOf(m, names...)
}

func (m *maker) caller() *call.Principal {
	account := oneOf(m, owner, owner, owner, other)
	p := &call.Principal{Account: account}
	iam, sts := "arn:aws:iam::"+account+":", "arn:aws:sts::"+account+":"
	switch m.IntN(8) {
	case 0:
		p.Kind, p.ARN, p.ID = call.Root, iam+"root", account
		p.EntityARN = p.ARN
	case 1, 2, 3:
		p.Kind, p.ARN, p.ID, p.Name = call.User, iam+"user/one", "AIDAONE", "one"
		p.EntityARN, p.EntityID = p.ARN, "AIDAONE"
	case 4, 5:
		p.Kind, p.ARN, p.ID = call.RoleSession, sts+"assumed-role/One/s", "AROAONE:s"
		p.EntityARN, p.EntityID = iam+"role/path/One", "AROAONE"
	case 6:
		p.Kind, p.ARN, p.ID = call.FederatedUser, sts+"federated-user/fed", account+":fed"
		p.EntityARN, p.EntityID, p.Issuer = p.ARN, "AIDAONE", iam+"user/one"
	case 7:
		p.Kind, p.Account, p.Services = call.Service, "", []string{"geo.amazonaws.com", "geo.us-west-2.amazonaws.com"}
	}
	p.Names = policy.Principal{
		Account: p.Account, Root: p.Kind == call.Root, ARN: p.ARN, Issuer: p.Issuer, ID: p.EntityID, Services: p.Services,
	}
	if p.Kind == call.RoleSession {
		p.Names.Role = p.EntityARN
	}
	if p.Kind != call.Service && p.Kind != call.Root && m.chance(40) {
		p.Tags = []call.Pair{{Name: "team", Value: oneOf(m, "x", "y")}}
	}
	if p.Kind == call.RoleSession || p.Kind == call.FederatedUser || p.Kind == call.User && m.chance(20) {
		p.Session = &call.Session{Issued: time.Date(2025+m.IntN(2), 6, 1, 0, 0, 0, 0, time.UTC), MFA: m.chance(50)}
		p.Session.Expires = p.Session.Issued.AddDate(10, 0, 0)
	}
	return p
}

// levels makes up the policies of an organization, from its root down to an
// account. Full is the statement that is mostly among them.
func (m *maker) levels(layer string, c *slowCase, kind policy.Type, full, principal string) [][]call.Attached {
	if m.chance(25) {
		return nil
	}
	var levels [][]call.Attached
	for i := range 1 + m.IntN(3) {
		var level []call.Attached
		name := fmt.Sprintf("%s %d", layer, i)
		switch {
		case kind == policy.ResourceControl:
			// What allows is always there.
			level = append(level, m.attached(name, policy.Endpoint, full))
			if m.chance(20) {
				s := m.statement(c, "Deny", principal)
				level = append(level, m.attached(name, kind, s))
			}
		case m.chance(75):
			level = append(level, m.attached(name, kind, full))
			if m.chance(15) {
				level = append(level, m.attached(name, kind, m.statements(c, nobodyNamed)...))
			}
		default:
			level = append(level, m.attached(name, kind, m.statements(c, nobodyNamed)...))
		}
		levels = append(levels, level)
	}
	return levels
}

// organizationOf makes up where an account stands.
func (m *maker) organizationOf(account string, c *slowCase) *call.Organization {
	if account == "" || m.chance(40) {
		return nil
	}
	o := &call.Organization{ID: oneOf(m, "o-one", "o-one", "o-two"), Management: m.chance(15), Master: "999988887777"}
	o.Path = o.ID + "/r-root/"
	o.ServiceControl = m.levels("SCP of "+account, c, policy.ServiceControl, `{"Effect":"Allow","Action":"*","Resource":"*"}`, "")
	o.ResourceControl = m.levels("RCP of "+account, c, policy.ResourceControl, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`, `"*"`)
	return o
}

// slowGrants are the grants of a key, and the tokens of a request.
type slowGrants struct{ c *slowCase }

func (g slowGrants) Of(_ context.Context, grantee, operation string, use func(*authz.Grant) bool) error {
	for _, one := range g.c.grants {
		if operation != "" && !slices.Contains(one.Operations, operation) {
			continue
		}
		if one.Grantee == grantee && !use(one) {
			break
		}
	}
	return nil
}

func (g slowGrants) ByToken(_ context.Context, token string) (*authz.Grant, error) {
	return g.c.tokens[token], nil
}

func (m *maker) constraints(g *authz.Grant) {
	some := []wire.Pair{{Name: "App", Value: "a"}, {Name: "Team", Value: "x"}}
	switch m.IntN(5) {
	case 0:
		g.Equals = wire.NewStringMap(some[:1+m.IntN(2)]...)
	case 1:
		g.Subset = wire.NewStringMap(some[:1+m.IntN(2)]...)
	}
}

func (m *maker) grant(c *slowCase) *authz.Grant {
	p := c.caller
	g := &authz.Grant{
		ID: fmt.Sprint(m.Uint64()), Issuer: owner, Created: c.now, Effective: c.now,
		Grantee: oneOf(m, p.EntityID, p.EntityID, p.ARN, p.ID, "arn:aws:iam::"+p.Account+":root", "AIDANOBODY"),
	}
	if p.Kind == call.Service {
		g.Grantee = oneOf(m, p.Services...)
	}
	for range 1 + m.IntN(3) {
		action := oneOf(m, slowActions[:grantable]...)
		if slices.Contains(slowActions[:grantable], c.action) && m.chance(66) {
			action = c.action
		}
		g.Operations = append(g.Operations, strings.TrimPrefix(action, "kms:"))
	}
	m.constraints(g)
	if m.chance(8) {
		g.SourceARN = sourceARN
	}
	if m.chance(25) {
		g.Effective = c.now.Add(time.Minute)
	}
	m.report = append(m.report, fmt.Sprintf("grant: %+v", *g))
	return g
}

func (m *maker) slowCase() *slowCase {
	c := &slowCase{now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), caller: m.caller(), source: netip.MustParseAddr(oneOf(m, "192.0.2.1", "203.0.113.1"))}
	p := c.caller
	c.account = owner
	switch m.IntN(12) {
	case 2:
		c.action, c.arn = "sts:AssumeRole", "arn:aws:iam::"+c.account+":role/path/Assumed"
	case 3:
		c.action, c.arn = "kms:RetireGrant", "arn:aws:kms:us-west-2:"+c.account+":"+slowKey
	case 0:
		c.action, c.arn = oneOf(m, "kms:ListKeys", "kms:GenerateRandom", "kms:CreateKey"), "*"
		if c.account = p.Account; p.Kind == call.Service {
			c.account = owner
		}
	case 1:
		c.action, c.arn = oneOf(m, "kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias"), "arn:aws:kms:us-west-2:"+c.account+":"+slowAlias
	default:
		c.action, c.arn = oneOf(m, slowActions...), "arn:aws:kms:us-west-2:"+c.account+":"+slowKey
	}
	isKey := strings.HasSuffix(c.arn, slowKey)
	c.fromCiphertext = c.action == "kms:Decrypt" && m.chance(50)

	// The organizations: one and the same for one and the same account.
	c.organization = m.organizationOf(c.account, c)
	if p.Organization = c.organization; p.Account != c.account {
		p.Organization = m.organizationOf(p.Account, c)
	}

	// The caller's policies.
	identity := m.IntN(3)
	if p.Kind == call.Root || p.Kind == call.Service {
		identity = 0
	}
	for i := range identity {
		p.Policies.Identity = append(p.Policies.Identity, m.attached(fmt.Sprintf("identity %d", i), policy.Identity, m.statements(c, nobodyNamed)...))
	}
	if p.Kind != call.Root && p.Kind != call.Service && m.chance(30) {
		b := m.attached("boundary", policy.Identity, m.statements(c, nobodyNamed)...)
		p.Policies.Boundary = &b
	}
	if p.Kind == call.FederatedUser || p.Kind == call.RoleSession && m.chance(40) {
		p.Policies.Limited = true
		for i := range m.IntN(3) {
			p.Policies.Session = append(p.Policies.Session, m.attached(fmt.Sprintf("session %d", i), policy.Identity, m.statements(c, nobodyNamed)...))
		}
	}

	// How the call came.
	switch {
	case p.Kind == call.Service:
		if m.chance(70) {
			c.delegation = &call.Delegation{SourceARN: "arn:aws:cloudtrail:us-west-2:" + oneOf(m, owner, other) + ":trail/t", SourceAccount: owner}
		}
	case m.chance(20):
		c.delegation = &call.Delegation{Via: oneOf(m, []string{"geo.amazonaws.com"}, []string{"lambda.amazonaws.com", "geo.amazonaws.com"}, []string{"rds.amazonaws.com"})}
	case m.chance(25):
		c.endpoint = &call.Endpoint{ID: oneOf(m, "vpce-1", "vpce-2"), VPC: oneOf(m, "vpc-1", "vpc-2"), Account: owner, Source: netip.MustParseAddr("10.0.0.1")}
		statements := []string{`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`}
		if m.chance(50) {
			statements = m.statements(c, func() string { return "endpoint:" + m.name(p) })
		}
		c.endpoint.Policy = m.attached("endpoint", policy.Endpoint, statements...)
	}

	// The role.
	if c.isRole() {
		var statements []string
		for range 1 + m.IntN(2) {
			statements = append(statements, strings.Replace(m.statement(c, oneOf(m, "Allow", "Allow", "Allow", "Allow", "Deny"), m.name(p)), `,"Resource":"*"`, "", 1))
		}
		c.policy = m.document("trust", policy.Trust, statements...)
	}

	// The key.
	if isKey {
		if m.chance(35) {
			c.policy = m.document("key", policy.KeyPolicy, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+owner+`:root"},"Action":"kms:*","Resource":"*"}`)
		} else {
			c.policy = m.document("key", policy.KeyPolicy, m.statements(c, func() string { return m.name(p) })...)
		}
		c.keyValues = policy.Values{"kms:keyspec": policy.String(oneOf(m, "SYMMETRIC_DEFAULT", "RSA_2048"))}
		if m.chance(50) {
			c.keyValues["aws:resourcetag/team"] = policy.String(oneOf(m, "x", "y"))
		}
		if m.chance(50) {
			c.keyValues["kms:resourcealiases"] = policy.Strings([]string{oneOf(m, "alias/a", "alias/b"), "alias/c"})
		}
		for range m.IntN(3) {
			c.grants = append(c.grants, m.grant(c))
		}
		if c.action == "kms:RetireGrant" {
			c.retired = m.grant(c)
			c.retired.Issuer = oneOf(m, owner, owner, other)
			c.retired.Operations = oneOf(m, []string{"Encrypt"}, []string{"RetireGrant", "Encrypt"})
			c.retired.Retiring = oneOf(m, "", "AIDANOBODY", p.EntityID, p.ARN, p.ID, "arn:aws:iam::"+p.Account+":root")
			if p.Kind == call.Service {
				c.retired.Retiring = oneOf(m, "", p.Services[0])
			}
			if c.retired.Retiring != "" {
				c.retired.Grantee = "AIDANOBODY" // of two ways that are barred, either may be told
			}
			m.report = append(m.report, fmt.Sprintf("retired: %+v", *c.retired))
		}
	}

	// What the operation asks for; not every action sees it.
	c.requestValues, c.context = policy.Values{}, map[string]string{}
	for _, name := range []string{"App", "Team", "user"} {
		if m.chance(30) {
			c.context[name] = map[string]string{"App": "a", "Team": "x", "user": "one"}[name]
		}
	}
	if len(c.context) > 0 {
		var names []string
		for name, value := range c.context {
			names = append(names, name)
			c.requestValues["kms:encryptioncontext:"+strings.ToLower(name)] = policy.String(value)
		}
		slices.Sort(names)
		c.requestValues["kms:encryptioncontextkeys"] = policy.Strings(names)
	}
	if m.chance(30) {
		c.requestValues["kms:requestalias"] = policy.String(oneOf(m, "alias/a", "alias/b"))
	}
	if c.retired != nil {
		c.requestValues = policy.Values{} // that would be of the grant
	}
	if c.action == "kms:CreateKey" {
		c.requestValues["kms:keyspec"] = policy.String("SYMMETRIC_DEFAULT")
	}
	if c.action == "kms:CreateGrant" {
		c.child = &authz.Grant{Operations: oneOf(m, []string{"Encrypt"}, []string{"Encrypt", "Decrypt"}, []string{"CreateGrant"})}
		c.requestValues["kms:grantoperations"] = policy.Strings(c.child.Operations)
		m.constraints(c.child)
		if m.chance(20) {
			c.child.SourceARN = sourceARN
		}
	}
	c.tokens = make(map[string]*authz.Grant)
	for i, g := range c.grants {
		if m.chance(30) {
			c.tokens[fmt.Sprintf("token-%d", i)] = g
		}
	}
	if m.chance(5) {
		c.tokens["token-gone"] = nil
	}
	return c
}

// damage makes something that restricts the call unreadable. It reports whether
// there was something.
func (m *maker) damage(c *slowCase) bool {
	p := c.caller
	var how []func()
	add := func(what string, f func()) {
		how = append(how, func() {
			m.report = append(m.report, "damaged: "+what)
			f()
		})
	}
	member := func(what string, o *call.Organization, levels [][]call.Attached) {
		if o == nil || o.Management || len(levels) == 0 {
			return
		}
		add(what, func() { o.Broken = "altered" })
		add("a policy of "+what, func() {
			level := levels[m.IntN(len(levels))]
			level[m.IntN(len(level))].Policy = nil
		})
	}
	if p.Kind != call.Service {
		add("the caller's policies", func() { p.Policies.Broken = "altered" })
		member("the SCPs", p.Organization, levelsOf(p.Organization, false))
	}
	if c.arn != "*" && c.retired == nil {
		member("the RCPs", c.organization, levelsOf(c.organization, true))
	}
	if p.Policies.Boundary != nil {
		add("the boundary", func() { p.Policies.Boundary.Policy = nil })
	}
	if len(p.Policies.Session) > 0 {
		add("a session policy", func() { p.Policies.Session[0].Policy = nil })
	}
	if len(p.Policies.Identity) > 0 {
		add("an identity-based policy", func() { p.Policies.Identity[0].Policy = nil })
	}
	if c.endpoint != nil {
		add("the endpoint's policy", func() { c.endpoint.Policy.Policy = nil })
	}
	if c.policy != nil && c.retired == nil {
		add("the resource's policy", func() { c.policy = nil })
	}
	if len(how) == 0 {
		return false
	}
	how[m.IntN(len(how))]()
	return true
}

func levelsOf(o *call.Organization, resource bool) [][]call.Attached {
	switch {
	case o == nil:
		return nil
	case resource:
		return o.ResourceControl
	}
	return o.ServiceControl
}

// TestReferenceOfDamage has calls decided in which something that restricts them
// cannot be read: they are denied, whatever the rest says.
func TestReferenceOfDamage(t *testing.T) {
	t.Parallel()
	damaged, allowed := 0, 0
	for i := range *referenceCases / 8 {
		m := &maker{Rand: rand.New(rand.NewPCG(*referenceSeed, ^i))}
		c := m.slowCase()
		_, before, err := decided(c)
		if err != nil {
			t.Fatalf("case %d of -reference.seed %d: %v", i, *referenceSeed, err)
		}
		if !m.damage(c) {
			continue
		}
		damaged++
		if before.allowed {
			allowed++
		}
		in, after, err := decided(c)
		if err != nil || after.allowed || after.text == "" {
			t.Fatalf("case %d of -reference.seed %d:\n%s\ncaller %+v\n%s on %s: %v (%s), %v", i, *referenceSeed, strings.Join(m.report, "\n"), *c.caller, c.action, c.arn, after, in.DecisionText, err)
		}
	}
	if allowed < damaged/10 {
		t.Errorf("of %d calls, %d would have been allowed: that says little", damaged, allowed)
	}
}

// placed answers where the owner of the resource stands.
type placed map[string]*call.Organization

func (p placed) Organization(_ context.Context, account string) (*call.Organization, error) {
	return p[account], nil
}

// decided has a case decided by the authorizer under test.
func decided(c *slowCase) (*call.Call, verdict, error) {
	in := &call.Call{
		Time: c.now, Region: "us-west-2", Service: "kms", Source: netip.AddrPortFrom(c.source, 1234), UserAgent: "test", TLS: call.TLS{Version: 0x0304},
		Caller: c.caller, Endpoint: c.endpoint, Delegation: c.delegation,
	}
	r := &authz.Resource{ARN: c.arn, Account: c.account, Revision: 1, FromCiphertext: c.fromCiphertext, Policy: c.policy, Values: c.keyValues}
	if len(c.grants) > 0 {
		r.Grants = slowGrants{c}
	}
	q := &authz.Request{Values: c.requestValues, Child: c.child}
	if c.context != nil {
		var all []wire.Pair
		for name, value := range c.context {
			all = append(all, wire.Pair{Name: name, Value: value})
		}
		q.Context = wire.NewStringMap(all...)
	}
	for token := range c.tokens {
		q.GrantTokens = append(q.GrantTokens, token)
	}
	organizations := placed{c.account: c.organization}
	if c.caller.Account != "" {
		organizations[c.caller.Account] = c.caller.Organization
	}
	a := authz.New(organizations)
	decide := func() (authz.Permit, error) { return a.Decide(context.Background(), in, c.action, r, q) }
	explain := func() (*authz.Decision, error) { return a.Explain(context.Background(), in, c.action, r, q) }
	if c.retired != nil {
		decide = func() (authz.Permit, error) { return a.DecideRetire(context.Background(), in, c.retired, r, q) }
		explain = func() (*authz.Decision, error) { return a.ExplainRetire(context.Background(), in, c.retired, r, q) }
	}
	permit, err := decide()
	var denied *authz.Denied
	switch {
	case errors.As(err, &denied):
		return in, verdict{text: denied.Text}, nil
	case err != nil:
		return in, verdict{}, err
	}
	if err := permit.Check(in, c.arn); err != nil {
		return in, verdict{}, err
	}
	// What explains decides alike.
	explained, err := explain()
	if err == nil && !explained.Allowed {
		err = errors.New("allowed, but explained as " + explained.Text)
	}
	return in, verdict{allowed: true}, err
}

// TestReferenceAgrees has random calls decided by the authorizer and by the slow
// one: whether they are allowed, and with what message they are denied.
func TestReferenceAgrees(t *testing.T) {
	t.Parallel()
	const shards = 4
	cases := *referenceCases
	if testing.Short() {
		cases = min(cases, 10_000)
	}
	counts := make(chan map[string]int, shards)
	t.Run("cases", func(t *testing.T) {
		for shard := range uint64(shards) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				count := make(map[string]int)
				for i := shard; i < cases; i += shards {
					m := &maker{Rand: rand.New(rand.NewPCG(*referenceSeed, i))}
					c := m.slowCase()
					in, got, err := decided(c)
					if err != nil {
						t.Fatalf("case %d of -reference.seed %d: %v", i, *referenceSeed, err)
					}
					if want := c.decide(); got != want {
						t.Fatalf("case %d of -reference.seed %d:\n%s\ncaller %+v\n%s on %s\ncontext %v, tokens %d, child %+v\nauthorizer: %v (%s)\nreference:  %v",
							i, *referenceSeed, strings.Join(m.report, "\n"), *c.caller, c.action, c.arn, c.values(false), len(c.tokens), c.child, got, in.DecisionText, want)
					}
					if in.DecisionText == "" {
						t.Fatalf("case %d: the call does not say why", i)
					}
					end := "allowed"
					if !got.allowed {
						end = got.text[strings.Index(got.text, ": ")+1:]
						if _, after, ok := strings.Cut(end, "perform: "); ok {
							end = after
						}
					}
					for _, action := range append([]string{c.arn, c.action}, slowActions...) {
						end = strings.ReplaceAll(end, action, "…")
					}
					count[end]++
				}
				counts <- count
			})
		}
	})
	if t.Failed() {
		return
	}
	total := make(map[string]int)
	for range shards {
		for what, n := range <-counts {
			total[what] += n
		}
	}
	if len(total) < 20 || float64(total["allowed"]) < 0.1*float64(cases) {
		t.Errorf("the cases end in %d ways, %d of %d allowed: they say little", len(total), total["allowed"], cases)
	}
	for what, n := range total {
		t.Log(n, what)
	}
}
