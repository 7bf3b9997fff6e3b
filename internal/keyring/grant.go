package keyring

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// A grant is up to four records, which come and go in one transaction:
//
//	grant      by its id, among those of its key: what is listed, and what a grant token refers to
//	grantee    in a page of its grantee's grants on the key: what decisions read, through a cache
//	           (and whether the grant by its id is there, before it allows something)
//	retiring   under its retiring principal, if it has one
//	grantname  under a hash of its name and parameters, if it has a name
//
// A grantee's first page also says how full the others are. A page has room for
// pageGrants grants, fewer if they are large. So a decision reads what its
// caller has on its key, whatever else there is, and two grants contend only if
// they have key and grantee in common.
//
// The key's record is not changed by its grants, but for the kinds of grantee
// that it has had, which save looking for those that it never had. It is a
// condition of each transaction, so that a permit decided on another policy is
// good for none.

// MaxGrants is the largest number of grants of a key. Source: "Quotas" in the
// AWS KMS Developer Guide.
const MaxGrants = 50_000

const (
	pageGrants = 32       // grants in a page
	pageBytes  = 8 << 10  // bytes in a page that takes another grant
	grantBytes = 32 << 10 // bytes in a grant
	maxPages   = MaxGrants

	pageFull = 0x80 // a page has no room, however few grants it has
)

// grantees is a set of kinds of grantee.
type grantees uint8

const (
	granteeEntity  grantees = 1 << iota // unique id of a user or role
	granteeSession                      // id of a role session, ARN of a federated user
	granteeAccount                      // ARN of an account's root user
	granteeService                      // name of a service
)

func granteeKind(grantee string) grantees {
	switch {
	case arn.Is(grantee) && strings.HasSuffix(grantee, ":root"):
		return granteeAccount
	case arn.Is(grantee), strings.HasPrefix(grantee, "AROA") && strings.Contains(grantee, ":"):
		return granteeSession
	case strings.IndexByte(grantee, '.') >= 0:
		return granteeService
	}
	return granteeEntity
}

// operationNumbers is the operations of grants, by their numbers in records.
var operationNumbers = []string{
	1: "Decrypt", 2: "Encrypt", 3: "GenerateDataKey", 4: "GenerateDataKeyWithoutPlaintext",
	5: "ReEncryptFrom", 6: "ReEncryptTo", 7: "Sign", 8: "Verify", 9: "GetPublicKey", 10: "CreateGrant",
	11: "RetireGrant", 12: "DescribeKey", 13: "GenerateDataKeyPair", 14: "GenerateDataKeyPairWithoutPlaintext",
	15: "GenerateMac", 16: "VerifyMac", 17: "DeriveSharedSecret", 18: "Encapsulate", 19: "Decapsulate",
}

// grantOperations says which operations the grants of keys may have, by the
// keys' usage and family. Source: "Grant operations" in the AWS KMS Developer
// Guide.
func grantOperations(s Spec, u Usage) []string {
	switch {
	case u == SignVerify:
		return []string{"Sign", "Verify", "GetPublicKey"}
	case u == GenerateVerifyMAC:
		return []string{"GenerateMac", "VerifyMac"}
	case u == KeyAgreement:
		return []string{"DeriveSharedSecret", "GetPublicKey"}
	case u == EncapsulateDecapsulate:
		return []string{"Encapsulate", "Decapsulate", "GetPublicKey"}
	case s.asymmetric():
		return []string{"Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GetPublicKey"}
	}
	return []string{
		"Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
		"GenerateDataKeyPairWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo",
	}
}

// GrantOperations returns the operations that a grant on a key of this spec and
// usage may have.
func GrantOperations(s Spec, u Usage) []string {
	return append([]string{"CreateGrant", "RetireGrant", "DescribeKey"}, grantOperations(s, u)...)
}

// GrantOperation reports whether a grant on a key of this spec and usage may
// have an operation.
func GrantOperation(s Spec, u Usage, operation string) bool {
	switch operation {
	case "CreateGrant", "RetireGrant", "DescribeKey":
		return true
	}
	return slices.Contains(grantOperations(s, u), operation)
}

