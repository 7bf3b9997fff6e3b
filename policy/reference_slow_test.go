package policy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/policy"
)

// This file is a second evaluator: slow, obvious, and written from AWS's
// description of the language alone. It works on the text of a document, knows
// nothing of how package policy does it, and is there to be compared with.

// member is a member of a JSON object, in the document's order.
type member struct {
	name  string
	value any // []member, []any, string, json.Number, bool or nil
}

// decode reads a JSON text into members, lists and scalars.
func decode(text string) (any, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	v, err := decodeValue(d)
	if err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("text after the document")
	}
	return v, nil
}

func decodeValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := []member{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			object = append(object, member{name.(string), value})
		}
		_, err := d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

// get returns the member of an object with this very name.
func get(object any, name string) (value any, ok bool) {
	members, _ := object.([]member)
	for _, m := range members {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// texts returns one value or a list of them as strings: numbers as they are
// written, booleans as "true" and "false".
func texts(value any) []string {
	switch v := value.(type) {
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, texts(one)...)
		}
		return all
	case string:
		return []string{v}
	case json.Number:
		return []string{v.String()}
	case bool:
		return []string{fmt.Sprint(v)}
	}
	return nil
}

// slowRequest is what the slow evaluator is asked.
type slowRequest struct {
	principal *policy.Principal
	action    string
	resource  string
	context   slowContext
}

// slowContext is the condition keys of a request, by their names in lower case.
type slowContext map[string]slowValue

// slowValue is the value of a condition key.
type slowValue struct {
	kind   string // "string", "strings", "number", "time" or "addr"
	texts  []string
	number float64
	time   time.Time
	addr   netip.Addr
}

// Value makes a slowContext a policy.Context, for the evaluator under test.
func (c slowContext) Value(k *policy.Key) policy.Value {
	if k.Name != strings.ToLower(k.Name) {
		panic("a key's name is not in lower case: " + k.Name)
	}
	v, ok := c[k.Name+strings.ToLower(k.Sub)]
	if !ok {
		return policy.Value{}
	}
	switch v.kind {
	case "string":
		return policy.String(v.texts[0])
	case "strings":
		return policy.Strings(v.texts)
	case "number":
		return policy.Number(v.number)
	case "time":
		return policy.Time(v.time)
	}
	return policy.Addr(v.addr)
}

// all returns the values as text, one for each.
func (v slowValue) all() []string {
	switch v.kind {
	case "number":
		return []string{new(big.Float).SetFloat64(v.number).Text('f', -1)}
	case "time":
		return []string{v.time.UTC().Format("2006-01-02T15:04:05Z")}
	case "addr":
		return []string{v.addr.String()}
	}
	return v.texts
}

// slowResult is the verdict, in the shape of policy.Result.
type slowResult struct {
	allow, deny bool
	by          policy.Match
	statements  []policy.Outcome
}

// slowly evaluates a document that package policy has accepted, bound to these
// unique ids, which may be nil.
func slowly(text string, o policy.Options, ids map[string]string, r *slowRequest) (slowResult, error) {
	document, err := decode(text)
	if err != nil {
		return slowResult{}, err
	}
	version, _ := get(document, "Version")
	e := slow{options: o, ids: ids, variables: version == "2012-10-17", r: r}
	statements, _ := get(document, "Statement")
	list, ok := statements.([]any)
	if !ok {
		list = []any{statements}
	}
	var result slowResult
	for _, s := range list {
		outcome, by := e.statement(s)
		result.statements = append(result.statements, outcome)
		if !outcome.Matched {
			continue
		}
		switch effect, _ := get(s, "Effect"); effect {
		case "Allow":
			result.allow = true
			result.by |= by
		case "Deny":
			result.deny = true
		default:
			return slowResult{}, fmt.Errorf("effect %v", effect)
		}
	}
	return result, nil
}

type slow struct {
	options   policy.Options
	ids       map[string]string
	variables bool // the version has policy variables
	r         *slowRequest
}

