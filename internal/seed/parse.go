package seed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/policy"
)

// maxErrors is how many mistakes in a file are told at once.
const maxErrors = 20

// Parse parses the text of a seed file. What ${NAME} stands for is asked of
// lookup. The error lists the mistakes, each with its line; it never shows a
// value that could be a secret.
//
// The text is walked as nodes, and not decoded into structs: so every mistake
// has its line, and the messages, which a decoder fills with pieces of values,
// are our own.
func Parse(text []byte, lookup func(name string) (value string, ok bool)) (*File, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("the file is larger than %d MiB", maxFile>>20)
	}
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return new(File), nil
	}
	if err != nil {
		return nil, syntaxError(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in the file")
	}
	p := &parser{f: new(File), lookup: lookup, room: maxFile}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		p.file(doc.Content[0])
	}
	if len(p.errs) == 0 {
		p.check()
	}
	if len(p.errs) > maxErrors {
		p.errs = append(p.errs[:maxErrors], errors.New("and more"))
	}
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return p.f, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// syntaxError keeps the line of a YAML error, and its text unless that could
// show a value: a secret that begins with * is taken for an alias.
func syntaxError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "anchor") || strings.Contains(text, "alias") || len(text) > 120 {
		line := ""
		if m := yamlLine.FindString(text); m != "" {
			line = m + ": "
		}
		text = line + "anchors and aliases of YAML are not used here; put a value that begins with * or & in quotation marks"
	}
	return errors.New("not YAML: " + text)
}

type parser struct {
	f      *File
	lookup func(string) (string, bool)
	room   int // how many bytes values may still have
	errs   []error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	p.failAt(n.Line, format, args...)
}

func (p *parser) failAt(line int, format string, args ...any) {
	if len(p.errs) <= maxErrors {
		p.errs = append(p.errs, at(line, format, args...))
	}
}

// field reads the value of one member of a mapping.
type field struct {
	name string
	read func(n *yaml.Node)
}

// plain is what an unknown member's name must look like to be shown.
var plain = regexp.MustCompile(`^[a-zA-Z_]{1,32}$`)

// mapping reads a mapping with known members. None may stand twice.
func (p *parser) mapping(n *yaml.Node, what string, fields ...field) {
	if n.Kind != yaml.MappingNode || n.ShortTag() != "!!map" {
		p.fail(n, "%s is a mapping, and this is not", what)
		return
	}
	p.anchors(n)
	seen := make(map[string]bool, len(fields))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		j := slices.IndexFunc(fields, func(f field) bool { return name.Kind == yaml.ScalarNode && f.name == name.Value })
		switch {
		case j < 0 && name.Kind == yaml.ScalarNode && plain.MatchString(name.Value):
			p.fail(name, "%s has no %q; it has %s", what, name.Value, names(fields))
		case j < 0:
			p.fail(name, "%s has no such member; it has %s", what, names(fields))
		case seen[name.Value]:
			p.fail(name, "%q stands twice", name.Value)
		default:
			p.anchors(name)
			seen[name.Value] = true
			fields[j].read(value)
		}
	}
}

func names(fields []field) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return strings.Join(list, ", ")
}

// list reads a list, which may be empty.
func (p *parser) list(n *yaml.Node, what string, read func(n *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		p.fail(n, "%s is a list, and this is not", what)
		return
	}
	p.anchors(n)
	for _, item := range n.Content {
		read(item)
	}
}

// anchors refuses anchors. Aliases are refused wherever a value is read, since
// they are no scalar, mapping or list.
func (p *parser) anchors(n *yaml.Node) {
	if n.Anchor != "" {
		p.fail(n, "anchors and aliases of YAML are not used here; put a value that begins with * or & in quotation marks")
	}
}

