package iam

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// The simulators ask the authorizer about calls that nobody makes. They tell
// what AWS's tell: which statements match of the policies that are simulated,
// and of organizations whether they allow. Nothing is looked up for them but the
// named user, group or role with its policies: neither the policy of a resource,
// nor who a CallerArn is.

// Limits of one simulation. AWS has some, too, but does not say which.
const (
	maxSimulatedPolicies = 100  // documents in a list
	maxSimulatedNames    = 1000 // actions, resources or context keys
	maxSimulated         = 2000 // decisions for one page: what is more comes with the next
	// maxSimulatedWork is how many bytes of policies are asked for one page, each
	// as often as it is.
	maxSimulatedWork = 64 << 20
	// maxMissing is about how many bytes of condition keys are looked for one
	// page, each for every decision: one that is not there is told each time.
	maxMissing = 16 << 20
	missingKey = 32 // bytes that a key counts for besides its name
	maxMatched = 50 // statements that one result tells
)

// Where matched statements come from. Source: recorded answers of AWS; the
// values that the model has are not used there.
const (
	fromIdentity = "IAM Policy"
	fromResource = "Resource Policy"
	fromBoundary = "IAM Permissions Boundary Policy"
)

func errEntityARN(text string) *wire.Error {
	return iamapi.InvalidInput("Invalid Entity Arn: " + text)
}

// A question is what a simulator is asked, by either operation.
type question struct {
	iamapi.SimulateCustomPolicyInput
	source string // ARN of the user, group or role whose policies it is about; empty for none
}

// A simulator answers one question.
type simulator struct {
	az       *authz.Authorizer
	question *question
	caller   *call.Principal // who would call
	named    []string        // what matched statements call caller's policies
	boundary string          // and its boundary
	given    policy.Values
	owner    string // account of resources whose ARN does not say
	keys     []policy.Key
	names    []string // of keys, as they are written
	own      map[policy.Type]*policy.Policy
	size     int // of all policies, in bytes
	missing  int // of the names of keys, in bytes, as maxMissing counts
}

// SimulatePrincipalPolicy implements [iamapi.Handler].
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, c *call.Call, in *iamapi.SimulatePrincipalPolicyInput, out *iamapi.SimulatePrincipalPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).simulatePrincipalPolicy)
}

func (s *Service) simulatePrincipalPolicy(ctx context.Context, c *call.Call, in *iamapi.SimulatePrincipalPolicyInput, out *iamapi.SimulatePrincipalPolicyOutput) error {
	q := &question{
		SimulateCustomPolicyInput: iamapi.SimulateCustomPolicyInput{
			PolicyInputList: in.PolicyInputList, PermissionsBoundaryPolicyInputList: in.PermissionsBoundaryPolicyInputList,
			ActionNames: in.ActionNames, ResourceARNs: in.ResourceARNs, ResourcePolicy: in.ResourcePolicy,
			ResourceOwner: in.ResourceOwner, CallerARN: in.CallerARN, ContextEntries: in.ContextEntries,
			MaxItems: in.MaxItems, Marker: in.Marker,
		},
		source: in.PolicySourceARN,
	}
	f, err := s.useSource(ctx, c, in.PolicySourceARN)
	if err != nil {
		return err
	}
	p, err := s.dir.Holder(ctx, f.Entity)
	if err != nil {
		return err
	}
	out.EvaluationResults, out.IsTruncated, out.Marker, err = s.simulate(ctx, c, q, p)
	return err
}

// SimulateCustomPolicy implements [iamapi.Handler].
func (s *Service) SimulateCustomPolicy(ctx context.Context, c *call.Call, in *iamapi.SimulateCustomPolicyInput, out *iamapi.SimulateCustomPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).simulateCustomPolicy)
}

func (s *Service) simulateCustomPolicy(ctx context.Context, c *call.Call, in *iamapi.SimulateCustomPolicyInput, out *iamapi.SimulateCustomPolicyOutput) (err error) {
	if err := s.decideAll(ctx, c, ""); err != nil {
		return err
	}
	nobody := &call.Principal{Kind: call.User, Account: c.Caller.Account}
	nobody.Names.Account = nobody.Account
	out.EvaluationResults, out.IsTruncated, out.Marker, err = s.simulate(ctx, c, &question{SimulateCustomPolicyInput: *in}, nobody)
	return err
}