func (e slow) statement(s any) (policy.Outcome, policy.Match) {
	some := func(name string) (element any, ok bool) { // an empty list is none
		element, _ = get(s, name)
		return element, len(texts(element)) > 0
	}
	action, hasAction := some("Action")
	notAction, hasNotAction := some("NotAction")
	resource, hasResource := some("Resource")
	notResource, hasNotResource := some("NotResource")
	// A statement without what it is about does nothing. Trust policies are
	// about their role.
	if effect, _ := get(s, "Effect"); e.options.Type == policy.KeyPolicy && hasNotResource && effect != "Deny" {
		return policy.Outcome{Mismatch: policy.Inert}, 0
	}
	if !hasAction && !hasNotAction || !hasResource && !hasNotResource && e.options.Type != policy.Trust {
		return policy.Outcome{Mismatch: policy.Inert}, 0
	}

	var by policy.Match
	if principal, ok := get(s, "Principal"); ok {
		if by = e.principal(principal); by == 0 {
			return policy.Outcome{Mismatch: policy.OfPrincipal}, 0
		}
	} else if not, ok := get(s, "NotPrincipal"); ok {
		if e.exempt(not) {
			return policy.Outcome{Mismatch: policy.OfPrincipal}, 0
		}
		by = policy.ByAnyone
	}

	asked := lower(e.r.action)
	named := func(patterns any) bool {
		return slices.ContainsFunc(texts(patterns), func(p string) bool { return wild(lower(p), asked) })
	}
	if hasAction && !named(action) || hasNotAction && named(notAction) {
		return policy.Outcome{Mismatch: policy.OfAction}, 0
	}

	meant := func(patterns any) bool {
		return slices.ContainsFunc(texts(patterns), e.resource)
	}
	if hasResource && !meant(resource) || hasNotResource && meant(notResource) {
		return policy.Outcome{Mismatch: policy.OfResource}, 0
	}

	if conditions, ok := get(s, "Condition"); ok {
		index := 0
		for _, operator := range conditions.([]member) {
			for _, key := range operator.value.([]member) {
				if !e.condition(operator.name, key.name, texts(key.value)) {
					return policy.Outcome{Mismatch: policy.OfCondition, Condition: index}, 0
				}
				index++
			}
		}
	}
	return policy.Outcome{Matched: true}, by
}

// principal returns the ways in which a Principal element names the caller.
func (e slow) principal(element any) policy.Match {
	if element == "*" {
		return policy.ByAnyone
	}
	var by policy.Match
	for _, kind := range element.([]member) {
		for _, name := range texts(kind.value) {
			by |= e.named(kind.name, name)
		}
	}
	return by
}

// named returns the ways in which one name means the caller.
func (e slow) named(kind, name string) policy.Match {
	p := e.r.principal
	switch kind {
	case "Service":
		if p != nil && slices.Contains(p.Services, name) {
			return policy.ByService
		}
		return 0
	case "Federated":
		if p != nil && p.Federated != "" && p.Federated == name {
			return policy.ByProvider
		}
		return 0
	case "AWS":
	default:
		return 0 // nobody comes from elsewhere
	}
	if name == "*" {
		return policy.ByAnyone
	}
	if p == nil {
		return 0
	}
	if id, ok := e.ids[name]; ok {
		name = id // whoever has that ARN by now
	}
	var by policy.Match
	if p.Account != "" && (name == p.Account || rootARN.FindString(name) != "" && strings.HasSuffix(name, "::"+p.Account+":root")) {
		by |= policy.ByAccount // an account is the same one in every partition
	}
	session := strings.Contains(p.ARN, ":assumed-role/")
	federated := strings.Contains(p.ARN, ":federated-user/")
	switch {
	case p.Root, p.Account == "":
	case session:
		if name == p.Role || p.ID != "" && name == p.ID {
			by |= policy.ByRole
		}
		if _, session, _ := strings.Cut(p.ARN, "/"); name == p.ARN || p.ID != "" && name == p.ID+":"+session[strings.Index(session, "/")+1:] {
			by |= policy.BySession
		}
	case federated:
		if name == p.Issuer || p.ID != "" && name == p.ID {
			by |= policy.ByIssuer
		}
		if name == p.ARN {
			by |= policy.ByFederatedUser
		}
	default:
		if name == p.ARN || p.ID != "" && name == p.ID {
			by |= policy.ByUser
		}
	}
	return by
}

