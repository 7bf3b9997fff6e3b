package policy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/policy"
)

// A sketch is a document that is made up, in a form in which parts of it can be
// left out to find what a disagreement is about.
type sketch struct {
	options    policy.Options
	ids        map[string]string // that names are bound to
	version    string            // empty: none
	statements []sketchStatement
	alone      bool // the one statement stands without a list
}

type sketchStatement struct {
	effect       string
	principals   []sketchName // nil: the type has none
	notPrincipal bool
	actions      []string // nil: none
	notAction    bool
	resources    []string // nil: none
	notResource  bool
	conditions   []sketchCondition
	alone        bool // single values stand without a list
}

type sketchName struct{ kind, name string } // kind is empty for a bare "*"

type sketchCondition struct {
	operator, key string
	values        []string
	scalar        bool // a number or boolean stands without quotes
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func list(values []string, alone bool) string {
	if alone && len(values) == 1 {
		return quote(values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

func (s *sketch) String() string {
	var statements []string
	for _, st := range s.statements {
		statements = append(statements, st.String())
	}
	text := "[" + strings.Join(statements, ",") + "]"
	if s.alone && len(statements) == 1 {
		text = statements[0]
	}
	text = `"Statement":` + text + "}"
	if s.version != "" {
		text = `"Version":` + quote(s.version) + "," + text
	}
	return "{" + text
}

func (s *sketchStatement) String() string {
	parts := []string{`"Effect":` + quote(s.effect)}
	add := func(name string, not bool, value string) {
		if not {
			name = "Not" + name
		}
		parts = append(parts, quote(name)+":"+value)
	}
	if s.principals != nil {
		add("Principal", s.notPrincipal, s.principalText())
	}
	if s.actions != nil {
		add("Action", s.notAction, list(s.actions, s.alone))
	}
	if s.resources != nil {
		add("Resource", s.notResource, list(s.resources, s.alone))
	}
	if len(s.conditions) > 0 {
		var operators []string
		for i, c := range s.conditions {
			if slices.ContainsFunc(s.conditions[:i], func(o sketchCondition) bool { return o.operator == c.operator }) {
				continue
			}
			var keys []string
			for _, o := range s.conditions[i:] {
				if o.operator == c.operator {
					value := list(o.values, s.alone)
					if o.scalar {
						value = o.values[0]
					}
					keys = append(keys, quote(o.key)+":"+value)
				}
			}
			operators = append(operators, quote(c.operator)+":{"+strings.Join(keys, ",")+"}")
		}
		parts = append(parts, `"Condition":{`+strings.Join(operators, ",")+"}")
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (s *sketchStatement) principalText() string {
	if s.principals[0].kind == "" {
		return `"*"`
	}
	var kinds []string
	for i, p := range s.principals {
		if slices.ContainsFunc(s.principals[:i], func(o sketchName) bool { return o.kind == p.kind }) {
			continue
		}
		var names []string
		for _, o := range s.principals[i:] {
			if o.kind == p.kind {
				names = append(names, o.name)
			}
		}
		kinds = append(kinds, quote(p.kind)+":"+list(names, s.alone))
	}
	return "{" + strings.Join(kinds, ",") + "}"
}

// A dice makes documents and requests up.
type dice struct{ *rand.Rand }

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

const (
	accountA = "111122223333"
	accountB = "444455556666"
	keyA     = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

var (
	kmsActions = []string{
		"kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey",
		"kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey", "kms:CreateGrant", "kms:ListKeys", "iam:GetUser",
	}
	trustActions = []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"}
	resources    = []string{
		keyA, "arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"arn:aws:kms:us-west-2:111122223333:alias/app/a", "arn:aws:kms:us-west-2:111122223333:alias/bob",
		"arn:aws:iam::111122223333:user/div:sion/Bob", "*",
	}
	// condition keys by what they hold
	stringKeys = []string{
		"aws:username", "aws:PrincipalTag/team", "aws:principaltag/Team:x", "kms:ViaService", "aws:UserAgent",
		"kms:EncryptionContext:App", "kms:EncryptionContext:aws:geo:arn", "aws:SourceVpce", "aws:userid",
	}
	listKeys = []string{"aws:TagKeys", "kms:EncryptionContextKeys", "kms:GrantOperations", "aws:PrincipalOrgPaths"}
	arnKeys  = []string{"aws:PrincipalArn", "aws:SourceArn"}
	numKeys  = []string{"kms:RotationPeriodInDays", "aws:MultiFactorAuthAge", "kms:ValidTo"}
	timeKeys = []string{"aws:CurrentTime", "aws:TokenIssueTime", "aws:EpochTime"}
	addrKeys = []string{"aws:SourceIp", "aws:VpcSourceIp"}
	boolKeys = []string{"aws:SecureTransport", "aws:MultiFactorAuthPresent", "kms:MultiRegion"}
	byteKeys = []string{"aws:Blob"}

	words = []string{"alpha", "Alpha", "ALPHA", "beta", "a", "", "a*b", "a?b", "alphabet", "bob", "x:y/z", "ünder", "\u212Aelvin", "Kelvin", "\u212Aelvin", "kelvin", "$", "${a}", "true", "42"}
	arns  = []string{
		"arn:aws:iam::111122223333:user/div/Bob", "arn:aws:iam::111122223333:role/app/Reader",
		"arn:aws:sns:us-west-2:444455556666:topic:sub", "arn:aws:s3:::bucket/a/b", "bob", "arn:aws:s3", "",
	}
	numbers = []string{"0", "1", "2", "2.5", "-3", "365", "1546257599.0", "1e3", "1000", "many"}
	dates   = []string{
		"2026-01-01", "2026-01-01T00:00:00Z", "2026-06-01T12:30:00+02:00", "2026-06-01T10:30:00Z", "2026-06-01T10:30Z",
		"1780309800", "1767225600", "yesterday",
	}
	addrs  = []string{"192.0.2.10", "192.0.2.200", "203.0.113.7", "2001:db8::1", "2001:db8:1::1", "10.0.0.1"}
	blocks = []string{
		"192.0.2.0/24", "192.0.2.77/25", "192.0.2.10", "192.0.2.10/32", "203.0.113.0/24", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1", "::/0", "10.0.0.0/8",
	}
	stringOperators  = []string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"}
	arnOperators     = []string{"ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"}
	numericOperators = []string{"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"}
	dateOperators    = []string{"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"}
)

func (d dice) principal() *policy.Principal {
	account := pick(d, accountA, accountA, accountB)
	switch d.IntN(6) {
	case 0:
		return &policy.Principal{Account: account, Root: true, ARN: "arn:aws:iam::" + account + ":root"}
	case 1, 2:
		name := pick(d, "Bob", "div/Alice")
		return &policy.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: pick(d, "AIDABOB", "AIDAALICE")}
	case 3:
		role := pick(d, "Reader", "app/Writer")
		return &policy.Principal{
			Account: account, Role: "arn:aws:iam::" + account + ":role/" + role, ID: "AROAREADER",
			ARN: "arn:aws:sts::" + account + ":assumed-role/" + role[strings.LastIndexByte(role, '/')+1:] + "/" + pick(d, "s", "t"),
		}
	case 4:
		return &policy.Principal{
			Account: account, ARN: "arn:aws:sts::" + account + ":federated-user/fed",
			Issuer: "arn:aws:iam::" + account + ":user/Bob", ID: "AIDABOB",
		}
	}
	return &policy.Principal{ARN: "cloudtrail.amazonaws.com", Services: []string{"cloudtrail.amazonaws.com", "cloudtrail.us-west-2.amazonaws.com"}}
}

// request makes a request up. What a type of document has no use for is there
// all the same.
func (d dice) request(t policy.Type) *slowRequest {
	r := &slowRequest{principal: d.principal(), action: pick(d, kmsActions...), resource: pick(d, resources...), context: slowContext{}}
	if t == policy.Trust {
		r.action, r.resource = pick(d, trustActions...), "arn:aws:iam::111122223333:role/app/Reader"
	}
	if d.chance(2) {
		r.principal = nil
	}
	fill := func(keys []string, value func() slowValue) {
		for _, k := range keys {
			if d.chance(60) {
				r.context[strings.ToLower(k)] = value()
			}
		}
	}
	text := func(of []string) func() slowValue {
		return func() slowValue { return slowValue{kind: "string", texts: []string{pick(d, of...)}} }
	}
	fill(stringKeys, text(words))
	fill(arnKeys, text(arns))
	fill(boolKeys, text([]string{"true", "false", "True", "no"}))
	fill(byteKeys, text([]string{"aGVsbG8=", "AAEC", "", "not base64"}))
	fill(listKeys, func() slowValue {
		v := slowValue{kind: "strings"}
		for range d.IntN(4) {
			v.texts = append(v.texts, pick(d, words...))
		}
		return v
	})
	fill(numKeys, func() slowValue {
		return slowValue{kind: "number", number: pick(d, 0, 1, 2, 2.5, -3, 365, 1000, 1546257599)}
	})
	fill(timeKeys, func() slowValue {
		return slowValue{kind: "time", time: time.Unix(pick[int64](d, 1767225600, 1780309800, 1780309801, 0), 0).UTC()}
	})
	fill(addrKeys, func() slowValue { return slowValue{kind: "addr", addr: netip.MustParseAddr(pick(d, addrs...))} })
	return r
}

// blur puts wildcards into a text so that it mostly still matches.
func (d dice) blur(s string) string {
	for range d.IntN(4) {
		if s == "" {
			return pick(d, "", "*")
		}
		i := d.IntN(len(s))
		j := i + d.IntN(len(s)-i) + 1
		switch {
		case s[i] >= 0x80 || j < len(s) && s[j] >= 0x80 || s[j-1] >= 0x80:
			return s
		case d.chance(50):
			s = s[:i] + "*" + s[j:]
		case d.chance(50):
			s = s[:i] + "?" + s[i+1:]
		case d.chance(50):
			s = s[:i] + "**?" + s[j:]
		default:
			s = s[:i] + "*" + s[i:]
		}
	}
	return s
}

func swapCase(d dice, s string) string {
	b := []byte(s)
	for i, c := range b {
		if d.chance(30) && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}

func (d dice) action(r *slowRequest, all []string) string {
	if d.chance(10) {
		return "*"
	}
	action := r.action
	if d.chance(35) {
		action = pick(d, all...)
	}
	service, name, _ := strings.Cut(action, ":")
	if d.chance(60) {
		name = d.blur(name)
		if name == "" {
			name = "*"
		}
	}
	if d.chance(20) {
		return swapCase(d, service+":"+name)
	}
	return service + ":" + name
}

func (d dice) resource(r *slowRequest, variables bool) string {
	if d.chance(15) {
		return "*"
	}
	arn := r.resource
	if arn == "*" || d.chance(30) {
		arn = pick(d, resources[:len(resources)-1]...)
	}
	segments := strings.SplitN(arn, ":", 6)
	for _, i := range []int{1, 3, 4, 5} {
		if d.chance(40) {
			segments[i] = d.blur(segments[i])
		}
	}
	if i := strings.LastIndexByte(segments[5], '/'); variables && i > 0 && d.chance(30) {
		segments[5] = segments[5][:i+1] + d.variable()
	}
	return strings.Join(segments, ":")
}

func (d dice) variable() string {
	name := pick(d, "aws:username", "aws:PrincipalTag/team", "AWS:UserName", "kms:EncryptionContext:App", "aws:TagKeys", "aws:MultiFactorAuthAge", "aws:SourceIp", "kms:MultiRegion", "aws:Nothing")
	switch d.IntN(8) {
	case 0:
		return pick(d, "${*}", "${?}", "${$}")
	case 1, 2:
		return "${" + name + ", '" + pick(d, "bob", "alpha", "a*b", "") + "'}"
	}
	return "${" + name + "}"
}

// condition makes a condition up, mostly about what the request has.
func (d dice) condition(r *slowRequest) sketchCondition {
	var c sketchCondition
	var kind string
	var value func(have slowValue, present bool) string
	literal := func(of []string) func(slowValue, bool) string {
		return func(have slowValue, present bool) string {
			if all := have.all(); present && len(all) > 0 && d.chance(50) {
				return pick(d, all...)
			}
			return pick(d, of...)
		}
	}
	switch d.IntN(12) {
	case 0, 1, 2, 3, 4:
		c.operator = pick(d, stringOperators...)
		keys := [][]string{stringKeys, stringKeys, stringKeys, listKeys, listKeys, arnKeys, numKeys, boolKeys}
		c.key = pick(d, pick(d, keys...)...)
		kind = "text"
		value = func(have slowValue, present bool) string {
			s := literal(words)(have, present)
			if d.chance(20) {
				return d.variable() + pick(d, "", "", s, "*")
			}
			if strings.Contains(c.operator, "Like") {
				s = d.blur(s)
			}
			if strings.Contains(c.operator, "IgnoreCase") {
				s = swapCase(d, s)
			}
			return strings.ReplaceAll(s, "${", "$ {")
		}
	case 5, 6:
		c.operator = pick(d, arnOperators...)
		c.key = pick(d, arnKeys...)
		kind = "text"
		value = func(have slowValue, present bool) string {
			segments := strings.SplitN(literal(arns)(have, present), ":", 6)
			for i := range segments {
				if i > 0 && d.chance(25) {
					segments[i] = d.blur(segments[i])
				}
			}
			if i := strings.LastIndexByte(segments[len(segments)-1], '/'); i > 0 && d.chance(20) {
				segments[len(segments)-1] = segments[len(segments)-1][:i+1] + d.variable()
			}
			return strings.Join(segments, ":")
		}
	case 7:
		c.operator = pick(d, numericOperators...)
		c.key = pick(d, append(slices.Clone(numKeys), "aws:EpochTime", "aws:username")...)
		kind, value = "number", literal(numbers)
	case 8:
		c.operator = pick(d, dateOperators...)
		c.key = pick(d, append(slices.Clone(timeKeys), "kms:ValidTo", "aws:username")...)
		kind, value = "date", literal(dates)
	case 9:
		c.operator = pick(d, "IpAddress", "NotIpAddress")
		c.key = pick(d, append(slices.Clone(addrKeys), "aws:userid")...)
		kind, value = "block", literal(blocks)
	case 10:
		if d.chance(20) {
			c.operator, c.key = "BinaryEquals", byteKeys[0]
			kind, value = "bytes", func(slowValue, bool) string {
				return base64.StdEncoding.EncodeToString([]byte(pick(d, "hello", "\x00\x01\x02")))
			}
			break
		}
		c.operator = "Bool"
		c.key = pick(d, append(slices.Clone(boolKeys), "aws:username")...)
		kind, value = "bool", func(slowValue, bool) string { return pick(d, "true", "false", "True", "FALSE") }
	case 11:
		c.operator = "Null"
		c.key = pick(d, pick(d, stringKeys, listKeys, numKeys, timeKeys, addrKeys)...)
		kind, value = "bool", func(slowValue, bool) string { return pick(d, "true", "false") }
	}
	if c.operator != "Null" {
		if d.chance(20) {
			c.operator += "IfExists"
		}
		if slices.Contains(listKeys, c.key) && d.chance(70) || d.chance(10) && !overlyPermissive(c.key) {
			c.operator = pick(d, "ForAllValues:", "ForAnyValue:") + c.operator
		}
	}
	have, present := r.context[strings.ToLower(c.key)]
	for range 1 + d.IntN(3) {
		v := value(have, present)
		if kind == "number" && !number.MatchString(v) || kind == "block" && !isBlock(v) || kind == "date" && v == "" {
			v = pick(d, map[string][]string{"number": numbers[:9], "block": blocks, "date": dates[:7]}[kind]...)
		}
		if kind == "date" {
			if _, ok := instant(v); !ok {
				v = dates[0]
			}
		}
		c.values = append(c.values, v)
	}
	if d.chance(15) && (kind == "number" || kind == "bool") {
		if v := strings.ToLower(c.values[0]); v == "true" || v == "false" || kind == "number" && json.Valid([]byte(v)) {
			c.values, c.scalar = []string{v}, true
		}
	}
	if d.chance(20) {
		prefix, name, _ := strings.Cut(c.key, ":")
		c.key = swapCase(d, prefix) + ":" + swapCase(d, name)
	}
	return c
}

// overlyPermissive reports whether policies refuse ForAllValues with the key.
func overlyPermissive(key string) bool {
	k := strings.ToLower(key)
	return strings.HasPrefix(k, "kms:encryptioncontext:") || strings.HasPrefix(k, "aws:requesttag/")
}

func isBlock(s string) bool {
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

// name makes up a name that mostly means the caller in one way or another.
func (d dice) name(r *slowRequest) sketchName {
	p := r.principal
	if p == nil || d.chance(30) {
		p = d.principal()
	}
	if p.Services != nil {
		return sketchName{"Service", pick(d, p.Services...)}
	}
	names := []string{"*", "arn:aws:iam::" + accountA + ":user/Former", p.Account, "arn:aws:iam::" + p.Account + ":root", p.ARN, p.ARN}
	for _, n := range []string{p.Role, p.Issuer, p.ID} {
		if n != "" {
			names = append(names, n, n)
		}
	}
	return sketchName{"AWS", pick(d, names...)}
}

func (d dice) statement(o policy.Options, r *slowRequest, variables bool) sketchStatement {
	s := sketchStatement{effect: pick(d, "Allow", "Allow", "Deny"), alone: d.chance(40)}
	actions := kmsActions
	if o.Type == policy.Trust {
		actions = trustActions
	}
	switch o.Type {
	case policy.Resource, policy.KeyPolicy, policy.Trust, policy.Endpoint:
		switch {
		case d.chance(25):
			s.principals = []sketchName{{"", "*"}}
		default:
			for range 1 + d.IntN(3) {
				s.principals = append(s.principals, d.name(r))
			}
			s.notPrincipal = s.effect == "Deny" && d.chance(40)
			if s.notPrincipal { // all that the caller is, or nearly
				if p := r.principal; p != nil && p.Services == nil && d.chance(70) {
					for _, n := range []string{p.Account, p.ARN, p.Role, p.Issuer} {
						if n != "" && d.chance(90) {
							s.principals = append(s.principals, sketchName{"AWS", n})
						}
					}
				}
				s.principals = slices.DeleteFunc(s.principals, func(n sketchName) bool { return n.name == "*" })
				if len(s.principals) == 0 {
					s.principals = []sketchName{{"AWS", accountB}}
				}
			}
		}
	case policy.ResourceControl:
		s.effect = "Deny"
		s.principals = []sketchName{{"", "*"}}
	}

	for range 1 + d.IntN(3) {
		a := d.action(r, actions)
		if a == "*" && (o.Type == policy.ResourceControl || o.Type == policy.Trust) {
			a = actions[0][:4] + "*"
		}
		s.actions = append(s.actions, a)
	}
	s.notAction = o.Type != policy.ResourceControl && d.chance(12)
	switch o.Type {
	case policy.Trust:
	case policy.KeyPolicy:
		s.resources = []string{"*"}
		if o.Stored && d.chance(10) {
			s.resources = []string{keyA}
		}
	default:
		for range 1 + d.IntN(2) {
			s.resources = append(s.resources, d.resource(r, variables))
		}
		s.notResource = o.Type != policy.ResourceControl && d.chance(12)
	}
	if o.Stored {
		switch d.IntN(12) {
		case 0:
			s.actions = nil
		case 1:
			s.resources = nil
		}
	}
	if d.chance(55) {
		for range 1 + d.IntN(3) {
			c := d.condition(r)
			if !slices.ContainsFunc(s.conditions, func(o sketchCondition) bool {
				return strings.EqualFold(o.operator, c.operator) && strings.EqualFold(o.key, c.key)
			}) {
				s.conditions = append(s.conditions, c)
			}
		}
		// In the order in which they are written: one operator's together.
		order := make(map[string]int)
		for i, c := range s.conditions {
			if _, ok := order[c.operator]; !ok {
				order[c.operator] = i
			}
		}
		sort.SliceStable(s.conditions, func(i, j int) bool { return order[s.conditions[i].operator] < order[s.conditions[j].operator] })
	}
	return s
}

// cases makes one case up: a document, and a request that it is often about.
func (d dice) cases() (*sketch, *slowRequest) {
	s := &sketch{alone: d.chance(30)}
	s.options.Type = pick(d, policy.Identity, policy.Session, policy.KeyPolicy, policy.KeyPolicy, policy.Resource, policy.Trust, policy.ServiceControl, policy.ResourceControl, policy.Endpoint)
	s.options.Stored = s.options.Type == policy.KeyPolicy && d.chance(30)
	r := d.request(s.options.Type)
	s.version = pick(d, "2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17", "")
	if s.options.Type == policy.ServiceControl || s.options.Type == policy.ResourceControl {
		s.version = "2012-10-17"
	}
	if p := r.principal; p != nil && d.chance(25) {
		s.ids = make(map[string]string)
		for _, name := range []string{p.ARN, p.Role, p.Issuer} {
			if strings.Contains(name, ":user/") || strings.Contains(name, ":role/") {
				s.ids[name] = pick(d, p.ID, p.ID, "AIDAELSE", "AROAELSE")
			}
		}
		if d.chance(30) {
			s.ids["arn:aws:iam::"+accountA+":user/Former"] = p.ID
		}
	}
	for range 1 + d.IntN(3) {
		s.statements = append(s.statements, d.statement(s.options, r, s.version == "2012-10-17"))
	}
	return s, r
}

// without returns everything that is smaller by one thing.
func (s *sketch) without() []*sketch {
	var all []*sketch
	change := func(f func(*sketch)) {
		c := *s
		c.statements = slices.Clone(s.statements)
		f(&c)
		all = append(all, &c)
	}
	for i, st := range s.statements {
		if len(s.statements) > 1 {
			change(func(c *sketch) { c.statements = slices.Delete(c.statements, i, i+1) })
		}
		statement := func(f func(*sketchStatement)) {
			change(func(c *sketch) { f(&c.statements[i]) })
		}
		for j, cond := range st.conditions {
			statement(func(t *sketchStatement) {
				t.conditions = slices.Delete(slices.Clone(t.conditions), j, j+1)
			})
			for k := range cond.values {
				if len(cond.values) > 1 {
					statement(func(t *sketchStatement) {
						t.conditions = slices.Clone(t.conditions)
						t.conditions[j].values = slices.Delete(slices.Clone(cond.values), k, k+1)
					})
				}
			}
		}
		for j := range st.principals {
			if len(st.principals) > 1 {
				statement(func(t *sketchStatement) { t.principals = slices.Delete(slices.Clone(t.principals), j, j+1) })
			}
		}
		for j := range st.actions {
			if len(st.actions) > 1 {
				statement(func(t *sketchStatement) { t.actions = slices.Delete(slices.Clone(t.actions), j, j+1) })
			}
		}
		for j := range st.resources {
			if len(st.resources) > 1 {
				statement(func(t *sketchStatement) { t.resources = slices.Delete(slices.Clone(t.resources), j, j+1) })
			}
		}
	}
	return all
}

// shrink leaves out of a case what the failure does not need.
func shrink(s *sketch, r *slowRequest, fails func(*sketch, *slowRequest) bool) (*sketch, *slowRequest) {
	for again := true; again; {
		again = false
		for _, smaller := range s.without() {
			if fails(smaller, r) {
				s, again = smaller, true
				break
			}
		}
	}
	for k := range r.context {
		fewer := *r
		fewer.context = slowContext{}
		for other, v := range r.context {
			if other != k {
				fewer.context[other] = v
			}
		}
		if fails(s, &fewer) {
			r = &fewer
		}
	}
	return s, r
}

func (r *slowRequest) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "action %s\nresource %s\n", r.action, r.resource)
	if r.principal == nil {
		b.WriteString("no principal\n")
	} else {
		fmt.Fprintf(&b, "principal %+v\n", *r.principal)
	}
	keys := make([]string, 0, len(r.context))
	for k := range r.context {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		v := r.context[k]
		fmt.Fprintf(&b, "%s = %s %q\n", k, v.kind, v.all())
	}
	return b.String()
}

func (r *slowRequest) fast() *policy.Request {
	return &policy.Request{Principal: r.principal, Action: r.action, Resource: r.resource, Context: r.context}
}

// describe prints a verdict.
func describe(allow, deny bool, by policy.Match, statements []policy.Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "allow %v, deny %v, named %b;", allow, deny, by)
	for i, s := range statements {
		b.WriteString(" " + strconv.Itoa(i) + ":")
		switch {
		case s.Matched:
			b.WriteString("matched")
		case s.Mismatch == policy.OfCondition:
			fmt.Fprintf(&b, "condition %d", s.Condition)
		default:
			b.WriteString(map[policy.Mismatch]string{policy.Inert: "inert", policy.OfPrincipal: "principal", policy.OfAction: "action", policy.OfResource: "resource"}[s.Mismatch])
		}
	}
	return b.String()
}