// useSource finds the user, group or role that an ARN names and decides the
// call's own action on it.
func (s *Service) useSource(ctx context.Context, c *call.Call, text string) (*subject, error) {
	a, err := arn.Parse(text)
	what, rest, _ := strings.Cut(a.Resource, "/")
	of, ok := map[string]kind{"user": aUser, "group": aGroup, "role": aRole}[what]
	if err != nil || !ok || a.Partition != partition || a.Service != "iam" || a.Region != "" || a.Account == "" || rest == "" {
		return nil, errEntityARN(text)
	}
	if a.Account != c.Caller.Account {
		// Whoever it is, nobody outside its account learns of it.
		if err := s.decide(ctx, c, c.Operation.Name, &target{arn: text, account: a.Account}, &conditions{}); err != nil {
			return nil, err
		}
		return nil, errEntityARN(text)
	}
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	f, err := s.use(ctx, c, of, name, conditions{})
	if err != nil {
		return nil, err
	}
	if f.arn != text {
		return nil, errNoSuch(of, name)
	}
	return f, nil
}

// simulate answers a page of a question about who has the policies of p, which
// is not used for anything else.
func (s *Service) simulate(ctx context.Context, c *call.Call, q *question, p *call.Principal) (results []iamapi.EvaluationResult, truncated bool, marker string, err error) {
	m, err := newSimulator(s.az, q, p)
	if err != nil {
		return nil, false, "", err
	}
	filter := q.digest()
	after, err := s.open(c, filter, q.Marker)
	if err != nil {
		return nil, false, "", err
	}
	next := 0
	if after != "" {
		if next, err = strconv.Atoi(after); err != nil || next < 0 || next > len(q.ActionNames) {
			return nil, false, "", errInvalidMarker()
		}
	}
	each := max(1, len(q.ResourceARNs))
	most := min(maxSimulated, maxSimulatedWork/(m.size+1), max(1, maxMissing/(m.missing+1)))
	if each > most {
		return nil, false, "", iamapi.InvalidInput("There are too many ResourceArns for policies of this size.")
	}
	for ; next < len(q.ActionNames); next++ {
		if n := len(results); n == pageSize(q.MaxItems) || n > 0 && (n+1)*each > most {
			marker, err = s.seal(c, filter, strconv.Itoa(next))
			return results, true, marker, err
		}
		if err := ctx.Err(); err != nil {
			return nil, false, "", err
		}
		r, err := m.action(ctx, q.ActionNames[next])
		if err != nil {
			return nil, false, "", err
		}
		results = append(results, *r)
	}
	return results, false, "", nil
}

