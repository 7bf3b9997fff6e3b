package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Limits of OIDC providers. Source: "IAM and AWS STS quotas" in the IAM User
// Guide, and CreateOpenIDConnectProvider in the IAM API Reference.
const (
	MaxOIDCProviders   = 100 // of an account
	MaxOIDCClients     = 100 // client ids of a provider
	MaxOIDCThumbprints = 5   // of a provider

	oidcPrefix = "v1/oidc/"
)

// OIDCProvider is an issuer of OpenID Connect tokens whom an account trusts to
// say who somebody is.
type OIDCProvider struct {
	Account string
	// URL is the issuer's without "https://", which it always has: a host, and
	// maybe a port and a path. It is as it was given, since a token's issuer
	// must be the same to the letter.
	URL         string
	ARN         string   // arn:aws:iam::ACCOUNT:oidc-provider/ and URL
	ClientIDs   []string // audiences; in the order in which they were added
	Thumbprints []string // 40 characters each, in lower case; of certificates of the issuer
	Created     time.Time
	Tags        []Tag
}

// Issuer returns what tokens of the provider have as "iss".
func (p *OIDCProvider) Issuer() string { return "https://" + p.URL }

// OIDCProviderARN returns the ARN of the provider with a URL, with or without
// "https://".
func OIDCProviderARN(account, issuer string) string {
	return "arn:" + partition + ":iam::" + account + ":oidc-provider/" + strings.TrimPrefix(issuer, "https://")
}

// oidcKey returns the storage key of a provider. Hosts are the same in any
// case, and paths are not.
func oidcKey(account, u string) string {
	host, path, _ := strings.Cut(u, "/")
	key := oidcPrefix + account + "/" + strings.ToLower(host)
	if len(host) < len(u) {
		key += "/" + path
	}
	return key
}

func oidcNotFound(text string) error {
	return &Error{ErrNotFound, "OpenIDConnect Provider not found for arn " + text}
}

// parseOIDCARN takes the ARN of a provider apart.
func parseOIDCARN(text string) (account, u string, ok bool) {
	a, err := arn.Parse(text)
	if err != nil || a.Partition != partition || a.Service != "iam" || a.Region != "" || a.Account == "" {
		return "", "", false
	}
	u, ok = strings.CutPrefix(a.Resource, "oidc-provider/")
	return a.Account, u, ok && u != "" && len(u) <= 255
}

// encode returns the record's value: URL, created, list of client ids, list of
// thumbprints, tags (pairs).
func (p *OIDCProvider) encode() []byte {
	b := []byte{1}
	b = appendString(b, p.URL)
	b = appendTime(b, p.Created)
	b = appendStrings(b, p.ClientIDs)
	b = appendStrings(b, p.Thumbprints)
	return appendPairs(b, p.Tags)
}

func decodeOIDCProvider(rec record.Record) (*OIDCProvider, error) {
	r := newReader(rec.Value, 1)
	p := new(OIDCProvider)
	p.Account, _, _ = strings.Cut(strings.TrimPrefix(rec.Key, oidcPrefix), "/")
	p.URL = r.string()
	p.ARN = OIDCProviderARN(p.Account, p.URL)
	p.Created = r.time()
	p.ClientIDs = r.strings()
	p.Thumbprints = r.strings()
	p.Tags = r.pairs()
	return p, r.end()
}

// CheckIssuer returns the URL of an issuer without "https://", or what is wrong
// with it, an ErrInvalid. It has no user, query and fragment. It may have a
// port, which AWS does not take: issuers inside a company often have one.
func CheckIssuer(issuer string) (string, error) {
	invalid := &Error{ErrInvalid, "Invalid Open ID Connect Provider URL"}
	if len(issuer) > 255 {
		return "", invalid
	}
	for i := range len(issuer) {
		if issuer[i] <= ' ' || issuer[i] > '~' {
			return "", invalid
		}
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", invalid
	}
	text, ok := strings.CutPrefix(issuer, "https://")
	if !ok {
		return "", &Error{ErrInvalid, "Invalid Open ID Connect Provider URL. The URL must begin with https://."}
	}
	if u.User != nil || strings.ContainsAny(text, "?#\\*%") || !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":") {
		return "", &Error{ErrInvalid, "Invalid Open ID Connect Provider URL."}
	}
	return text, nil
}