var rootARN = regexp.MustCompile(`^arn:[^:]+:iam::[0-9]{12}:root$`)

// exempt reports whether a NotPrincipal element lists all that the caller is:
// the account, and the user, or the role and the session. Each is matched by
// itself, and one that is not listed is enough for the statement to apply.
func (e slow) exempt(element any) bool {
	p := e.r.principal
	listed := e.principal(element)
	var needed policy.Match
	switch {
	case p == nil:
		needed = policy.ByAnyone
	case p.Services != nil:
		needed = policy.ByService
	case p.Federated != "":
		needed = policy.ByProvider
	case p.Root:
		needed = policy.ByAccount
	case strings.Contains(p.ARN, ":assumed-role/"):
		needed = policy.ByAccount | policy.ByRole | policy.BySession
	case strings.Contains(p.ARN, ":federated-user/"):
		needed = policy.ByAccount | policy.ByFederatedUser
		if !strings.HasSuffix(p.Issuer, ":root") {
			needed |= policy.ByIssuer
		}
	default:
		needed = policy.ByAccount | policy.ByUser
	}
	return listed&policy.ByAnyone != 0 || listed&needed == needed
}

// resource reports whether a pattern of Resource means the request's resource.
func (e slow) resource(pattern string) bool {
	if pattern == "*" {
		return true
	}
	if e.options.Type == policy.KeyPolicy {
		return false // only "*" means anything in a key's own policy
	}
	segments, ok := segmentsOf(pattern)
	if !ok {
		return false
	}
	want := strings.SplitN(e.r.resource, ":", 6)
	if len(want) != 6 {
		return false
	}
	for i, segment := range segments {
		switch {
		case i == 0, i == 2: // "arn" and the service have no wildcards
			if segment != want[i] {
				return false
			}
		case i < 5:
			if !wild(plain(segment), plainOf(want[i])) {
				return false
			}
		default:
			p, ok := e.expand(segment, true)
			if !ok || !wild(p, plainOf(want[i])) {
				return false
			}
		}
	}
	return true
}

// segmentsOf splits a pattern at the first five colons that are not in a
// variable's name.
func segmentsOf(pattern string) ([]string, bool) {
	var segments []string
	depth, start := 0, 0
	for i := 0; i < len(pattern) && len(segments) < 5; i++ {
		switch {
		case strings.HasPrefix(pattern[i:], "${"):
			depth++
		case pattern[i] == '}' && depth > 0:
			depth--
		case pattern[i] == ':' && depth == 0:
			segments = append(segments, pattern[start:i])
			start = i + 1
		}
	}
	segments = append(segments, pattern[start:])
	return segments, len(segments) == 6
}

// A symbol is one character of a pattern or text. In a pattern it may be a
// wildcard.
type symbol struct {
	text string
	wild bool
}

// plain makes symbols of a pattern, in which "*" and "?" are wildcards.
func plain(pattern string) []symbol {
	symbols := plainOf(pattern)
	for i := range symbols {
		symbols[i].wild = symbols[i].text == "*" || symbols[i].text == "?"
	}
	return symbols
}

// plainOf makes symbols of a text, in which every character means itself.
func plainOf(text string) []symbol {
	symbols := make([]symbol, 0, len(text))
	for len(text) > 0 {
		_, n := utf8.DecodeRuneInString(text)
		symbols = append(symbols, symbol{text: text[:n]})
		text = text[n:]
	}
	return symbols
}