// CreateGrant makes a grant on the key, durably, and returns it with a grant
// token. ID and times of g are not looked at. With a name, and all else the
// same as a grant that is there, it returns that one, with a new token. Action:
// kms:CreateGrant. Errors: ErrLimit, ErrParameter, ErrStale.
func (k Key) CreateGrant(ctx context.Context, g authz.Grant) (*authz.Grant, string, error) {
	if err := k.may(mayCreateGrant); err != nil {
		return nil, "", err
	}
	m := &k.s.m
	g.Operations = sortedSet(g.Operations)
	if !arn.IsAccount(g.Issuer) || g.Grantee == "" || g.GranteeARN == "" || (g.Retiring == "") != (g.RetiringARN == "") || len(g.Operations) == 0 ||
		slices.ContainsFunc(g.Operations, func(o string) bool { return !GrantOperation(m.Spec, m.Usage, o) }) {
		return nil, "", fmt.Errorf("%w: grant", ErrParameter)
	}
	g.Created = k.now()
	g.Effective = g.Created.Add(k.r.delay)
	name := record.Record{Kind: record.KindGrantName, Key: grantNameKey(m, &g)}
	if name.Key != "" {
		there, err := k.grantByName(ctx, &name)
		if err != nil {
			return nil, "", err
		}
		if there != nil {
			token, err := k.r.grantToken(m, there.ID)
			return there, token, err
		}
	}
	var id [32]byte
	_, _ = rand.Read(id[:]) // it does not fail: it ends the program
	g.ID = hex.EncodeToString(id[:])
	prefix := grantKey(m, "")
	if err := k.r.granted.enter(ctx, prefix, g.Created); err != nil {
		return nil, "", err
	}
	err := k.createGrant(ctx, &g, name)
	k.r.granted.made(prefix, err == nil)
	if err != nil {
		return nil, "", err
	}
	token, err := k.r.grantToken(m, g.ID)
	return &g, token, err
}

func (k Key) createGrant(ctx context.Context, g *authz.Grant, name record.Record) error {
	m := &k.s.m
	body, err := appendGrant(nil, g)
	if err != nil {
		return err
	}
	pages := k.r.granteePages(m, g.Grantee)
	page, err := pages.add(ctx, body)
	if err != nil {
		return err
	}
	with := func(tx *record.Tx) {
		tx.Create(record.KindGrant, grantKey(m, g.ID), append(binary.AppendUvarint([]byte{recordVersion}, uint64(page)), body...))
		pages.commit(tx)
		if g.Retiring != "" {
			tx.Create(record.KindRetiring, retiringKey(m, g), []byte{recordVersion})
		}
		switch value := append([]byte{recordVersion}, g.ID...); {
		case name.Key == "":
		case name.Rev == 0:
			tx.Create(name.Kind, name.Key, value)
		default:
			tx.Put(name, value)
		}
	}
	if kind := granteeKind(g.Grantee); m.grantees&kind == 0 {
		changed := *m
		changed.grantees |= kind
		return k.change(ctx, &changed, with)
	}
	return k.commitBeside(ctx, with)
}

// commitBeside commits steps on condition that the key's record has not changed
// since the key was opened.
func (k Key) commitBeside(ctx context.Context, with func(*record.Tx)) error {
	tx := k.r.records.Begin()
	tx.Check(k.s.record())
	with(tx)
	switch _, err := tx.Commit(ctx); {
	case errors.Is(err, record.ErrConflict):
		return ErrStale
	case err != nil:
		return fmt.Errorf("changing the grants of %s: %w", k.s.m.ARN, err)
	}
	return nil
}

// grantByName returns the grant that a name record stands for, nil if there is
// none; a record that is there without its grant is put into name.
func (k Key) grantByName(ctx context.Context, name *record.Record) (*authz.Grant, error) {
	rec, err := k.r.records.Get(ctx, name.Kind, name.Key)
	if errors.Is(err, record.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for a grant by name: %w", err)
	}
	if len(rec.Value) != 1+64 || rec.Value[0] != recordVersion {
		return nil, fmt.Errorf("%w: name of a grant", errRecord)
	}
	_, g, _, err := k.r.readGrant(ctx, &k.s.m, string(rec.Value[1:]))
	if errors.Is(err, ErrNotFound) {
		*name = rec
		return nil, nil
	}
	return g, err
}

// RevokeGrant ends a grant. Action: kms:RevokeGrant. Errors: ErrNotFound,
// ErrStale.
func (k Key) RevokeGrant(ctx context.Context, id string) error {
	if err := k.may(mayRevokeGrant); err != nil {
		return err
	}
	return k.removeGrant(ctx, id)
}

// RetireGrant ends a grant. Action: kms:RetireGrant. Errors: ErrNotFound,
// ErrStale.
func (k Key) RetireGrant(ctx context.Context, id string) error {
	if err := k.may(mayRetireGrant); err != nil {
		return err
	}
	return k.removeGrant(ctx, id)
}

