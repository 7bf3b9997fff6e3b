package seed

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/secret"
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
		field{"users", func(n *yaml.Node) {
			p.list(n, "users", func(n *yaml.Node) { f.users = append(f.users, p.user(n)) })
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
	)
	return a
}

func (p *parser) user(n *yaml.Node) user {
	u := user{line: n.Line}
	p.mapping(n, "a user",
		p.set("account", &u.account),
		p.set("name", &u.name),
		p.set("path", &u.path),
		field{"policies", func(n *yaml.Node) {
			p.list(n, "policies", func(n *yaml.Node) {
				policy := p.text(n, "a policy", 2048)
				if policy == "AdministratorAccess" {
					policy = call.AdministratorAccess
				}
				u.policies = append(u.policies, policy)
			})
		}},
		field{"access_keys", func(n *yaml.Node) {
			p.list(n, "access_keys", func(n *yaml.Node) { u.accessKeys = append(u.accessKeys, p.accessKey(n)) })
		}},
	)
	return u
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

// onlyUsage returns the usage of a spec that has just one, else "".
func onlyUsage(s keyring.Spec) keyring.Usage {
	var only keyring.Usage
	for _, u := range []keyring.Usage{keyring.EncryptDecrypt, keyring.SignVerify, keyring.GenerateVerifyMAC} {
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
		if a.management {
			if management != 0 {
				p.failAt(a.line, "the management account is in line %d already", management)
			}
			management = a.line
		}
	}
	for _, u := range p.f.users {
		if err := (&identity.User{Account: u.account, Name: u.name, Path: u.path, Policies: u.policies}).Check(); err != nil {
			p.failAt(u.line, "%w", err)
		}
		once(u.line, "user", u.account+"/"+strings.ToLower(u.name))
		if len(u.accessKeys) > identity.MaxAccessKeys {
			p.failAt(u.line, "a user has up to %d access keys", identity.MaxAccessKeys)
		}
		for _, k := range u.accessKeys {
			if err := identity.CheckAccessKey(k.id, k.secret); err != nil {
				p.failAt(k.line, "%w", err)
				continue // what stands for the id may be the secret: it is not shown
			}
			once(k.line, "access key", k.id)
		}
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
		case len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:"):
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