// lower makes symbols of a pattern or text whose ASCII letters do not count
// their case.
func lower(text string) []symbol {
	symbols := plain(text)
	for i, s := range symbols {
		symbols[i].text = lowerASCII(s.text)
	}
	return symbols
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// wild reports whether a pattern matches the whole text: the table of dynamic
// programming, where reach[i][j] says that i symbols of the pattern can match j
// of the text.
func wild(pattern, text []symbol) bool {
	cells := make([]bool, (len(pattern)+1)*(len(text)+1))
	reach := make([][]bool, len(pattern)+1)
	for i := range reach {
		reach[i], cells = cells[:len(text)+1], cells[len(text)+1:]
	}
	reach[0][0] = true
	for i, p := range pattern {
		for j := 0; j <= len(text); j++ {
			switch {
			case p.wild && p.text == "*":
				reach[i+1][j] = reach[i][j] || j > 0 && reach[i+1][j-1]
			case j == 0:
			case p.wild && p.text == "?":
				reach[i+1][j] = reach[i][j-1]
			default:
				reach[i+1][j] = reach[i][j-1] && p.text == text[j-1].text
			}
		}
	}
	return reach[len(pattern)][len(text)]
}

var (
	variable  = regexp.MustCompile(`^\$\{([^}]*)\}`)
	defaulted = regexp.MustCompile(`^\s*([^,'\s]+)\s*,\s*'([^']*)'\s*$`)
)

// expand replaces the variables of a value. What they stand for has no
// wildcards, whatever characters it has. A variable without a value and without
// a default makes the whole value one that matches nothing.
func (e slow) expand(value string, wildcards bool) (symbols []symbol, ok bool) {
	take := func(s string) {
		if wildcards {
			symbols = append(symbols, plain(s)...)
		} else {
			symbols = append(symbols, plainOf(s)...)
		}
	}
	if !e.variables {
		take(value)
		return symbols, true
	}
	for value != "" {
		m := variable.FindStringSubmatch(value)
		if m == nil {
			_, n := utf8.DecodeRuneInString(value)
			take(value[:n])
			value = value[n:]
			continue
		}
		value = value[len(m[0]):]
		name, fallback, hasFallback := m[1], "", false
		if d := defaulted.FindStringSubmatch(name); d != nil {
			name, fallback, hasFallback = d[1], d[2], true
		}
		name = strings.TrimSpace(name)
		v, present := e.r.context[strings.ToLower(name)]
		switch {
		case name == "*", name == "?", name == "$":
			symbols = append(symbols, plainOf(name)...)
		case present && v.kind != "strings":
			symbols = append(symbols, plainOf(v.all()[0])...)
		case hasFallback:
			symbols = append(symbols, plainOf(fallback)...)
		default:
			return nil, false
		}
	}
	return symbols, true
}

func join(symbols []symbol) string {
	var b strings.Builder
	for _, s := range symbols {
		b.WriteString(s.text)
	}
	return b.String()
}

// condition decides one key of one operator.
func (e slow) condition(operator, key string, values []string) bool {
	name := strings.ToLower(operator)
	request, present := e.r.context[strings.ToLower(key)]
	given := request.all()
	if present && len(given) == 0 {
		present = false // a list of nothing
	}

	if name == "null" {
		absent := !present || !slices.ContainsFunc(given, func(s string) bool { return s != "" })
		return slices.ContainsFunc(values, func(v string) bool {
			switch strings.ToLower(v) {
			case "true":
				return absent
			case "false":
				return !absent
			}
			return false
		})
	}

	every, forEvery := strings.CutPrefix(name, "forallvalues:")
	name = every
	any, forAny := strings.CutPrefix(name, "foranyvalue:")
	name = any
	name, ifExists := strings.CutSuffix(name, "ifexists")
	positive, negated := strings.CutPrefix(name, "not") // NotIpAddress
	if !negated {
		if i := strings.Index(name, "not"); i > 0 { // StringNotEquals, ArnNotLike, …
			positive, negated = name[:i]+name[i+len("not"):], true
		}
	}

	if !present {
		switch {
		case ifExists, forEvery:
			return true
		case forAny:
			return false
		}
		return negated
	}

	// matches reports whether one value of the request matches one of the
	// policy's.
	matches := func(i int) bool {
		return slices.ContainsFunc(values, func(v string) bool { return e.compare(positive, request, given[i], v) })
	}
	some, each := false, true // of the request's values
	for i := range given {
		m := matches(i)
		if (forEvery || forAny) && negated {
			m = !m // differs from all of the policy's
		}
		some = some || m
		each = each && m
	}
	switch {
	case forEvery:
		return each
	case forAny:
		return some
	case negated:
		return !some // none of its values matches any
	}
	return some
}

// compare compares one value of the request with one of the policy.
func (e slow) compare(operator string, request slowValue, given, value string) bool {
	switch operator {
	case "stringequals", "stringequalsignorecase", "stringlike":
		want, ok := e.expand(value, operator == "stringlike")
		switch {
		case !ok:
			return false
		case operator == "stringlike":
			return wild(want, plainOf(given))
		case operator == "stringequals":
			return join(want) == given
		}
		return lowerASCII(join(want)) == lowerASCII(given)

	case "arnequals", "arnlike":
		have := strings.SplitN(given, ":", 6)
		segments := strings.SplitN(value, ":", 6)
		if e.variables {
			segments, _ = segmentsOf(value)
		}
		if len(segments) != 6 || len(have) != 6 || have[0] != "arn" {
			return false
		}
		for i, segment := range segments {
			want, ok := e.expand(segment, true)
			if !ok || !wild(want, plainOf(have[i])) {
				return false
			}
		}
		return true

	case "numericequals", "numericlessthan", "numericlessthanequals", "numericgreaterthan", "numericgreaterthanequals":
		want, ok := decimal(value)
		var have *big.Rat
		switch request.kind {
		case "number":
			have = new(big.Rat).SetFloat64(request.number)
		case "time":
			have = seconds(request.time)
		default:
			have, _ = decimal(given)
		}
		return ok && have != nil && ordered(operator, "numeric", have.Cmp(want))

	case "dateequals", "datelessthan", "datelessthanequals", "dategreaterthan", "dategreaterthanequals":
		want, ok := instant(value)
		var have *big.Rat
		switch request.kind {
		case "number":
			have = new(big.Rat).SetFloat64(request.number)
		case "time":
			have = seconds(request.time)
		default:
			have, _ = instant(given)
		}
		return ok && have != nil && ordered(operator, "date", have.Cmp(want))

	case "bool":
		want, have := strings.ToLower(value), strings.ToLower(given)
		return want == have && (want == "true" || want == "false")

	case "binaryequals":
		want, err := base64.StdEncoding.DecodeString(value)
		have, err2 := base64.StdEncoding.DecodeString(given)
		return err == nil && err2 == nil && bytes.Equal(want, have)

	case "ipaddress":
		block, err := netip.ParsePrefix(value)
		if err != nil {
			one, err := netip.ParseAddr(value)
			if err != nil {
				return false
			}
			block = netip.PrefixFrom(one, one.BitLen())
		}
		if a := block.Addr(); a.Is4In6() && block.Bits() >= 96 { // that is IPv4
			block = netip.PrefixFrom(a.Unmap(), block.Bits()-96)
		}
		addr, err := netip.ParseAddr(given)
		return err == nil && block.Masked().Contains(addr.Unmap())
	}
	panic("operator " + operator)
}

func ordered(operator, kind string, c int) bool {
	switch strings.TrimPrefix(operator, kind) {
	case "equals":
		return c == 0
	case "lessthan":
		return c < 0
	case "lessthanequals":
		return c <= 0
	case "greaterthan":
		return c > 0
	case "greaterthanequals":
		return c >= 0
	}
	panic("order " + operator)
}

var number = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?$`)

func decimal(s string) (*big.Rat, bool) {
	if !number.MatchString(s) {
		return nil, false
	}
	n, ok := new(big.Rat).SetString(s)
	if f, _ := n.Float64(); math.IsInf(f, 0) {
		return nil, false // out of the range of a double
	}
	return n, ok
}

func seconds(t time.Time) *big.Rat {
	whole := new(big.Rat).SetInt64(t.Unix())
	return whole.Add(whole, big.NewRat(int64(t.Nanosecond()), 1e9))
}

// instant reads a date: of ISO 8601 as the W3C has cut it down (a time without a
// zone is in UTC), or seconds since 1970.
func instant(s string) (*big.Rat, bool) {
	if n, ok := decimal(s); ok && !regexp.MustCompile(`^[0-9]{4}$`).MatchString(s) {
		return n, true
	}
	for _, layout := range []string{"2006", "2006-01", "2006-01-02", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return seconds(t), true
		}
	}
	return nil, false
}