func (k Key) removeGrant(ctx context.Context, id string) error {
	m := &k.s.m
	rec, g, page, err := k.r.readGrant(ctx, m, id)
	if err != nil {
		return err
	}
	pages := k.r.granteePages(m, g.Grantee)
	if err := pages.remove(ctx, page, id); err != nil {
		return err
	}
	finders, err := k.r.grantFinders(ctx, m, g)
	if err != nil {
		return err
	}
	err = k.commitBeside(ctx, func(tx *record.Tx) {
		tx.Delete(rec)
		pages.commit(tx)
		for _, f := range finders {
			tx.Delete(f)
		}
	})
	if err == nil {
		k.r.granted.destroyed(grantKey(m, ""))
	}
	return err
}

// grantFinders returns the records by which a grant is found by retiring
// principal and by name, as far as they are there.
func (r *Ring) grantFinders(ctx context.Context, m *Metadata, g *authz.Grant) ([]record.Record, error) {
	var all []record.Record
	if g.Retiring != "" {
		rec, err := r.records.Get(ctx, record.KindRetiring, retiringKey(m, g))
		if err == nil {
			all = append(all, rec)
		} else if !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrTampered) {
			return nil, err
		}
	}
	if key := grantNameKey(m, g); key != "" {
		rec, err := r.records.Get(ctx, record.KindGrantName, key)
		if err == nil && string(rec.Value[min(1, len(rec.Value)):]) == g.ID {
			all = append(all, rec)
		} else if err != nil && !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrTampered) {
			return nil, err
		}
	}
	return all, nil
}

// readGrant reads a grant of a key, and the page of its grantee in which it
// stands.
func (r *Ring) readGrant(ctx context.Context, m *Metadata, id string) (record.Record, *authz.Grant, int, error) {
	if !IsGrantID(id) {
		return record.Record{}, nil, 0, ErrNotFound
	}
	rec, err := r.records.Get(ctx, record.KindGrant, grantKey(m, id))
	if err != nil {
		return record.Record{}, nil, 0, notFound(err)
	}
	g, page, err := decodeGrantRecord(rec.Value)
	if err == nil && g.ID != id {
		err = fmt.Errorf("%w: grant", errRecord)
	}
	return rec, g, page, err
}

// IsGrantID reports whether s has the form of a grant id: 64 hex digits.
func IsGrantID(s string) bool {
	var raw [32]byte
	return parseLowerHex(raw[:], s)
}

// Grant returns a grant of the key, to decide on: nobody has been allowed to
// see it yet. Error: ErrNotFound.
func (s *Subject) Grant(ctx context.Context, id string) (*authz.Grant, error) {
	_, g, _, err := s.ring.readGrant(ctx, &s.m, id)
	return g, err
}

// Grants returns the grants of the key, to decide by. [Subject.Resource] has
// them too, unless the key never had any as far as this node knows.
func (s *Subject) Grants() authz.Grants { return (*grants)(s) }

// grants is a Subject as the grants on the key.
type grants Subject

// Of implements [authz.Grants]. What is cached is read from no store. The grant
// at which use ends it must be there by itself, too: a page that was put back,
// or from which a grant could not be removed, gives nothing. ErrStale if it is
// not: the page may be a moment behind.
//
// A page of which no grant has the operation is only looked up, in 0.3 µs: with
// the most grants that a key may have, all of one grantee, 0.5 ms. If all have it
// and their constraints do not hold, each is looked at: some ms, which is what a
// signature with RSA_4096 takes. They are 20 MB of memory; where pages have less,
// they are read from the store each time.
func (s *grants) Of(ctx context.Context, grantee, operation string, use func(*authz.Grant) bool) error {
	if s.m.grantees&granteeKind(grantee) == 0 {
		return nil
	}
	wanted := byte(0)
	if operation != "" {
		if wanted = number(operationNumbers, operation); wanted == 0 {
			return nil // what no grant can have
		}
	}
	var buf [256]byte
	prefix := appendGranteeKey(buf[:0], &s.m, grantee)
	first, err := s.ring.pages.Get(ctx, append(prefix, '0'))
	if errors.Is(err, record.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading grants: %w", err)
	}
	g := first.each(grantee, wanted, use)
	for i := 1; i < len(first.fills) && g == nil; i++ {
		if first.fills[i] == 0 {
			continue
		}
		page, err := s.ring.pages.Get(ctx, strconv.AppendInt(prefix, int64(i), 10))
		if errors.Is(err, record.ErrNotFound) {
			continue // emptied meanwhile
		}
		if err != nil {
			return fmt.Errorf("reading grants: %w", err)
		}
		g = page.each(grantee, wanted, use)
	}
	if g == nil {
		return nil
	}
	var name [256]byte
	_, err = s.ring.grants.Get(ctx, appendGrantKey(name[:0], &s.m, g.ID))
	if errors.Is(err, record.ErrNotFound) {
		return ErrStale
	}
	if err != nil {
		return fmt.Errorf("reading a grant: %w", err)
	}
	return nil
}