// digest stands for all of a question but the page that is wanted.
func (q *question) digest() string {
	var b []byte
	add := func(list ...string) {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	add(q.PolicyInputList...)
	add(q.PermissionsBoundaryPolicyInputList...)
	add(q.ActionNames...)
	add(q.ResourceARNs...)
	add(q.source, q.ResourcePolicy, q.ResourceOwner, q.CallerARN)
	for _, e := range q.ContextEntries {
		add(e.ContextKeyName, string(e.ContextKeyType))
		add(e.ContextKeyValues...)
	}
	sum := sha256.Sum256(b)
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// newSimulator reads a question.
func newSimulator(az *authz.Authorizer, q *question, p *call.Principal) (*simulator, error) {
	m := &simulator{az: az, question: q, caller: p, own: make(map[policy.Type]*policy.Policy)}
	for _, l := range []struct {
		name string
		list int
		most int
	}{
		{"PolicyInputList", len(q.PolicyInputList), maxSimulatedPolicies},
		{"ActionNames", len(q.ActionNames), maxSimulatedNames},
		{"ResourceArns", len(q.ResourceARNs), maxSimulatedNames},
		{"ContextEntries", len(q.ContextEntries), maxSimulatedNames},
		{"Permissions Boundary policies", len(q.PermissionsBoundaryPolicyInputList), 1},
	} {
		if l.list > l.most {
			return nil, iamapi.InvalidInput("The list of " + l.name + " cannot exceed " + strconv.Itoa(l.most) + " items.")
		}
	}
	if len(q.ActionNames) == 0 {
		return nil, iamapi.InvalidInput("ActionNames cannot be empty.")
	}
	for _, a := range q.ActionNames {
		service, name, ok := strings.Cut(a, ":")
		if !ok || service == "" || name == "" || strings.ContainsAny(a, "*? ") {
			return nil, iamapi.InvalidInput("ActionNames are not in a valid format, a service and an action without wildcards: " + a + ".")
		}
	}
	for _, r := range q.ResourceARNs {
		if _, err := arn.Parse(r); err != nil && r != "*" {
			return nil, iamapi.InvalidInput("ResourceNames are not in a valid ARN format: " + r + ".")
		}
	}
	var err error
	if m.given, err = givenKeys(q.ContextEntries); err != nil {
		return nil, err
	}
	if err := m.readPolicies(); err != nil {
		return nil, err
	}
	return m, m.readCaller()
}

// readPolicies reads the policies that are given, next to those that the
// simulated caller has.
func (m *simulator) readPolicies() error {
	in := &m.caller.Policies
	for i := range in.Identity {
		m.named = append(m.named, sourceID(&in.Identity[i]))
	}
	inputs, err := inputPolicies("PolicyInputList", m.question.PolicyInputList)
	if err != nil {
		return err
	}
	for _, at := range inputs {
		in.Identity = append(in.Identity, at)
		m.named = append(m.named, at.Name)
	}
	bound, err := inputPolicies("PermissionsBoundaryPolicyInputList", m.question.PermissionsBoundaryPolicyInputList)
	if err != nil {
		return err
	}
	if len(bound) > 0 {
		in.Boundary = &bound[0]
	}
	if in.Boundary != nil {
		m.boundary = in.Boundary.Name
	}
	var all []*policy.Policy
	for i := range in.Identity {
		all = append(all, in.Identity[i].Policy)
	}
	if in.Boundary != nil {
		all = append(all, in.Boundary.Policy)
	}
	if m.question.ResourcePolicy != "" {
		p, err := m.resourcePolicy(policy.Resource)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	for _, p := range all {
		if p != nil {
			m.size += len(p.Text())
		}
	}
	m.names = contextKeys(all)
	for _, name := range m.names {
		m.keys = append(m.keys, policy.ParseKey(name))
		m.missing += len(name) + missingKey
	}
	return nil
}

// inputPolicies reads documents that are given.
func inputPolicies(list string, documents []string) ([]call.Attached, error) {
	var all []call.Attached
	for i, text := range documents {
		name := list + "." + strconv.Itoa(i+1)
		p, err := policy.Parse(text, policy.Options{Type: policy.Identity})
		if err != nil {
			return nil, errInput(name, err)
		}
		all = append(all, call.Attached{Name: name, Policy: p})
	}
	return all, nil
}

func errInput(name string, err error) error {
	var e *policy.Error
	if errors.As(err, &e) {
		return iamapi.InvalidInput(name + ": " + e.Message)
	}
	return iamapi.InvalidInput(name + " is not a valid policy.").WithCause(err)
}

// resourcePolicy returns the resource-based policy, read as the policy of a type
// of resource.
func (m *simulator) resourcePolicy(t policy.Type) (*policy.Policy, error) {
	if p := m.own[t]; p != nil {
		return p, nil
	}
	p, err := policy.Parse(m.question.ResourcePolicy, policy.Options{Type: t, Stored: true})
	if err != nil {
		return nil, errInput("ResourcePolicy", err)
	}
	m.own[t] = p
	return p, nil
}

// contextKeys returns the names of the condition keys that policies refer to,
// each once.
func contextKeys(policies []*policy.Policy) []string {
	var names []string
	seen := make(map[string]bool)
	for _, p := range policies {
		if p == nil {
			continue // it cannot be read any more
		}
		for _, name := range p.Keys() {
			if key := strings.ToLower(name); !seen[key] {
				seen[key] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// sourceID returns what matched statements call a policy: a managed one by its
// name, an inline one as "user_alice_Name".
func sourceID(at *call.Attached) string {
	a, err := arn.Parse(at.Of)
	if at.Of == "" || err != nil {
		return at.Name
	}
	what, rest, _ := strings.Cut(a.Resource, "/")
	return what + "_" + rest[strings.LastIndexByte(rest, '/')+1:] + "_" + at.Name
}

// readCaller finds who would call, and who owns resources that do not say.
func (m *simulator) readCaller() error {
	q, p := m.question, m.caller
	if q.CallerARN != "" && q.CallerARN != p.ARN {
		a, err := arn.Parse(q.CallerARN)
		name, ok := strings.CutPrefix(a.Resource, "user/")
		if err != nil || !ok || a.Partition != partition || a.Service != "iam" || a.Region != "" || a.Account == "" || name == "" {
			return errEntityARN(q.CallerARN)
		}
		organization := p.Organization
		if a.Account != p.Account {
			organization = nil
		}
		m.caller = &call.Principal{
			Kind: call.User, Account: a.Account, ARN: q.CallerARN, EntityARN: q.CallerARN, Name: name[strings.LastIndexByte(name, '/')+1:],
			Policies: p.Policies, Organization: organization, Names: policy.Principal{Account: a.Account, ARN: q.CallerARN},
		}
	}
	if q.ResourcePolicy != "" && (m.caller.ARN == "" || m.caller.Kind != call.User) {
		return iamapi.InvalidInput("CallerArn, the ARN of a user, is required with a ResourcePolicy, if PolicySourceArn is not a user's.")
	}
	m.owner = m.caller.Account
	if q.ResourceOwner != "" {
		a, err := arn.Parse(q.ResourceOwner)
		if err != nil || q.ResourceOwner != arn.Root(partition, a.Account) || a.Account == "" {
			return iamapi.InvalidInput("'" + q.ResourceOwner + "' is not a valid as a Resource Owner.")
		}
		m.owner = a.Account
	}
	return nil
}

// givenKeys reads the condition keys that are given.
func givenKeys(entries []iamapi.ContextEntry) (policy.Values, error) {
	given := make(policy.Values)
	for i := range entries {
		e := &entries[i]
		if e.ContextKeyName == "" {
			return nil, iamapi.InvalidInput("ContextKeyName is required in each of ContextEntries.")
		}
		k := policy.ParseKey(e.ContextKeyName)
		key := k.String()
		if _, twice := given[key]; twice {
			return nil, iamapi.InvalidInput("ContextEntries has the context key " + e.ContextKeyName + " more than once.")
		}
		scalar, list := strings.CutSuffix(string(e.ContextKeyType), "List")
		if !list && len(e.ContextKeyValues) > 1 {
			return nil, iamapi.InvalidInput("The context key " + e.ContextKeyName + " has more than one value, and is of type " + scalar + ".")
		}
		for _, v := range e.ContextKeyValues {
			if !isOfType(scalar, v) {
				return nil, iamapi.InvalidInput("A value of the context key " + e.ContextKeyName + " is not of type " + scalar + ".")
			}
		}
		switch {
		case list:
			given[key] = policy.Strings(e.ContextKeyValues)
		case len(e.ContextKeyValues) == 1:
			given[key] = policy.String(e.ContextKeyValues[0])
		default:
			given[key] = policy.Value{} // without a value, it is not there
		}
	}
	return given, nil
}

// isOfType reports whether a value of a condition key is of a type.
func isOfType(scalar, v string) bool {
	var err error
	switch scalar {
	case "numeric":
		_, err = strconv.ParseFloat(v, 64)
	case "boolean":
		return strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
	case "ip":
		_, err = netip.ParseAddr(v)
	case "binary":
		_, err = base64.StdEncoding.DecodeString(v)
	case "date":
		if _, err = strconv.ParseInt(v, 10, 64); err != nil {
			_, err = time.Parse(time.RFC3339, v)
		}
	}
	return err == nil
}

// action answers for one action, on all resources.
func (m *simulator) action(ctx context.Context, name string) (*iamapi.EvaluationResult, error) {
	resources := m.question.ResourceARNs
	r := &iamapi.EvaluationResult{EvalActionName: name, EvalResourceName: "*"}
	if len(resources) == 0 || len(resources) == 1 && resources[0] == "*" {
		v, err := m.resource(ctx, name, "*")
		if err != nil {
			return nil, err
		}
		r.EvalDecision, r.MatchedStatements, r.MissingContextValues = v.EvalResourceDecision, v.MatchedStatements, v.MissingContextValues
		r.PermissionsBoundaryDecisionDetail, r.OrganizationsDecisionDetail = v.PermissionsBoundaryDecisionDetail, v.organizations
		return r, nil
	}
	r.EvalDecisionDetails = wire.StringMap{}
	for i, resource := range resources {
		v, err := m.resource(ctx, name, resource)
		if err != nil {
			return nil, err
		}
		r.ResourceSpecificResults = append(r.ResourceSpecificResults, v.ResourceSpecificResult)
		// The action as a whole ends as the resource that it ends worst for.
		if i == 0 || severity(v.EvalResourceDecision) > severity(r.EvalDecision) {
			r.EvalDecision = v.EvalResourceDecision
		}
		r.PermissionsBoundaryDecisionDetail = worse(r.PermissionsBoundaryDecisionDetail, v.PermissionsBoundaryDecisionDetail)
		if o := v.organizations; o != nil && (r.OrganizationsDecisionDetail == nil || !o.AllowedByOrganizations) {
			r.OrganizationsDecisionDetail = o
		}
		if len(resources) == 1 {
			r.EvalResourceName, r.MatchedStatements = resource, v.MatchedStatements
			if v.EvalDecisionDetails != nil {
				r.EvalDecisionDetails = v.EvalDecisionDetails
			}
		}
	}
	return r, nil
}

func severity(d iamapi.PolicyEvaluationDecisionType) int {
	switch d {
	case iamapi.PolicyEvaluationDecisionTypeExplicitDeny:
		return 2
	case iamapi.PolicyEvaluationDecisionTypeImplicitDeny:
		return 1
	}
	return 0
}

func worse(a, b *iamapi.PermissionsBoundaryDecisionDetail) *iamapi.PermissionsBoundaryDecisionDetail {
	if a == nil || b != nil && !b.AllowedByPermissionsBoundary {
		return b
	}
	return a
}

// A result is that of one action on one resource.
type result struct {
	iamapi.ResourceSpecificResult
	organizations *iamapi.OrganizationsDecisionDetail // nil if the caller's account is in none
}

// resource answers for one action on one resource.
func (m *simulator) resource(ctx context.Context, action, resource string) (*result, error) {
	sim := &authz.Simulation{Caller: m.caller, Action: action, Resource: resource, Account: m.owner, Given: m.given}
	a, _ := arn.Parse(resource)
	if a.Account != "" {
		sim.Account = a.Account
	}
	if m.question.ResourcePolicy != "" {
		t := policy.Resource
		switch {
		case a.Service == "kms" && strings.HasPrefix(a.Resource, "key/"):
			t = policy.KeyPolicy
		case a.Service == "iam" && strings.HasPrefix(a.Resource, "role/"):
			t = policy.Trust
		}
		var err error
		if sim.Policy, err = m.resourcePolicy(t); err != nil {
			return nil, err
		}
	}
	d, err := m.az.Simulate(ctx, sim)
	if err != nil {
		return nil, err
	}
	r := &result{ResourceSpecificResult: iamapi.ResourceSpecificResult{EvalResourceName: resource}}
	for i := range m.keys {
		if m.az.Lacks(sim, &m.keys[i]) {
			r.MissingContextValues = append(r.MissingContextValues, m.names[i])
		}
	}
	var details wire.StringMap
	if sim.Policy != nil && sim.Account != m.caller.Account {
		details = wire.StringMap{
			{Name: fromIdentity, Value: string(iamapi.PolicyEvaluationDecisionTypeImplicitDeny)},
			{Name: fromResource, Value: string(iamapi.PolicyEvaluationDecisionTypeImplicitDeny)},
		}
	}
	allowed, denied := true, false
	for i := range d.Layers {
		l := &d.Layers[i]
		denied = denied || l.Denied
		switch l.Type {
		case authz.ServiceControl, authz.ResourceControl:
			allowed = allowed && l.Allowed && !l.Denied && l.Broken == ""
		case authz.ResourceBased:
			r.matched(l, fromResource, func(int) string { return "ResourcePolicy" })
			if details != nil {
				details[1].Value = string(decisionOf(l))
			}
		case authz.Boundary:
			r.PermissionsBoundaryDecisionDetail = &iamapi.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: l.Allowed && !l.Denied && l.Broken == ""}
			r.matched(l, fromBoundary, func(int) string { return m.boundary })
		case authz.Identity:
			r.matched(l, fromIdentity, func(i int) string { return m.named[i] })
			if details != nil && len(l.Policies) > 0 {
				details[0].Value = string(decisionOf(l))
			}
		}
	}
	r.EvalDecisionDetails = details
	switch {
	case d.Allowed:
		r.EvalResourceDecision = iamapi.PolicyEvaluationDecisionTypeAllowed
	case denied:
		r.EvalResourceDecision = iamapi.PolicyEvaluationDecisionTypeExplicitDeny
	default:
		r.EvalResourceDecision = iamapi.PolicyEvaluationDecisionTypeImplicitDeny
	}
	if m.caller.Organization != nil {
		r.organizations = &iamapi.OrganizationsDecisionDetail{AllowedByOrganizations: allowed}
	}
	return r, nil
}

func decisionOf(l *authz.Layer) iamapi.PolicyEvaluationDecisionType {
	switch {
	case l.Denied:
		return iamapi.PolicyEvaluationDecisionTypeExplicitDeny
	case l.Allowed:
		return iamapi.PolicyEvaluationDecisionTypeAllowed
	}
	return iamapi.PolicyEvaluationDecisionTypeImplicitDeny
}

// matched adds the statements by which a layer says what it says: those that
// deny, if any does, else those that allow; the first ones, if they are many.
func (r *result) matched(l *authz.Layer, source iamapi.PolicySourceType, name func(i int) string) {
	for i := range l.Policies {
		e := &l.Policies[i]
		for j, o := range e.Result.Statements {
			if !o.Matched || e.Policy.Denies(j) != l.Denied {
				continue
			}
			if len(r.MatchedStatements) == maxMatched {
				return
			}
			start, end := places(e.Policy, j)
			r.MatchedStatements = append(r.MatchedStatements, iamapi.Statement{
				SourcePolicyID: name(i), SourcePolicyType: source, StartPosition: start, EndPosition: end,
			})
		}
	}
}

// places returns where a statement begins and ends, as AWS counts: from the end
// of what stands before it but for white space and a comma, to what comes after
// its closing brace; lines and columns from 1.
func places(p *policy.Policy, statement int) (start, end *iamapi.Position) {
	text := p.Text()
	from, to := p.Span(statement)
	before := strings.TrimRight(text[:from], " \t\r\n")
	before = strings.TrimRight(strings.TrimSuffix(before, ","), " \t\r\n")
	return position(before), position(text[:to])
}

// position returns the place after a text.
func position(before string) *iamapi.Position {
	line := int32(1 + strings.Count(before, "\n"))
	column := int32(1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]))
	return &iamapi.Position{Line: &line, Column: &column}
}

// GetContextKeysForPrincipalPolicy implements [iamapi.Handler].
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, c *call.Call, in *iamapi.GetContextKeysForPrincipalPolicyInput, out *iamapi.GetContextKeysForPrincipalPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getContextKeysForPrincipalPolicy)
}

func (s *Service) getContextKeysForPrincipalPolicy(ctx context.Context, c *call.Call, in *iamapi.GetContextKeysForPrincipalPolicyInput, out *iamapi.GetContextKeysForPrincipalPolicyOutput) error {
	f, err := s.useSource(ctx, c, in.PolicySourceARN)
	if err != nil {
		return err
	}
	p, err := s.dir.Holder(ctx, f.Entity)
	if err != nil {
		return err
	}
	out.ContextKeyNames, err = keysOf(in.PolicyInputList, p.Policies.Identity)
	return err
}

// GetContextKeysForCustomPolicy implements [iamapi.Handler].
func (s *Service) GetContextKeysForCustomPolicy(ctx context.Context, c *call.Call, in *iamapi.GetContextKeysForCustomPolicyInput, out *iamapi.GetContextKeysForCustomPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getContextKeysForCustomPolicy)
}

func (s *Service) getContextKeysForCustomPolicy(ctx context.Context, c *call.Call, in *iamapi.GetContextKeysForCustomPolicyInput, out *iamapi.GetContextKeysForCustomPolicyOutput) (err error) {
	if err := s.decideAll(ctx, c, ""); err != nil {
		return err
	}
	out.ContextKeyNames, err = keysOf(in.PolicyInputList, nil)
	return err
}

// keysOf returns the names of the condition keys that policies and documents
// refer to.
func keysOf(documents []string, attached []call.Attached) ([]string, error) {
	if len(documents) > maxSimulatedPolicies {
		return nil, iamapi.InvalidInput("The list of PolicyInputList cannot exceed " + strconv.Itoa(maxSimulatedPolicies) + " items.")
	}
	inputs, err := inputPolicies("PolicyInputList", documents)
	if err != nil {
		return nil, err
	}
	var all []*policy.Policy
	for _, at := range append(attached, inputs...) {
		all = append(all, at.Policy)
	}
	return contextKeys(all), nil
}
