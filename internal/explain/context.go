package explain

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// values are the condition keys of a request or resource.
type values struct {
	set     policy.Values  // by name; the zero Value for one that was taken away
	context wire.StringMap // the encryption context
	tags    []pair
}

// Value implements [policy.Context]. Names in encryption contexts and keys of
// tags are found whatever their case; of several, the one that is written the
// same goes first.
func (v *values) Value(k *policy.Key) policy.Value {
	if one, ok := v.set[k.String()]; ok {
		return one
	}
	switch k.Name {
	case "kms:encryptioncontext:":
		if one, ok := v.context.Get(k.Sub); ok {
			return policy.String(one)
		}
		for _, p := range v.context {
			if strings.EqualFold(p.Name, k.Sub) {
				return policy.String(p.Value)
			}
		}
	case "aws:requesttag/", "aws:resourcetag/":
		for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
			for _, t := range v.tags {
				if same(t.name, k.Sub) {
					return policy.String(t.value)
				}
			}
		}
	}
	return policy.Value{}
}

var (
	defaultSourcePort = netip.AddrPortFrom(netip.MustParseAddr(defaultSource), 40000)
	defaultVPCSource  = netip.MustParseAddr("10.0.0.1")
	defaultTLS        = call.TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Group: uint16(tls.X25519MLKEM768)}
)

// derived are condition keys that follow from other members of a case, and
// which those are: to set such a key alone would describe a call that cannot be.
var derived = map[string]string{
	"aws:principalarn":              "principal",
	"aws:principalaccount":          "principal",
	"aws:principaltype":             "principal",
	"aws:principalisawsservice":     "principal",
	"aws:principalservicename":      "principal",
	"aws:principalservicenameslist": "principal",
	"aws:userid":                    "principal",
	"aws:username":                  "principal",
	"aws:principalorgid":            "organizations",
	"aws:principalorgpaths":         "organizations",
	"aws:resourceorgid":             "organizations",
	"aws:resourceorgpaths":          "organizations",
	"aws:sourceorgid":               "organizations",
	"aws:sourceorgpaths":            "organizations",
	"aws:vpceorgid":                 "organizations",
	"aws:vpceorgpaths":              "organizations",
	"aws:resourceaccount":           "key or resource",
	"aws:requestedregion":           "region",
	"aws:viaawsservice":             "via",
	"aws:calledvia":                 "via",
	"aws:calledviafirst":            "via",
	"aws:calledvialast":             "via",
	"kms:viaservice":                "via",
	"kms:grantisforawsresource":     "via",
	"kms:calleraccount":             "principal",
}

// ofResource are the condition keys that describe the resource; the rest of
// those that are not global describe the request.
var ofResource = map[string]bool{
	"kms:keyspec":                true,
	"kms:customermasterkeyspec":  true,
	"kms:keyusage":               true,
	"kms:customermasterkeyusage": true,
	"kms:keyorigin":              true,
	"kms:multiregion":            true,
	"kms:multiregionkeytype":     true,
	"kms:resourcealiases":        true,
}

// buildContext sets condition keys that the case gives by name. A null takes
// one away.
func (b *builder) buildContext() {
	var seen []string
	for _, m := range b.context {
		k := policy.ParseKey(m.name)
		name := k.String()
		for _, have := range seen {
			if have == name {
				b.mistake("context has %s twice", quote(m.name))
			}
		}
		seen = append(seen, name)
		if b.err != nil {
			return
		}
		if from := derived[name]; from != "" {
			b.mistake("context: %s follows from the case's %s", quote(m.name), from)
			return
		}
		if strings.HasPrefix(name, "aws:") && k.Name != "aws:requesttag/" && k.Name != "aws:resourcetag/" && k.Name != "aws:tagkeys" {
			b.setGlobal(&k, m)
			continue
		}
		if !authz.Populates(b.action, &k) && !isNull(m.raw) {
			b.mistake("context: requests for %s never have the condition key %s", b.action, quote(m.name))
			return
		}
		into := b.asked.set
		if k.Name == "aws:resourcetag/" || k.Name == "iam:resourcetag/" || ofResource[name] && b.action != "kms:CreateKey" {
			into = b.facts.set
		}
		// Names of before stand for those of today.
		name = strings.Replace(name, "kms:customermaster", "kms:", 1)
		name = strings.Replace(name, "iam:resourcetag/", "aws:resourcetag/", 1)
		into[name] = policy.Value{}
		if !isNull(m.raw) {
			into[name] = b.anyValue(m)
		}
	}
}

// anyValue reads the value of a condition key: a string, a number, true or
// false, or a list of strings for a multivalued key.
func (b *builder) anyValue(m member) policy.Value {
	switch kindOf(m.raw) {
	case '"':
		return policy.String(b.text(m.raw, m.name, maxString))
	case '[':
		return policy.Strings(b.texts(m.raw, m.name))
	case 't', 'f':
		return policy.Bool(b.flag(m.raw, m.name))
	case '{':
		b.mistake("context: the value of %s is a string, a number, true, false, or a list of strings", quote(m.name))
		return policy.Value{}
	}
	return policy.Number(b.number(m.raw, m.name))
}

// scalar reads a string, or a number or truth as the text that it is.
func (b *builder) scalar(m member) string {
	switch kindOf(m.raw) {
	case '"':
		return b.text(m.raw, m.name, maxString)
	case '[', '{':
		b.mistake("context: %s has one value", quote(m.name))
		return ""
	}
	return string(bytes.TrimSpace(m.raw))
}

// truth reads true or false, or the strings.
func (b *builder) truth(m member) bool {
	v, err := strconv.ParseBool(b.scalar(m))
	if err != nil {
		b.mistake("context: %s is true or false", quote(m.name))
	}
	return v
}