// ByToken implements [authz.Grants].
func (s *grants) ByToken(ctx context.Context, token string) (*authz.Grant, error) {
	t, err := s.ring.ParseGrantToken(token)
	if err != nil {
		return nil, err
	}
	if t.Account != s.m.Account || t.Region != s.m.Region || t.KeyID != s.m.ID {
		return nil, nil
	}
	_, g, _, err := s.ring.readGrant(ctx, &s.m, t.GrantID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return g, err
}

// GrantToken is what a grant token refers to.
type GrantToken struct{ Account, Region, KeyID, GrantID string }

// tokenAAD is the associated data of grant tokens.
const tokenAAD = "keyreeve grant token v1"

// grantToken makes a grant token: base64 of a sealed reference, which nobody
// else can make and which gives nothing by itself.
//
//	1      version: 0x01
//	text   account, text Region, text key id
//	32     grant id
func (r *Ring) grantToken(m *Metadata, grantID string) (string, error) {
	b := []byte{1}
	for _, s := range []string{m.Account, m.Region, m.ID} {
		b = appendText(b, s)
	}
	b, err := hex.AppendDecode(b, []byte(grantID))
	if err != nil {
		return "", fmt.Errorf("%w: grant id", errRecord)
	}
	sealed, err := r.box.Seal(seal.Tokens, []byte(tokenAAD), b)
	if err != nil {
		return "", fmt.Errorf("making a grant token: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// maxGrantToken is the largest length of a grant token that is looked at.
const maxGrantToken = 1 << 10

// ParseGrantToken returns what a grant token refers to, whether it is there or
// not: authz.ErrGrantToken if it is none of ours.
func (r *Ring) ParseGrantToken(token string) (GrantToken, error) {
	if len(token) > maxGrantToken {
		return GrantToken{}, authz.ErrGrantToken
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil {
		return GrantToken{}, authz.ErrGrantToken
	}
	b, err := r.box.Open(seal.Tokens, []byte(tokenAAD), sealed)
	if errors.Is(err, seal.ErrSealed) {
		return GrantToken{}, err
	}
	if err != nil {
		return GrantToken{}, authz.ErrGrantToken
	}
	d := recordReader{b: b}
	version := d.byte()
	t := GrantToken{Account: d.text(), Region: d.text(), KeyID: d.text()}
	t.GrantID = hex.EncodeToString(d.take(32))
	if version != 1 || d.bad || len(d.b) != 0 || !validName(t.Account, t.Region, t.KeyID) {
		return GrantToken{}, authz.ErrGrantToken
	}
	return t, nil
}

// GrantFilter chooses grants in a list. The zero value chooses all.
type GrantFilter struct {
	ID      string // only the grant with this id
	Grantee string // only grants of this grantee, as in authz.Grant
}

// ListGrants lists the grants of the key by their ids: up to limit (1 to 1000)
// that come after the id after, or from the first if that is empty; more says
// that there are others. Action: kms:ListGrants. What is damaged is left out,
// and logged.
func (k Key) ListGrants(ctx context.Context, f GrantFilter, after string, limit int) (list []*authz.Grant, more bool, err error) {
	if err := k.may(mayListGrants); err != nil {
		return nil, false, err
	}
	if limit < 1 || limit > 1000 || len(after) > maxAfter {
		return nil, false, ErrParameter
	}
	switch {
	case f.ID != "":
		_, g, _, err := k.r.readGrant(ctx, &k.s.m, f.ID)
		if errors.Is(err, ErrNotFound) || err == nil && (f.Grantee != "" && g.Grantee != f.Grantee || g.ID <= after) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		return []*authz.Grant{g}, false, nil
	case f.Grantee != "":
		list, more, err = k.grantsOf(ctx, f.Grantee, after, limit)
	default:
		list = make([]*authz.Grant, 0, min(limit, 100))
		more, err = k.r.page(ctx, record.KindGrant, grantKey(&k.s.m, ""), after, limit, func(rec record.Record) (bool, error) {
			g, _, err := decodeGrantRecord(rec.Value)
			if err != nil {
				return false, err
			}
			list = append(list, g)
			return true, nil
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("listing grants: %w", err)
	}
	return list, more, nil
}

// grantsOf lists the grants of one grantee, of whom decisions have the pages.
func (k Key) grantsOf(ctx context.Context, grantee, after string, limit int) (list []*authz.Grant, more bool, err error) {
	err = k.s.Grants().Of(ctx, grantee, "", func(g *authz.Grant) bool {
		if g.ID > after {
			list = append(list, g)
		}
		return true
	})
	slices.SortFunc(list, func(a, b *authz.Grant) int { return strings.Compare(a.ID, b.ID) })
	if len(list) > limit {
		return list[:limit:limit], true, err
	}
	return list, false, err
}

// RetirableGrant is a grant and the key that it is on.
type RetirableGrant struct {
	KeyARN string
	Grant  *authz.Grant
	After  string // what a list goes on after
}

// RetirableGrants lists the grants on keys of a Region, of all accounts, whose
// retiring principal is retiring (as in authz.Grant): up to limit (1 to 1000)
// that come after the one with that After, or from the first if it is empty.
// The permit is for kms:ListRetirableGrants on "*" of the caller's account,
// which retiring must be of: that is for the caller to see to.
func (r *Ring) RetirableGrants(ctx context.Context, c *call.Call, p authz.Permit, region, retiring, after string, limit int) (list []RetirableGrant, more bool, err error) {
	if p.Action() != "kms:ListRetirableGrants" || p.CheckAll(c, p.Account()) != nil {
		return nil, false, authz.ErrNoPermit
	}
	if !validScope(p.Account(), region) || retiring == "" || limit < 1 || limit > 1000 || len(after) > maxAfter {
		return nil, false, ErrParameter
	}
	prefix := retiringOf(region, retiring)
	list = make([]RetirableGrant, 0, min(limit, 100))
	more, err = r.page(ctx, record.KindRetiring, prefix, after, limit, func(rec record.Record) (bool, error) {
		name := rec.Key[len(prefix):]
		account, rest, _ := strings.Cut(name, "/")
		keyID, id, _ := strings.Cut(rest, "/")
		if !validName(account, region, keyID) {
			return false, errRecord
		}
		m := Metadata{Account: account, Region: region, ID: keyID}
		_, g, _, err := r.readGrant(ctx, &m, id)
		if errors.Is(err, ErrNotFound) {
			return false, nil // gone meanwhile
		}
		if err != nil {
			return false, err
		}
		if g.Retiring != retiring {
			return false, errRecord
		}
		list = append(list, RetirableGrant{KeyARN: arn.Key(region, account, keyID), Grant: g, After: name})
		return true, nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("listing retirable grants: %w", err)
	}
	return list, more, nil
}

// destroyGrants removes all grants of a key that is being destroyed, also what
// is damaged: first what decisions read, then the grants and what finds them.
func (r *Ring) destroyGrants(ctx context.Context, s *Subject) error {
	m := &s.m
	scope := m.Account + "/" + m.Region + "/" + m.ID + "/"
	if err := r.destroyAll(ctx, s, record.KindGrantee, granteePrefix+scope, nil); err != nil {
		return err
	}
	err := r.destroyAll(ctx, s, record.KindGrant, grantPrefix+scope, func(rec record.Record) ([]record.Record, error) {
		g, _, err := decodeGrantRecord(rec.Value)
		if err != nil {
			r.damaged(rec.Key, err)
			return nil, nil
		}
		return r.grantFinders(ctx, m, g)
	})
	if err != nil {
		return err
	}
	return r.destroyAll(ctx, s, record.KindGrantName, grantNamePrefix+scope, nil)
}

// destroyAll removes all records below a prefix, and those that go with each,
// two at most.
func (r *Ring) destroyAll(ctx context.Context, s *Subject, kind record.Kind, prefix string, with func(record.Record) ([]record.Record, error)) error {
	for {
		found, err := r.records.List(ctx, kind, prefix, "", batch/2)
		if err != nil || len(found) == 0 {
			return err
		}
		tx := r.records.Begin()
		tx.Check(s.record())
		for _, f := range found {
			tx.Delete(f.Record)
			if with == nil || f.Err != nil {
				continue
			}
			more, err := with(f.Record)
			if err != nil {
				return err
			}
			for _, rec := range more {
				tx.Delete(rec)
			}
		}
		if _, err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("removing grants: %w", err)
		}
	}
}