// text reads a text of up to most bytes, with ${NAME} replaced. What YAML takes
// for a number is text here, as it is written.
func (p *parser) text(n *yaml.Node, what string, most int) string {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!str", "!!int", "!!float", "!!timestamp", "!!bool":
			if n.Style&yaml.TaggedStyle != 0 {
				break
			}
			p.anchors(n)
			s, err := expand(n.Value, p.lookup)
			if p.room -= len(s); err == nil && (len(s) > most || p.room < 0) {
				err = fmt.Errorf("%s is longer than %d bytes", what, most)
			}
			if err == nil && !utf8.ValidString(s) {
				err = fmt.Errorf("%s is not valid UTF-8", what)
			}
			if err != nil {
				p.fail(n, "%w", err)
				return ""
			}
			return s
		}
	}
	p.fail(n, "%s is a text, and this is not", what)
	return ""
}

// flag reads true or false.
func (p *parser) flag(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Style != 0 || n.Value != "true" && n.Value != "false" {
		p.fail(n, "%s is true or false", what)
		return false
	}
	p.anchors(n)
	return n.Value == "true"
}

// expand replaces each ${NAME} by what lookup says, and each $${ by ${. What
// comes in that way is not looked at again.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1])
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		name, rest, ok := strings.Cut(s[i+2:], "}")
		if !ok || !variable.MatchString(name) {
			return "", errors.New("${ begins a reference such as ${NAME}; write $${ for ${ itself")
		}
		value, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		if b.Len()+len(value) > maxFile {
			return "", errors.New("a value grows too long")
		}
		b.WriteString(value)
		s = rest
	}
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

func (p *parser) file(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	f := p.f
	p.mapping(n, "a seed file",
		field{"version", func(n *yaml.Node) {
			if p.text(n, "version", 10) != "1" {
				p.fail(n, "version is 1")
			}
		}},
		field{"accounts", func(n *yaml.Node) {
			p.list(n, "accounts", func(n *yaml.Node) { f.accounts = append(f.accounts, p.account(n)) })
		}},
		field{"organizations", func(n *yaml.Node) {
			p.list(n, "organizations", func(n *yaml.Node) { f.organizations = append(f.organizations, p.organization(n)) })
		}},
		field{"policies", func(n *yaml.Node) {
			p.list(n, "policies", func(n *yaml.Node) { f.policies = append(f.policies, p.managed(n)) })
		}},
		field{"groups", func(n *yaml.Node) {
			p.list(n, "groups", func(n *yaml.Node) { f.groups = append(f.groups, p.group(n)) })
		}},
		field{"users", func(n *yaml.Node) {
			p.list(n, "users", func(n *yaml.Node) { f.users = append(f.users, p.user(n)) })
		}},
		field{"roles", func(n *yaml.Node) {
			p.list(n, "roles", func(n *yaml.Node) { f.roles = append(f.roles, p.role(n)) })
		}},
		field{"keys", func(n *yaml.Node) {
			p.list(n, "keys", func(n *yaml.Node) { f.keys = append(f.keys, p.key(n)) })
		}},
		field{"aliases", func(n *yaml.Node) {
			p.list(n, "aliases", func(n *yaml.Node) { f.aliases = append(f.aliases, p.alias(n)) })
		}},
	)
}

// set returns a field that is a text.
func (p *parser) set(name string, to *string) field {
	return field{name, func(n *yaml.Node) { *to = p.text(n, name, 4096) }}
}

func (p *parser) account(n *yaml.Node) account {
	a := account{line: n.Line}
	p.mapping(n, "an account",
		p.set("id", &a.id),
		p.set("name", &a.name),
		field{"management", func(n *yaml.Node) { a.management = p.flag(n, "management") }},
		field{"regions", func(n *yaml.Node) {
			p.list(n, "regions", func(n *yaml.Node) { a.regions = append(a.regions, p.text(n, "regions", 64)) })
		}},
		field{"root_access_keys", func(n *yaml.Node) {
			p.list(n, "root_access_keys", func(n *yaml.Node) { a.accessKeys = append(a.accessKeys, p.accessKey(n)) })
		}},
	)
	return a
}