// isHost reports whether a host is a name or an address.
func isHost(host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
			default:
				return false
			}
		}
	}
	return len(host) <= 253
}

// checkClients returns what is wrong with a provider's client ids.
func checkClients(ids []string) error {
	for _, id := range ids {
		if n := utf8.RuneCountInString(id); n < 1 || n > 255 {
			return &Error{ErrInvalid, "A client ID has 1 to 255 characters."}
		}
	}
	if len(ids) > MaxOIDCClients {
		return overQuota("ClientIdsPerOpenIdConnectProvider", MaxOIDCClients)
	}
	return nil
}

// cleanThumbprints returns thumbprints as they are kept, without those that
// stand twice.
func cleanThumbprints(list []string) ([]string, error) {
	if len(list) > MaxOIDCThumbprints {
		return nil, &Error{ErrInvalid, "Thumbprint list must contain fewer than 5 entries."}
	}
	var clean []string
	for _, t := range list {
		if len(t) != 40 {
			return nil, &Error{ErrInvalid, "Thumbprint must be exactly 40 characters."}
		}
		if t = strings.ToLower(t); strings.Trim(t, "0123456789abcdef") != "" {
			return nil, &Error{ErrInvalid, "Thumbprint must be hexadecimal."}
		}
		if !slices.Contains(clean, t) {
			clean = append(clean, t)
		}
	}
	return clean, nil
}

// distinct returns a list without what stands twice.
func distinct(list []string) []string {
	var once []string
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

// CreateOIDCProvider makes a provider of p's account, URL (which may have its
// "https://"), client ids, thumbprints and tags. Nobody is asked whether there
// is such an issuer. Errors: ErrExists, ErrInvalid, ErrLimit, ErrNotFound (the
// account).
func (d *Directory) CreateOIDCProvider(ctx context.Context, p OIDCProvider) (OIDCProvider, error) {
	u, err := CheckIssuer("https://" + strings.TrimPrefix(p.URL, "https://"))
	if err != nil {
		return OIDCProvider{}, err
	}
	next := &OIDCProvider{Account: p.Account, URL: u, ARN: OIDCProviderARN(p.Account, u), ClientIDs: distinct(p.ClientIDs), Created: d.stamp()}
	if err := checkClients(next.ClientIDs); err != nil {
		return OIDCProvider{}, err
	}
	if next.Thumbprints, err = cleanThumbprints(p.Thumbprints); err != nil {
		return OIDCProvider{}, err
	}
	if next.Tags, err = addTags(nil, p.Tags); err != nil {
		return OIDCProvider{}, err
	}
	key := oidcKey(next.Account, u)
	err = d.retry(ctx, func() error {
		_, owner, err := d.loadAccount(ctx, next.Account)
		if err != nil {
			return err
		}
		switch _, err := d.rs.Get(ctx, record.KindOIDCProvider, key); {
		case err == nil:
			return &Error{ErrExists, "Provider with url " + next.Issuer() + " already exists."}
		case !errors.Is(err, record.ErrNotFound):
			return fmt.Errorf("making %s: %w", next.ARN, err)
		}
		if err := d.room(ctx, oidcPrefix+next.Account+"/", MaxOIDCProviders, "OpenIdConnectProvidersPerAccount"); err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Check(owner)
		tx.Create(record.KindOIDCProvider, key, next.encode())
		return d.commit(ctx, tx, "making "+next.ARN)
	})
	if err != nil {
		return OIDCProvider{}, err
	}
	return *next, nil
}

// OIDCProvider returns the provider with this very ARN, or ErrNotFound. It is
// read from the store.
func (d *Directory) OIDCProvider(ctx context.Context, text string) (OIDCProvider, error) {
	p, _, err := d.oidcProvider(ctx, text)
	if err != nil {
		return OIDCProvider{}, err
	}
	return *p, nil
}

func (d *Directory) oidcProvider(ctx context.Context, text string) (*OIDCProvider, record.Record, error) {
	account, u, ok := parseOIDCARN(text)
	if !ok {
		return nil, record.Record{}, oidcNotFound(text)
	}
	p, rec, err := read(ctx, d, record.KindOIDCProvider, oidcKey(account, u), text, decodeOIDCProvider)
	if errors.Is(err, ErrNotFound) || err == nil && p.ARN != text {
		return nil, record.Record{}, oidcNotFound(text)
	}
	return p, rec, err
}

// OIDCProviders returns all providers of an account, ordered by host and path.
func (d *Directory) OIDCProviders(ctx context.Context, account string) ([]OIDCProvider, error) {
	var all []OIDCProvider
	marker := ""
	for {
		list, next, err := page(ctx, d, record.KindOIDCProvider, oidcPrefix+account+"/", Page{Marker: marker, Limit: 1000},
			func(rec record.Record) (OIDCProvider, bool, error) {
				p, err := decodeOIDCProvider(rec)
				if err != nil {
					return OIDCProvider{}, false, err
				}
				return *p, true, nil
			})
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if marker = next; marker == "" {
			return all, nil
		}
	}
}

// changeOIDC changes a provider; if f reports that there is nothing to change,
// nothing is.
func (d *Directory) changeOIDC(ctx context.Context, text string, f func(p *OIDCProvider) (changed bool, err error)) error {
	return d.retry(ctx, func() error {
		p, rec, err := d.oidcProvider(ctx, text)
		if err != nil {
			return err
		}
		changed, err := f(p)
		if err != nil || !changed {
			return err
		}
		tx := d.rs.Begin()
		tx.Put(rec, p.encode())
		return d.commit(ctx, tx, "changing "+text)
	})
}

// AddOIDCClient adds a client id to a provider; no error if it has it. Errors:
// ErrNotFound, ErrInvalid, ErrLimit.
func (d *Directory) AddOIDCClient(ctx context.Context, text, clientID string) error {
	return d.changeOIDC(ctx, text, func(p *OIDCProvider) (bool, error) {
		if slices.Contains(p.ClientIDs, clientID) {
			return false, nil
		}
		p.ClientIDs = append(p.ClientIDs, clientID)
		return true, checkClients(p.ClientIDs)
	})
}

// RemoveOIDCClient takes a client id from a provider; no error if it does not
// have it. Errors: ErrNotFound.
func (d *Directory) RemoveOIDCClient(ctx context.Context, text, clientID string) error {
	return d.changeOIDC(ctx, text, func(p *OIDCProvider) (bool, error) {
		before := len(p.ClientIDs)
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == clientID })
		return len(p.ClientIDs) < before, nil
	})
}