func (b *builder) addr(m member) netip.Addr {
	a, err := netip.ParseAddr(b.scalar(m))
	if err != nil {
		b.mistake("context: %s is an IP address", quote(m.name))
	}
	return a
}

// setGlobal sets a global condition key, by setting what of the call it comes
// from.
func (b *builder) setGlobal(k *policy.Key, m member) {
	absent := isNull(m.raw)
	text := func(to *string) {
		*to = ""
		if !absent {
			*to = b.scalar(m)
		}
	}
	switch k.Name {
	case "aws:currenttime", "aws:epochtime":
		if absent {
			b.mistake("context: %s is always there", quote(m.name))
			return
		}
		b.setTime(b.time(m.raw, m.name))
	case "aws:securetransport":
		b.call.TLS = call.TLS{}
		if !absent && b.truth(m) {
			b.call.TLS = defaultTLS
		}
	case "aws:useragent":
		text(&b.call.UserAgent)
	case "aws:sourceip":
		b.call.Source = netip.AddrPort{}
		if !absent {
			b.call.Source = netip.AddrPortFrom(b.addr(m), defaultSourcePort.Port())
		}
	case "aws:sourcevpce", "aws:sourcevpc", "aws:sourcevpcarn", "aws:vpceaccount", "aws:vpcsourceip":
		b.setEndpoint(k.Name, m)
	case "aws:principaltag/":
		b.setTag(k.Sub, m)
	case "aws:tokenissuetime", "aws:multifactorauthpresent", "aws:multifactorauthage", "aws:federatedprovider", "aws:sourceidentity":
		b.setSession(k.Name, m)
	case "aws:sourcearn", "aws:sourceaccount":
		if b.caller.Kind != call.Service {
			b.mistake("context: %s is there only if a service calls for itself", quote(m.name))
			return
		}
		if k.Name == "aws:sourcearn" {
			text(&b.call.Delegation.SourceARN)
		} else {
			text(&b.call.Delegation.SourceAccount)
		}
	default:
		if !absent {
			b.mistake("context: a call to this server never has the condition key %s", quote(m.name))
		}
	}
}

// setTime moves the call, and what happened before it.
func (b *builder) setTime(t time.Time) {
	shift := t.Sub(b.call.Time)
	b.call.Time = t
	if s := b.caller.Session; s != nil {
		s.Issued, s.Expires = s.Issued.Add(shift), s.Expires.Add(shift)
		if s.MFA {
			s.MFATime = s.MFATime.Add(shift)
		}
	}
	for _, g := range b.grants.all {
		g.Created, g.Effective = g.Created.Add(shift), g.Effective.Add(shift)
	}
}

// setEndpoint sets a condition key of the network. The first makes an endpoint
// with the default policy, if the case has none.
func (b *builder) setEndpoint(name string, m member) {
	if isNull(m.raw) {
		if b.call.Endpoint != nil {
			b.mistake("context: %s is there, as the call comes through an endpoint", quote(m.name))
		}
		return
	}
	if b.call.Endpoint == nil {
		b.endpoint = new(endpoint)
		b.buildEndpoint()
	}
	e := b.call.Endpoint
	if e == nil || b.err != nil {
		return
	}
	switch name {
	case "aws:sourcevpce":
		e.ID = b.scalar(m)
	case "aws:sourcevpc":
		e.VPC = b.scalar(m)
		e.VPCARN = "arn:" + b.partition + ":ec2:" + b.region + ":" + e.Account + ":vpc/" + e.VPC
	case "aws:sourcevpcarn":
		e.VPCARN = b.scalar(m)
	case "aws:vpceaccount":
		e.Account = b.scalar(m)
	case "aws:vpcsourceip":
		e.Source = b.addr(m)
	}
}

// setTag sets a tag of the principal.
func (b *builder) setTag(name string, m member) {
	tags := b.caller.Tags[:0]
	for _, t := range b.caller.Tags {
		if !strings.EqualFold(t.Name, name) {
			tags = append(tags, t)
		}
	}
	b.caller.Tags = tags
	if !isNull(m.raw) {
		b.caller.Tags = append(b.caller.Tags, call.Pair{Name: name, Value: b.scalar(m)})
	}
}

// setSession sets a condition key of temporary credentials.
func (b *builder) setSession(name string, m member) {
	s := b.caller.Session
	absent := isNull(m.raw)
	switch {
	case s == nil && absent:
		return
	case s == nil:
		b.mistake(`context: %s comes with temporary credentials; give the principal as an object with "temporary": true`, quote(m.name))
		return
	}
	switch name {
	case "aws:tokenissuetime":
		if absent {
			b.mistake("context: %s is there with temporary credentials", quote(m.name))
			return
		}
		s.Issued = b.time(m.raw, m.name)
	case "aws:multifactorauthpresent":
		s.MFA = !absent && b.truth(m)
		if s.MFA && s.MFATime.IsZero() {
			s.MFATime = s.Issued
		}
	case "aws:multifactorauthage":
		if s.MFA = !absent; s.MFA {
			n := b.number(m.raw, m.name)
			if !(n >= 0 && n < 1e9) {
				b.mistake("context: %s is out of range", quote(m.name))
				return
			}
			s.MFATime = b.call.Time.Add(-time.Duration(n * float64(time.Second)))
		}
	case "aws:federatedprovider":
		s.Provider = ""
		if !absent {
			s.Provider = b.scalar(m)
		}
	case "aws:sourceidentity":
		s.SourceIdentity = ""
		if !absent {
			s.SourceIdentity = b.scalar(m)
		}
	}
}