func (p *parser) user(n *yaml.Node) user {
	u := user{entity: entity{line: n.Line}}
	p.mapping(n, "a user", append(p.entity(&u.entity, true),
		p.texts("groups", "the name of a group", &u.groups),
		field{"access_keys", func(n *yaml.Node) {
			p.list(n, "access_keys", func(n *yaml.Node) { u.accessKeys = append(u.accessKeys, p.accessKey(n)) })
		}},
	)...)
	return u
}

func (p *parser) group(n *yaml.Node) group {
	g := group{entity{line: n.Line}}
	p.mapping(n, "a group", p.entity(&g.entity, false)...)
	return g
}

func (p *parser) role(n *yaml.Node) role {
	r := role{entity: entity{line: n.Line}}
	p.mapping(n, "a role", append(p.entity(&r.entity, true),
		p.set("description", &r.description),
		field{"trust", func(n *yaml.Node) { r.trust = p.document(n, "trust") }},
		field{"max_session", func(n *yaml.Node) {
			var err error
			if r.maxSession, err = time.ParseDuration(p.text(n, "max_session", 20)); err != nil {
				p.fail(n, "max_session is a duration, such as 2h")
			}
		}},
	)...)
	return r
}

// entity returns the members that users, groups and roles have in common; a
// bounded one can have a boundary and tags.
func (p *parser) entity(e *entity, bounded bool) []field {
	fields := []field{
		p.set("account", &e.account),
		p.set("name", &e.name),
		p.set("path", &e.path),
		p.texts("policies", "a policy", &e.policies),
		{"inline", func(n *yaml.Node) {
			p.named(n, "inline", func(name string, n *yaml.Node) {
				e.inline = append(e.inline, inline{name, p.document(n, "an inline policy")})
			})
		}},
	}
	if bounded {
		fields = append(fields, p.set("boundary", &e.boundary), p.identityTags(&e.tags))
	}
	return fields
}

func (p *parser) managed(n *yaml.Node) managed {
	m := managed{line: n.Line}
	p.mapping(n, "a policy",
		p.set("account", &m.account),
		p.set("name", &m.name),
		p.set("path", &m.path),
		p.set("description", &m.description),
		p.identityTags(&m.tags),
		field{"document", func(n *yaml.Node) { m.document = p.document(n, "document") }},
	)
	return m
}

func (p *parser) organization(n *yaml.Node) organization {
	o := organization{line: n.Line}
	p.mapping(n, "an organization",
		p.set("id", &o.id),
		p.set("management", &o.master),
		p.set("root", &o.root),
		field{"policies", func(n *yaml.Node) {
			p.list(n, "policies", func(n *yaml.Node) { o.policies = append(o.policies, p.control(n)) })
		}},
		p.attached(&o.at), p.fullAccess(&o.at),
		field{"units", func(n *yaml.Node) {
			p.list(n, "units", func(n *yaml.Node) {
				u := unit{line: n.Line}
				p.mapping(n, "a unit", p.set("id", &u.id), p.set("name", &u.name), p.set("parent", &u.parent),
					p.attached(&u.at), p.fullAccess(&u.at))
				o.units = append(o.units, u)
			})
		}},
		field{"accounts", func(n *yaml.Node) {
			p.list(n, "accounts", func(n *yaml.Node) {
				m := member{line: n.Line}
				p.mapping(n, "an account of an organization", p.set("id", &m.id), p.set("parent", &m.parent),
					p.attached(&m.at), p.fullAccess(&m.at))
				o.accounts = append(o.accounts, m)
			})
		}},
	)
	return o
}

func (p *parser) attached(t *target) field {
	return p.texts("attached", "the name of a policy", &t.attached)
}

func (p *parser) fullAccess(t *target) field {
	return field{"full_access", func(n *yaml.Node) { t.limited = !p.flag(n, "full_access") }}
}

func (p *parser) control(n *yaml.Node) control {
	c := control{line: n.Line}
	var kind string
	p.mapping(n, "a policy of an organization",
		p.set("id", &c.id),
		p.set("name", &c.name),
		p.set("description", &c.description),
		p.set("type", &kind),
		field{"document", func(n *yaml.Node) { c.document = p.document(n, "document") }},
	)
	c.kind = identity.OrganizationPolicyType(kind)
	return c
}

