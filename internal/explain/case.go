package explain

import (
	"encoding/json"
	"regexp"
	"slices"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// What a case has that does not say otherwise. The account and the address are
// from the ranges that are for documentation.
const (
	defaultAccount = "111122223333"
	defaultRegion  = "us-west-2"
	defaultKeyID   = "1234abcd-12ab-34cd-56ef-1234567890ab"
	defaultSource  = "198.51.100.1"
	defaultAgent   = "keyreeve-explain"

	defaultOrganization = "o-example"
	defaultMaster       = "000000000000"
)

// regionName is the form of a Region's name.
var regionName = regexp.MustCompile(`^[a-z]{2,5}(-[a-z]{2,10}){1,2}-[0-9]{1,2}$`)

// A draft is a case as it is written, member by member.
type draft struct {
	id, about, account, region string
	principal                  principal
	identity, session          []call.Attached
	limited                    bool // session policies were given, if only none
	boundary                   *call.Attached
	serviceControl             [][]call.Attached
	resourceControl            [][]call.Attached
	organizations              map[string]organization
	endpoint                   *endpoint
	key                        key
	role                       role
	action, resource           string
	request                    []member
	via                        []string
	context                    []member
	expect, layer, message     string
}

type principal struct {
	arn      string
	id       string // unique id
	role     string // ARN of a session's role, with its path
	issuer   string // of a federated user's session
	tags     []pair
	mfa      bool
	session  bool // of a user: temporary credentials
	identity string
	provider string
	chained  bool
}

type organization struct{ id, path, management string }

type endpoint struct {
	id, vpc, account string
	policy           *call.Attached
}

type key struct {
	arn, spec, usage, origin, multiRegion string
	tags                                  []pair
	aliases                               []string
	policy                                *call.Attached
	grants                                []grant
}

type role struct {
	arn    string
	policy *call.Attached
	tags   []pair
}

type grant struct {
	id, name, grantee, retiring, issuer, token string
	operations                                 []string
	equals, subset                             []pair
	sourceARN                                  string
	fresh                                      bool
}

// fields are the members of a case.
func (d *draft) fields(r *reader) []field {
	list := func(name string, t policy.Type, to *[]call.Attached) field {
		return field{name, func(raw json.RawMessage) { *to = r.readPolicies(raw, t, name) }}
	}
	levels := func(name string, t policy.Type, to *[][]call.Attached) field {
		return field{name, func(raw json.RawMessage) { *to = r.readLevels(raw, t, name) }}
	}
	return []field{
		r.set("id", &d.id),
		r.set("about", &d.about),
		r.set("account", &d.account),
		r.set("region", &d.region),
		{"principal", func(raw json.RawMessage) { d.principal = r.readPrincipal(raw) }},
		list("identity", policy.Identity, &d.identity),
		{"boundary", func(raw json.RawMessage) { d.boundary = r.readPolicy(raw, policy.Identity, "boundary") }},
		{"session", func(raw json.RawMessage) {
			d.session, d.limited = r.readPolicies(raw, policy.Identity, "session"), true
		}},
		levels("scp", policy.ServiceControl, &d.serviceControl),
		levels("rcp", policy.ResourceControl, &d.resourceControl),
		{"organizations", func(raw json.RawMessage) { d.organizations = r.readOrganizations(raw) }},
		{"endpoint", func(raw json.RawMessage) { d.endpoint = r.readEndpoint(raw) }},
		{"key", func(raw json.RawMessage) { d.key = r.readKey(raw) }},
		{"role", func(raw json.RawMessage) { d.role = r.readRole(raw) }},
		r.set("action", &d.action),
		r.set("resource", &d.resource),
		{"request", func(raw json.RawMessage) { d.request = r.members(raw, "request") }},
		{"via", func(raw json.RawMessage) { d.via = r.texts(raw, "via") }},
		{"context", func(raw json.RawMessage) { d.context = r.members(raw, "context") }},
		r.set("expect", &d.expect),
		r.set("layer", &d.layer),
		r.set("message", &d.message),
	}
}

// readCase reads the members of a case and makes the call that it describes.
func (r *reader) readCase(list []member) *Case {
	var d draft
	d.read(r, "a case", list)
	if r.err != nil {
		return nil
	}
	b := builder{reader: r, draft: &d}
	c := b.build()
	if r.err != nil {
		return nil
	}
	return c
}

func (d *draft) read(r *reader, what string, list []member) {
	fields := d.fields(r)
	for _, m := range list {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		if i < 0 {
			r.mistake("%s has no member %s; it has %s", what, quote(m.name), names(fields))
			return
		}
		if !isNull(m.raw) {
			fields[i].read(m.raw)
		}
	}
}

func (r *reader) readPrincipal(raw json.RawMessage) principal {
	var p principal
	if kindOf(raw) == '"' {
		p.arn = r.text(raw, "principal", maxString)
		return p
	}
	r.object(raw, "principal",
		r.set("arn", &p.arn),
		r.set("id", &p.id),
		r.set("role", &p.role),
		r.set("issuer", &p.issuer),
		field{"tags", func(raw json.RawMessage) { p.tags = r.pairs(raw, "tags") }},
		field{"mfa", func(raw json.RawMessage) { p.mfa = r.flag(raw, "mfa") }},
		field{"temporary", func(raw json.RawMessage) { p.session = r.flag(raw, "temporary") }},
		r.set("sourceIdentity", &p.identity),
		r.set("provider", &p.provider),
		field{"chained", func(raw json.RawMessage) { p.chained = r.flag(raw, "chained") }},
	)
	return p
}

func (r *reader) readOrganizations(raw json.RawMessage) map[string]organization {
	all := make(map[string]organization)
	for _, m := range r.members(raw, "organizations") {
		if !arn.IsAccount(m.name) {
			r.mistake("organizations are by account, 12 digits; %s is none", quote(m.name))
			return nil
		}
		var o organization
		r.object(m.raw, "an organization", r.set("id", &o.id), r.set("path", &o.path), r.set("management", &o.management))
		if r.err == nil && o.id == "" {
			r.mistake("an organization has an id, such as o-example")
		}
		all[m.name] = o
	}
	return all
}

func (r *reader) readEndpoint(raw json.RawMessage) *endpoint {
	if kindOf(raw) == '"' {
		return &endpoint{id: r.text(raw, "endpoint", maxString)}
	}
	e := new(endpoint)
	r.object(raw, "endpoint",
		r.set("id", &e.id),
		r.set("vpc", &e.vpc),
		r.set("account", &e.account),
		field{"policy", func(raw json.RawMessage) { e.policy = r.readPolicy(raw, policy.Endpoint, "the endpoint's policy") }},
	)
	return e
}

func (r *reader) readKey(raw json.RawMessage) key {
	var k key
	if kindOf(raw) == '"' {
		k.arn = r.text(raw, "key", maxString)
		return k
	}
	r.object(raw, "key",
		r.set("arn", &k.arn),
		r.set("spec", &k.spec),
		r.set("usage", &k.usage),
		r.set("origin", &k.origin),
		r.set("multiRegion", &k.multiRegion),
		field{"tags", func(raw json.RawMessage) { k.tags = r.pairs(raw, "tags") }},
		field{"aliases", func(raw json.RawMessage) { k.aliases = r.texts(raw, "aliases") }},
		field{"policy", func(raw json.RawMessage) { k.policy = r.readPolicy(raw, policy.KeyPolicy, "the key's policy") }},
		field{"grants", func(raw json.RawMessage) {
			for _, item := range r.oneOrMore(raw, "grants", maxGrants) {
				k.grants = append(k.grants, r.readGrant(item))
			}
		}},
	)
	return k
}

func (r *reader) readRole(raw json.RawMessage) role {
	var o role
	r.object(raw, "role",
		r.set("arn", &o.arn),
		field{"policy", func(raw json.RawMessage) { o.policy = r.readPolicy(raw, policy.Trust, "the role's trust policy") }},
		field{"tags", func(raw json.RawMessage) { o.tags = r.pairs(raw, "tags") }},
	)
	return o
}

func (r *reader) readGrant(raw json.RawMessage) grant {
	var g grant
	r.object(raw, "a grant",
		r.set("id", &g.id),
		r.set("name", &g.name),
		r.set("grantee", &g.grantee),
		r.set("retiring", &g.retiring),
		r.set("issuer", &g.issuer),
		field{"operations", func(raw json.RawMessage) { g.operations = r.texts(raw, "operations") }},
		field{"constraints", func(raw json.RawMessage) { g.equals, g.subset, g.sourceARN = r.readConstraints(raw) }},
		field{"fresh", func(raw json.RawMessage) { g.fresh = r.flag(raw, "fresh") }},
		r.set("token", &g.token),
	)
	if r.err == nil && (g.grantee == "" || len(g.operations) == 0) {
		r.mistake("a grant has a grantee and operations")
	}
	return g
}

// constraints reads the constraints of a grant, written as in the API.
func (r *reader) readConstraints(raw json.RawMessage) (equals, subset []pair, source string) {
	r.object(raw, "constraints",
		field{"EncryptionContextEquals", func(raw json.RawMessage) { equals = r.pairs(raw, "EncryptionContextEquals") }},
		field{"EncryptionContextSubset", func(raw json.RawMessage) { subset = r.pairs(raw, "EncryptionContextSubset") }},
		r.set("SourceArn", &source),
	)
	return equals, subset, source
}