// SetOIDCThumbprints gives a provider other thumbprints. Errors: ErrNotFound,
// ErrInvalid.
func (d *Directory) SetOIDCThumbprints(ctx context.Context, text string, thumbprints []string) error {
	clean, err := cleanThumbprints(thumbprints)
	if err != nil {
		return err
	}
	return d.changeOIDC(ctx, text, func(p *OIDCProvider) (bool, error) {
		p.Thumbprints = clean
		return true, nil
	})
}

// TagOIDCProvider gives a provider tags; keys that differ only in case are one.
// Errors: ErrNotFound, ErrInvalid, ErrLimit.
func (d *Directory) TagOIDCProvider(ctx context.Context, text string, tags []Tag) error {
	return d.changeOIDC(ctx, text, func(p *OIDCProvider) (bool, error) {
		next, err := addTags(p.Tags, tags)
		p.Tags = next
		return len(tags) > 0, err
	})
}

// UntagOIDCProvider takes tags from a provider; unknown keys are no error.
func (d *Directory) UntagOIDCProvider(ctx context.Context, text string, keys []string) error {
	return d.changeOIDC(ctx, text, func(p *OIDCProvider) (bool, error) {
		before := len(p.Tags)
		p.Tags = removeTags(p.Tags, keys)
		return len(p.Tags) < before, nil
	})
}

// DeleteOIDCProvider deletes a provider. Role sessions that were made for its
// tokens stay. Errors: ErrNotFound.
func (d *Directory) DeleteOIDCProvider(ctx context.Context, text string) error {
	return d.retry(ctx, func() error {
		_, rec, err := d.oidcProvider(ctx, text)
		if err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Delete(rec)
		return d.commit(ctx, tx, "deleting "+text)
	})
}