// texts returns a field that is a list of texts.
func (p *parser) texts(name, what string, to *[]string) field {
	return field{name, func(n *yaml.Node) {
		p.list(n, name, func(n *yaml.Node) { *to = append(*to, p.text(n, what, 2048)) })
	}}
}

// named reads a mapping whose names are the file's own. None may stand twice.
func (p *parser) named(n *yaml.Node, what string, read func(name string, n *yaml.Node)) {
	if n.Kind != yaml.MappingNode || n.ShortTag() != "!!map" {
		p.fail(n, "%s is a mapping, and this is not", what)
		return
	}
	p.anchors(n)
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := p.text(n.Content[i], "a name in "+what, 1024)
		if seen[name] {
			p.fail(n.Content[i], "a name stands twice in %s", what)
		}
		seen[name] = true
		read(name, n.Content[i+1])
	}
}

func (p *parser) identityTags(to *[]identity.Tag) field {
	return field{"tags", func(n *yaml.Node) {
		p.named(n, "tags", func(name string, n *yaml.Node) {
			*to = append(*to, identity.Tag{Name: name, Value: p.text(n, "the value of a tag", 2048)})
		})
	}}
}

// document reads a policy document: its text as JSON, or the same as YAML.
// ${…} in it is a policy variable, and none of ours.
func (p *parser) document(n *yaml.Node, what string) document {
	p.anchors(n)
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		if p.room -= len(n.Value); len(n.Value) > policy.MaxBytes || p.room < 0 {
			p.fail(n, "%s is longer than %d bytes", what, policy.MaxBytes)
			return document{}
		}
		return document{n.Line, n.Value}
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s is a policy document, as a mapping or as the text of its JSON, and this is not", what)
		return document{}
	}
	b := p.json(nil, n, 0)
	if p.room -= len(b); p.room < 0 {
		p.fail(n, "%s makes the file too long", what)
	}
	return document{n.Line, string(b)}
}

// json appends a YAML value as JSON.
func (p *parser) json(b []byte, n *yaml.Node, depth int) []byte {
	if depth > policy.MaxNesting {
		p.fail(n, "a policy document is nested too deeply")
		return append(b, "null"...)
	}
	p.anchors(n)
	switch n.Kind {
	case yaml.MappingNode:
		b = append(b, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b = append(b, ',')
			}
			name := n.Content[i]
			p.anchors(name)
			if name.Kind != yaml.ScalarNode {
				p.fail(name, "the name of a member of a policy document is a text")
				continue
			}
			b = append(append(b, quoteJSON(name.Value)...), ':')
			b = p.json(b, n.Content[i+1], depth+1)
		}
		return append(b, '}')
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, item := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			b = p.json(b, item, depth+1)
		}
		return append(b, ']')
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!bool":
			if n.Value == "true" || n.Value == "false" {
				return append(b, n.Value...)
			}
		case "!!str", "!!int", "!!float", "!!timestamp":
			// As text: what is a number in JSON may be none in YAML.
			return append(b, quoteJSON(n.Value)...)
		}
	}
	p.fail(n, "a policy document has texts, lists, mappings, true and false, and this is none")
	return append(b, "null"...)
}

