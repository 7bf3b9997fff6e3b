package rolesanywhere

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// attributes are the names that parts of distinguished names have in session
// tags, by their object identifiers.
var attributes = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET",
	"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "T", "2.5.4.42": "GN",
	"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "E",
}

// A subject is what a certificate says about who has it.
type subject struct {
	tags           []call.Pair // of the session
	sourceIdentity string
	name           string // of the session: the serial number in hexadecimal
	// failed are the attributes that cannot be tags, of issuer, subject and
	// alternative name.
	failed [3][]string
}

// describe reads a certificate: the attributes of subject and issuer, and the
// first of each kind of alternative name. Where an attribute has several values,
// the first counts. Source: "Certificate attribute mapping" in the IAM Roles
// Anywhere User Guide, the default.
func describe(c *x509.Certificate) *subject {
	s := &subject{name: serialNumber(c)}
	s.sourceIdentity = s.name
	s.addName(1, "x509Subject/", "", c.Subject.Names)
	s.addName(0, "x509Issuer/", "", c.Issuer.Names)
	if len(c.DNSNames) > 0 {
		s.add(2, "x509SAN/", "DNS", c.DNSNames[0])
	}
	if len(c.URIs) > 0 {
		s.add(2, "x509SAN/", "URI", c.URIs[0].String())
	}
	s.addName(2, "x509SAN/", "Name/", directoryName(c))
	for _, n := range c.Subject.Names {
		if cn, ok := n.Value.(string); ok && n.Type.String() == "2.5.4.3" {
			// What cannot be a source identity is not made into one: two names
			// could become the same.
			if isSourceIdentity(cn) {
				s.sourceIdentity = cn
			}
			break
		}
	}
	return s
}

func (s *subject) addName(field int, prefix, under string, names []pkix.AttributeTypeAndValue) {
	seen := map[string]bool{}
	for _, n := range names {
		attribute, ok := attributes[n.Type.String()]
		if !ok || seen[attribute] {
			continue
		}
		seen[attribute] = true
		value, ok := n.Value.(string)
		if !ok {
			s.failed[field] = append(s.failed[field], under+attribute)
			continue
		}
		s.add(field, prefix, under+attribute, value)
	}
}

func (s *subject) add(field int, prefix, attribute, value string) {
	tag := call.Pair{Name: prefix + attribute, Value: value}
	if identity.CheckTags([]identity.Tag{tag}) != nil {
		s.failed[field] = append(s.failed[field], attribute)
		return
	}
	s.tags = append(s.tags, tag)
}

// problem says which attributes cannot be session tags; it is empty if all can.
func (s *subject) problem() string {
	if len(s.failed[0])+len(s.failed[1])+len(s.failed[2]) == 0 {
		return ""
	}
	list := func(i int) string { return "[ " + strings.Join(s.failed[i], ", ") + " ]" }
	return "Some attributes failed to be mapped into session tags. Issuer: " + list(0) + "; Subject: " + list(1) + "; SAN: " + list(2)
}

// serialNumber is that of a certificate in hexadecimal, of whole bytes.
func serialNumber(c *x509.Certificate) string {
	b := c.SerialNumber.Bytes()
	if len(b) == 0 {
		b = []byte{0}
	}
	return hex.EncodeToString(b)
}

// isSourceIdentity reports whether s has the form that AWS STS wants: 2 to 64
// letters, digits and _+=,.@-.
func isSourceIdentity(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9', 'a' <= c && c <= 'z', strings.IndexByte("_+=,.@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// directoryName returns the first directory name among a certificate's
// alternative names, which crypto/x509 leaves out. Source: RFC 5280, 4.2.1.6.
func directoryName(c *x509.Certificate) []pkix.AttributeTypeAndValue {
	const tagDirectoryName = 4
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil
		}
		for _, n := range names {
			if n.Class != asn1.ClassContextSpecific || n.Tag != tagDirectoryName {
				continue
			}
			var rdns pkix.RDNSequence
			if rest, err := asn1.Unmarshal(n.Bytes, &rdns); err != nil || len(rest) > 0 {
				return nil
			}
			var name pkix.Name
			name.FillFromRDNSequence(&rdns)
			return name.Names
		}
	}
	return nil
}