// quoteJSON returns a text as a JSON string.
func quoteJSON(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`) // no string fails
	}
	return b
}

func (p *parser) accessKey(n *yaml.Node) accessKey {
	k := accessKey{line: n.Line}
	p.mapping(n, "an access key",
		p.set("id", &k.id),
		field{"secret", func(n *yaml.Node) { k.secret = secret.New([]byte(p.text(n, "secret", 4096))) }},
	)
	return k
}

func (p *parser) key(n *yaml.Node) key {
	k := key{line: n.Line, spec: keyring.SymmetricDefault}
	var spec, usage string
	p.mapping(n, "a key",
		p.set("account", &k.account),
		p.set("region", &k.region),
		p.set("id", &k.id),
		p.set("spec", &spec),
		p.set("usage", &usage),
		field{"description", func(n *yaml.Node) { k.description = p.text(n, "description", maxDescription) }},
		field{"enabled", func(n *yaml.Node) { k.disabled = !p.flag(n, "enabled") }},
		field{"material", func(n *yaml.Node) { k.material = p.material(n) }},
		field{"tags", func(n *yaml.Node) { k.tags = p.tags(n) }},
		field{"policy", func(n *yaml.Node) { k.policy = p.document(n, "policy") }},
	)
	if spec != "" {
		k.spec = keyring.Spec(spec)
	}
	k.usage = keyring.Usage(usage)
	if usage == "" {
		k.usage = onlyUsage(k.spec)
	}
	return k
}

// onlyUsage returns the usage of a spec that has just one beside key agreement,
// else "".
func onlyUsage(s keyring.Spec) keyring.Usage {
	var only keyring.Usage
	for _, u := range []keyring.Usage{keyring.EncryptDecrypt, keyring.SignVerify, keyring.GenerateVerifyMAC, keyring.EncapsulateDecapsulate} {
		if keyring.Compatible(s, u) {
			if only != "" {
				return ""
			}
			only = u
		}
	}
	return only
}

// maxMaterial is the largest key material, in base64: an RSA key of 4,096 bits
// takes about 3,200 characters.
const maxMaterial = 16 << 10

func (p *parser) material(n *yaml.Node) secret.Bytes {
	text := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, p.text(n, "material", maxMaterial))
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) == 0 {
		p.fail(n, "material is not base64")
		return secret.Bytes{}
	}
	return secret.New(b)
}

func (p *parser) tags(n *yaml.Node) []keyring.Tag {
	if n.Kind != yaml.MappingNode || n.ShortTag() != "!!map" {
		p.fail(n, "tags is a mapping, and this is not")
		return nil
	}
	p.anchors(n)
	if len(n.Content)/2 > keyring.MaxTags {
		p.fail(n, "a key has up to %d tags", keyring.MaxTags)
		return nil
	}
	var tags []keyring.Tag
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		t := keyring.Tag{Key: p.text(name, "the name of a tag", 1024), Value: p.text(value, "the value of a tag", 2048)}
		if slices.ContainsFunc(tags, func(have keyring.Tag) bool { return have.Key == t.Key }) {
			p.fail(name, "a tag stands twice")
		}
		tags = append(tags, t)
	}
	return tags
}

func (p *parser) alias(n *yaml.Node) alias {
	a := alias{line: n.Line}
	p.mapping(n, "an alias",
		p.set("account", &a.account),
		p.set("region", &a.region),
		p.set("name", &a.name),
		p.set("key", &a.key),
	)
	if a.name != "" && !strings.HasPrefix(a.name, "alias/") {
		a.name = "alias/" + a.name
	}
	return a
}

// The forms of the API's parameters. Source: the API reference of AWS KMS,
// CreateKey, CreateAlias and Tag.
const (
	maxDescription = 8192
	maxTagKey      = 128
	maxTagValue    = 256
	maxKeyPolicy   = 32768 // bytes
)

var (
	regionName = regexp.MustCompile(`^[a-z]{2,5}(-[a-z]{2,10}){1,2}-[0-9]{1,2}$`)
	keyID      = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	aliasName  = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)
	tagText    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

// check checks what the values say.
func (p *parser) check() {
	seen := make(map[string]int)
	// once notes something that may stand in the file once.
	once := func(line int, what, name string) {
		if before := seen[what+" "+name]; before != 0 {
			p.failAt(line, "%s %s stands in line %d already", what, name, before)
		}
		seen[what+" "+name] = line
	}
	management := 0
	for _, a := range p.f.accounts {
		if err := (&identity.Account{ID: a.id, Name: a.name}).Check(); err != nil {
			p.failAt(a.line, "%w", err)
		}
		once(a.line, "account", a.id)
		for _, region := range a.regions {
			p.place(a.line, a.id, region)
			once(a.line, "Region of account "+a.id+",", region)
		}
		if len(a.regions) > identity.MaxAccountRegions {
			p.failAt(a.line, "an account enables up to %d Regions", identity.MaxAccountRegions)
		}
		if a.management {
			if management != 0 {
				p.failAt(a.line, "the management account is in line %d already", management)
			}
			management = a.line
		}
	}
	for i := range p.f.accounts {
		p.checkAccessKeys(p.f.accounts[i].line, "a root user", p.f.accounts[i].accessKeys, once)
	}
	p.checkIdentities(once)
	for i := range p.f.organizations {
		p.checkOrganization(&p.f.organizations[i], once)
	}
	for _, k := range p.f.keys {
		p.place(k.line, k.account, k.region)
		if !keyID.MatchString(k.id) {
			p.failAt(k.line, "the id of a key is a UUID in lower case, such as 1234abcd-12ab-34cd-56ef-1234567890ab")
		}
		switch {
		case !k.spec.Known():
			p.failAt(k.line, "key spec %s is not known", quote(string(k.spec)))
		case k.usage == "":
			p.failAt(k.line, "a key of spec %s needs a usage", k.spec)
		case !keyring.Compatible(k.spec, k.usage):
			p.failAt(k.line, "a key of spec %s cannot have the usage %s", k.spec, quote(string(k.usage)))
		}
		if utf8.RuneCountInString(k.description) > maxDescription {
			p.failAt(k.line, "a description has up to %d characters", maxDescription)
		}
		p.checkTags(k.line, k.tags)
		if k.policy.text != "" {
			p.checkDocument(k.policy, policy.KeyPolicy, maxKeyPolicy)
		}
		once(k.line, "key", k.account+"/"+k.region+"/"+k.id)
	}
	for _, a := range p.f.aliases {
		p.place(a.line, a.account, a.region)
		if !aliasName.MatchString(a.name) {
			p.failAt(a.line, "the name of an alias has letters, digits and /_-, up to 256 with alias/ before it")
		} else if strings.HasPrefix(a.name, "alias/aws/") {
			p.failAt(a.line, "names that begin with alias/aws/ are for AWS managed keys")
		}
		if !keyID.MatchString(a.key) {
			p.failAt(a.line, "the key of an alias is the id of a key, a UUID in lower case")
		}
		once(a.line, "alias", a.account+"/"+a.region+"/"+a.name)
	}
}

// checkIdentities checks policies, groups, users and roles.
func (p *parser) checkIdentities(once func(line int, what, name string)) {
	f := p.f
	for i := range f.policies {
		m := &f.policies[i]
		p.checkEntity(&entity{line: m.line, account: m.account, name: m.name, path: m.path}, once, "policy", maxName)
		p.checkRequired(m.line, "a policy", m.document, policy.Identity)
	}
	for i := range f.groups {
		p.checkEntity(&f.groups[i].entity, once, "group", maxName)
	}
	for i := range f.users {
		u := &f.users[i]
		p.checkEntity(&u.entity, once, "user", maxPrincipalName)
		p.checkAccessKeys(u.line, "a user", u.accessKeys, once)
	}
	for i := range f.roles {
		r := &f.roles[i]
		p.checkEntity(&r.entity, once, "role", maxPrincipalName)
		p.checkRequired(r.line, "a role", r.trust, policy.Trust)
	}
}

// The forms of names and paths of users, groups, roles and policies. Source:
// "IAM and AWS STS quotas" in the IAM User Guide.
const (
	maxName          = 128
	maxPrincipalName = 64
)

var (
	identityName = regexp.MustCompile(`^[\w+=,.@-]+$`)
	identityPath = regexp.MustCompile(`^/([\x21-\x7e]{0,510}/)?$`)
)

func (p *parser) checkEntity(e *entity, once func(line int, what, name string), what string, longest int) {
	if !arn.IsAccount(e.account) {
		p.failAt(e.line, "account is 12 digits, in quotation marks")
	}
	if !identityName.MatchString(e.name) || len(e.name) > longest {
		p.failAt(e.line, "the name of a %s has 1 to %d letters, digits and _+=,.@-", what, longest)
	}
	if e.path == "" {
		e.path = "/"
	}
	if !identityPath.MatchString(e.path) {
		p.failAt(e.line, "a path begins and ends with /")
	}
	for i, name := range e.policies {
		e.policies[i] = p.f.policyARN(e.account, name)
	}
	if e.boundary != "" {
		e.boundary = p.f.policyARN(e.account, e.boundary)
	}
	for _, in := range e.inline {
		p.checkDocument(in.document, policy.Identity, 0)
	}
	once(e.line, what, e.account+"/"+strings.ToLower(e.name))
}

// policyARN returns the ARN of a managed policy that is given by ARN, by the
// name of one in the file, or by the name of one of AWS's.
func (f *File) policyARN(account, name string) string {
	if arn.Is(name) {
		return name
	}
	for i := range f.policies {
		if m := &f.policies[i]; m.account == account && strings.EqualFold(m.name, name) {
			return m.arn()
		}
	}
	return "arn:aws:iam::aws:policy/" + name
}

func (m *managed) arn() string {
	path := m.path
	if path == "" {
		path = "/"
	}
	return "arn:aws:iam::" + m.account + ":policy" + path + m.name
}

// checkDocument checks a document of a type; most is its longest text in bytes,
// if that is not for package identity to say.
func (p *parser) checkDocument(d document, t policy.Type, most int) {
	if d.text == "" {
		return // told already, or to be told
	}
	if most > 0 && len(d.text) > most {
		p.failAt(d.line, "this %s has more than %d bytes", t, most)
	}
	if _, err := policy.Parse(d.text, policy.Options{Type: t}); err != nil {
		p.failAt(d.line, "not a valid %s: %w", t, err)
	}
}

// checkRequired is checkDocument for what must have one.
func (p *parser) checkRequired(line int, what string, d document, t policy.Type) {
	if d.text == "" {
		p.failAt(line, "%s needs its document, a valid %s", what, t)
		return
	}
	p.checkDocument(d, t, 0)
}

func (p *parser) checkAccessKeys(line int, whose string, keys []accessKey, once func(line int, what, name string)) {
	if len(keys) > identity.MaxAccessKeys {
		p.failAt(line, "%s has up to %d access keys", whose, identity.MaxAccessKeys)
	}
	for _, k := range keys {
		if err := identity.CheckAccessKey(k.id, k.secret); err != nil {
			p.failAt(k.line, "%w", err)
			continue // what stands for the id may be the secret: it is not shown
		}
		once(k.line, "access key", k.id)
	}
}

// The forms of ids in organizations. Source: the API reference of AWS
// Organizations, Organization, Root, OrganizationalUnit and PolicySummary.
var (
	organizationID = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	rootID         = regexp.MustCompile(`^r-[a-z0-9]{4,32}$`)
	unitID         = regexp.MustCompile(`^ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}$`)
	controlID      = regexp.MustCompile(`^p-[a-z0-9_]{8,128}$`)
)

func (p *parser) checkOrganization(o *organization, once func(line int, what, name string)) {
	if !organizationID.MatchString(o.id) {
		p.failAt(o.line, "the id of an organization is o- and 10 to 32 lower-case letters and digits")
	}
	if !rootID.MatchString(o.root) {
		p.failAt(o.line, "the root of an organization is r- and 4 to 32 lower-case letters and digits")
	}
	if !arn.IsAccount(o.master) {
		p.failAt(o.line, "management is the id of an account, 12 digits in quotation marks")
	}
	once(o.line, "organization", o.id)
	known := make(map[string]bool)
	for _, c := range o.policies {
		if !controlID.MatchString(c.id) {
			p.failAt(c.line, "the id of a policy of an organization is p- and 8 to 128 lower-case letters, digits and _")
		}
		if n := utf8.RuneCountInString(c.name); n < 1 || n > maxName {
			p.failAt(c.line, "the name of a policy of an organization has 1 to %d characters", maxName)
		}
		if known[c.name] || known[c.id] {
			p.failAt(c.line, "a name or id stands twice")
		}
		if c.name == "FullAWSAccess" || c.name == "RCPFullAWSAccess" {
			p.failAt(c.line, "every organization has a policy %s already", c.name)
		}
		known[c.name], known[c.id] = true, true
		switch c.kind {
		case identity.ServiceControlPolicy:
			p.checkRequired(c.line, "a policy", c.document, policy.ServiceControl)
		case identity.ResourceControlPolicy:
			p.checkRequired(c.line, "a policy", c.document, policy.ResourceControl)
		default:
			p.failAt(c.line, "the type of a policy of an organization is %s or %s", identity.ServiceControlPolicy, identity.ResourceControlPolicy)
		}
	}
	service := make(map[string]bool)
	for _, c := range o.policies {
		service[c.name] = c.kind == identity.ServiceControlPolicy
	}
	attached := func(line int, t target) {
		scps := 0
		for _, name := range t.attached {
			if service[name] {
				scps++
			}
			if !known[name] {
				p.failAt(line, "the organization has no policy %s", quote(name))
			}
		}
		if t.limited && scps == 0 {
			p.failAt(line, "without full_access, a service control policy must be attached")
		}
	}
	attached(o.line, o.at)
	parents := map[string]bool{o.root: true}
	parent := func(line int, to *string) {
		if *to == "" {
			*to = o.root
		}
		if !parents[*to] {
			p.failAt(line, "the parent is the root or a unit that stands before")
		}
	}
	for i := range o.units {
		u := &o.units[i]
		parent(u.line, &u.parent)
		if !unitID.MatchString(u.id) || !strings.HasPrefix(u.id, "ou-"+strings.TrimPrefix(o.root, "r-")+"-") {
			p.failAt(u.line, "the id of a unit is ou-, the root's without r-, and - with 8 to 32 lower-case letters and digits")
		}
		once(u.line, "unit", u.id)
		once(u.line, "unit under "+u.parent, u.name)
		parents[u.id] = true
		attached(u.line, u.at)
	}
	for i := range o.accounts {
		m := &o.accounts[i]
		parent(m.line, &m.parent)
		once(m.line, "account in an organization", m.id)
		attached(m.line, m.at)
	}
}

func (p *parser) place(line int, account, region string) {
	if !arn.IsAccount(account) {
		p.failAt(line, "account is 12 digits, in quotation marks")
	}
	if !regionName.MatchString(region) {
		p.failAt(line, "region is the name of a Region, such as eu-central-1")
	}
}

func (p *parser) checkTags(line int, tags []keyring.Tag) {
	for _, t := range tags {
		switch n := utf8.RuneCountInString(t.Key); {
		case n < 1 || n > maxTagKey || utf8.RuneCountInString(t.Value) > maxTagValue:
			p.failAt(line, "a tag's name has 1 to %d characters, its value up to %d", maxTagKey, maxTagValue)
		case !tagText.MatchString(t.Key) || !tagText.MatchString(t.Value):
			p.failAt(line, "a tag has letters, digits, spaces and _.:/=+-@")
		case tag.Reserved(t.Key):
			p.failAt(line, "names of tags that begin with aws: are AWS's own")
		case t.Key == TagKey && t.Value != TagValue:
			p.failAt(line, "the tag %s is %s", TagKey, TagValue)
		}
	}
	n := len(tags)
	if !slices.Contains(tags, keyring.Tag{Key: TagKey, Value: TagValue}) {
		n++
	}
	if n > keyring.MaxTags {
		p.failAt(line, "a key has up to %d tags, one of which is %s", keyring.MaxTags, TagKey)
	}
}

// quote shows a value that is no secret, up to a length.
func quote(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return strconv.Quote(s)
}
