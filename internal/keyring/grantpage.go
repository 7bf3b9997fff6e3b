package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// This file is what grants are at rest: storage keys, records, and the pages of
// a grantee's grants.

// sortedSet returns the strings sorted, each once.
func sortedSet(list []string) []string {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// hashed returns a principal in the form in which it stands in a storage key.
func hashed(principal string) string {
	sum := sha256.Sum256([]byte(principal))
	return hex.EncodeToString(sum[:16])
}

func grantKey(m *Metadata, id string) string { return string(appendGrantKey(nil, m, id)) }

func appendGrantKey(b []byte, m *Metadata, id string) []byte {
	b = append(b, grantPrefix...)
	for _, s := range [...]string{m.Account, m.Region, m.ID} {
		b = append(append(b, s...), '/')
	}
	return append(b, id...)
}

// appendGranteeKey appends the storage key of a grantee's pages, but for their
// number.
func appendGranteeKey(b []byte, m *Metadata, grantee string) []byte {
	b = append(b, granteePrefix...)
	for _, s := range [...]string{m.Account, m.Region, m.ID} {
		b = append(append(b, s...), '/')
	}
	// Without a copy of the name on the heap.
	var name [256]byte
	sum := sha256.Sum256(append(name[:0], grantee...))
	return append(hex.AppendEncode(b, sum[:16]), '/')
}

func retiringOf(region, retiring string) string {
	return retiringPrefix + region + "/" + hashed(retiring) + "/"
}

func retiringKey(m *Metadata, g *authz.Grant) string {
	return retiringOf(m.Region, g.Retiring) + m.Account + "/" + m.ID + "/" + g.ID
}

// grantNameKey returns the storage key under which a grant is found by its name
// and parameters; empty for one without a name.
func grantNameKey(m *Metadata, g *authz.Grant) string {
	if g.Name == "" {
		return ""
	}
	same := *g
	same.ID, same.Created, same.Effective = zeroGrantID, m.Created, m.Created
	b, err := appendGrant(nil, &same)
	if err != nil {
		return "" // which CreateGrant tells
	}
	sum := sha256.Sum256(b)
	return grantNamePrefix + m.Account + "/" + m.Region + "/" + m.ID + "/" + hex.EncodeToString(sum[:])
}

var zeroGrantID = strings.Repeat("0", 64)

// A grant in a record, after what is the record's own:
//
//	32      id
//	text    name, grantee, its ARN, retiring principal, its ARN, issuing account
//	uvarint number of operations, and a byte for each: its number in operationNumbers
//	time    created
//	time    effective
//	uvarint number of pairs of EncryptionContextEquals; of each: text name, text value
//	uvarint the same of EncryptionContextSubset
//	text    SourceArn
//
// Records:
//
//	grant, version 1:    0x01, uvarint number of its grantee's page, the grant
//	grantee, version 1:  0x01, uvarint number of pages (0 except in page 0) and of each
//	                     a byte: its grants, 0x80 more if it has no room; uvarint number
//	                     of grants; of each: bytes
//	retiring, version 1: 0x01
//	grantname, version 1: 0x01, grant id in hex
func appendGrant(b []byte, g *authz.Grant) ([]byte, error) {
	start := len(b)
	b, err := hex.AppendDecode(b, []byte(g.ID))
	if err != nil || len(b)-start != 32 {
		return nil, fmt.Errorf("%w: grant id", ErrParameter)
	}
	for _, s := range []string{g.Name, g.Grantee, g.GranteeARN, g.Retiring, g.RetiringARN, g.Issuer} {
		b = appendText(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(g.Operations)))
	for _, o := range g.Operations {
		n := number(operationNumbers, o)
		if n == 0 {
			return nil, fmt.Errorf("%w: operation %q of a grant", ErrParameter, o)
		}
		b = append(b, n)
	}
	b = appendTime(appendTime(b, g.Created), g.Effective)
	for _, m := range []wire.StringMap{g.Equals, g.Subset} {
		b = binary.AppendUvarint(b, uint64(len(m)))
		for _, p := range m {
			b = appendText(appendText(b, p.Name), p.Value)
		}
	}
	b = appendText(b, g.SourceARN)
	if len(b)-start > grantBytes {
		return nil, fmt.Errorf("%w: a grant of %d bytes", ErrParameter, len(b)-start)
	}
	return b, nil
}

func (r *recordReader) grant() *authz.Grant {
	g := &authz.Grant{ID: hex.EncodeToString(r.take(32))}
	for _, s := range []*string{&g.Name, &g.Grantee, &g.GranteeARN, &g.Retiring, &g.RetiringARN, &g.Issuer} {
		*s = r.text()
	}
	if g.GranteeARN == g.Grantee {
		g.GranteeARN = g.Grantee // one copy
	}
	n := r.count(len(operationNumbers))
	g.Operations = make([]string, 0, n)
	for range n {
		g.Operations = append(g.Operations, entry(r, operationNumbers))
	}
	g.Created, g.Effective = r.time(), r.time()
	for _, m := range []*wire.StringMap{&g.Equals, &g.Subset} {
		for range r.count(maxStoredTags) {
			if r.bad {
				break
			}
			p := wire.Pair{Name: r.text(), Value: r.text()}
			r.bad = r.bad || len(*m) > 0 && (*m)[len(*m)-1].Name >= p.Name
			*m = append(*m, p)
		}
	}
	g.SourceARN = r.text()
	if !arn.IsAccount(g.Issuer) || g.Grantee == "" || len(g.Operations) == 0 {
		r.bad = true
	}
	return g
}

func decodeGrantRecord(b []byte) (*authz.Grant, int, error) {
	r := recordReader{b: b}
	version := r.byte()
	page := r.count(maxPages)
	g := r.grant()
	if version != recordVersion || r.bad || len(r.b) != 0 {
		return nil, 0, fmt.Errorf("%w: grant", errRecord)
	}
	return g, page, nil
}

// grantPage is a page of a grantee's grants on a key.
type grantPage struct {
	fills  []byte // of all pages; only in the first
	bodies [][]byte
	grants []*authz.Grant // of bodies; only in a page that decisions read
	has    uint32         // operations that some of grants have, as bits by their numbers
}

// each calls use with the page's grants to the grantee until it returns false,
// and returns the one at which it did. If none of them has the operation, it
// does not go over them.
func (p *grantPage) each(grantee string, operation byte, use func(*authz.Grant) bool) *authz.Grant {
	if operation != 0 && p.has>>operation&1 == 0 {
		return nil
	}
	for _, g := range p.grants {
		if g.Grantee == grantee && !use(g) {
			return g
		}
	}
	return nil
}

// newGrantRecord decodes a grant of which nothing is wanted but that it is there.
func newGrantRecord(rec record.Record) (struct{}, error) {
	_, _, err := decodeGrantRecord(rec.Value)
	return struct{}{}, err
}

// newGrantPage decodes a page for decisions.
func newGrantPage(rec record.Record) (*grantPage, error) {
	p, err := decodeGrantPage(rec.Value)
	if err != nil {
		return nil, err
	}
	for _, body := range p.bodies {
		r := recordReader{b: body}
		g := r.grant()
		if r.bad || len(r.b) != 0 {
			return nil, fmt.Errorf("%w: grant in a page", errRecord)
		}
		for _, o := range g.Operations {
			p.has |= 1 << number(operationNumbers, o)
		}
		if n := len(p.grants); n > 0 {
			shareTexts(g, p.grants[n-1])
		}
		p.grants = append(p.grants, g)
	}
	p.grants = slices.Clip(p.grants)
	p.bodies = nil
	return p, nil
}

// shareTexts has a grant use the texts of another where they are equal. Those of
// a grantee often differ in little.
func shareTexts(g, of *authz.Grant) {
	for _, s := range [...]struct {
		to   *string
		from string
	}{
		{&g.Name, of.Name},
		{&g.Grantee, of.Grantee},
		{&g.GranteeARN, of.GranteeARN},
		{&g.Retiring, of.Retiring},
		{&g.RetiringARN, of.RetiringARN},
		{&g.Issuer, of.Issuer},
		{&g.SourceARN, of.SourceARN},
	} {
		if *s.to == s.from {
			*s.to = s.from
		}
	}
	if slices.Equal(g.Operations, of.Operations) {
		g.Operations = of.Operations
	}
}

// cost is how many bytes the page takes in memory, at most. What grants share
// counts once.
func (p *grantPage) cost() int {
	n := 144 + len(p.fills)
	var of *authz.Grant
	for _, g := range p.grants {
		n += 16 + 256 + 64
		text := func(s, shared string) {
			if s != "" && s != shared {
				n += 8 + len(s)
			}
		}
		if of == nil {
			of = new(authz.Grant)
		}
		text(g.Name, of.Name)
		text(g.Grantee, of.Grantee)
		text(g.GranteeARN, of.GranteeARN)
		text(g.Retiring, of.Retiring)
		text(g.RetiringARN, of.RetiringARN)
		text(g.Issuer, of.Issuer)
		text(g.SourceARN, of.SourceARN)
		if !slices.Equal(g.Operations, of.Operations) {
			n += 16 * len(g.Operations)
		}
		for _, m := range [...]wire.StringMap{g.Equals, g.Subset} {
			for _, pair := range m {
				n += 2*32 + 2*8 + len(pair.Name) + len(pair.Value)
			}
		}
		of = g
	}
	return n
}

func decodeGrantPage(b []byte) (*grantPage, error) {
	r := recordReader{b: b}
	version := r.byte()
	p := &grantPage{fills: slices.Clone(r.take(r.count(maxPages)))}
	for range r.count(pageGrants) {
		p.bodies = append(p.bodies, r.take(r.count(len(r.b))))
	}
	if version != recordVersion || r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: page of grants", errRecord)
	}
	return p, nil
}

// size is how many bytes the page takes.
func (p *grantPage) size() int {
	n := 8 + len(p.fills)
	for _, body := range p.bodies {
		n += len(body) + binary.MaxVarintLen32
	}
	return n
}

func (p *grantPage) append(b []byte) []byte {
	b = append(b, recordVersion)
	b = append(binary.AppendUvarint(b, uint64(len(p.fills))), p.fills...)
	b = binary.AppendUvarint(b, uint64(len(p.bodies)))
	for _, body := range p.bodies {
		b = append(binary.AppendUvarint(b, uint64(len(body))), body...)
	}
	return b
}

// granteePages is a change of a grantee's pages.
type granteePages struct {
	r      *Ring
	prefix string
	first  storedPage
	other  storedPage // the page that changes, if it is not the first
}

// storedPage is a page and its record, which has no revision if it is new.
type storedPage struct {
	rec  record.Record
	page *grantPage // nil if it is not there, and not to be
}

// granteePages prepares a change of a grantee's pages.
func (r *Ring) granteePages(m *Metadata, grantee string) *granteePages {
	return &granteePages{r: r, prefix: string(appendGranteeKey(nil, m, grantee))}
}

func (g *granteePages) read(ctx context.Context, i int) (storedPage, error) {
	key := g.prefix + strconv.Itoa(i)
	rec, err := g.r.records.Get(ctx, record.KindGrantee, key)
	if errors.Is(err, record.ErrNotFound) {
		return storedPage{rec: record.Record{Kind: record.KindGrantee, Key: key}}, nil
	}
	if err != nil {
		return storedPage{}, fmt.Errorf("reading grants: %w", err)
	}
	page, err := decodeGrantPage(rec.Value)
	if err == nil && (len(page.fills) == 0) != (i != 0) {
		err = fmt.Errorf("%w: page of grants", errRecord)
	}
	return storedPage{rec: rec, page: page}, err
}

// readAnyway is read, and finds a page that is damaged, too, for it to be
// deleted: what was damaged could be put back.
func (g *granteePages) readAnyway(ctx context.Context, i int) (storedPage, error) {
	at, err := g.read(ctx, i)
	if !errors.Is(err, record.ErrTampered) {
		return at, err
	}
	key := g.prefix + strconv.Itoa(i)
	g.r.damaged(key, err)
	found, err := g.r.records.List(ctx, record.KindGrantee, key, "", 1)
	if err != nil {
		return storedPage{}, fmt.Errorf("reading grants: %w", err)
	}
	if len(found) == 0 || found[0].Key != key {
		return storedPage{rec: record.Record{Kind: record.KindGrantee, Key: key}}, nil
	}
	return storedPage{rec: found[0].Record}, nil
}

// add puts a grant into the first page that has room, and returns its number.
func (g *granteePages) add(ctx context.Context, body []byte) (i int, err error) {
	if g.first, err = g.read(ctx, 0); err != nil {
		return 0, err
	}
	if g.first.page == nil {
		g.first.page = &grantPage{fills: []byte{1}, bodies: [][]byte{body}}
		return 0, nil
	}
	fills := g.first.page.fills
	for i = 0; i <= len(fills) && i < maxPages; i++ {
		if i == len(fills) {
			fills = append(fills, 0)
		}
		if fills[i] >= pageGrants {
			continue
		}
		at := &g.first
		if i > 0 {
			if g.other, err = g.read(ctx, i); err != nil {
				return 0, err
			}
			at = &g.other
			if at.page == nil || fills[i] == 0 {
				// What stands where there should be nothing has lost its first
				// page, and what was in it, its effect.
				at.page = new(grantPage)
			}
		}
		if len(at.page.bodies) > 0 && at.page.size()+len(body) > pageBytes {
			fills[i] |= pageFull
			continue
		}
		at.page.bodies = append(at.page.bodies, body)
		fills[i] = byte(len(at.page.bodies))
		g.first.page.fills = fills
		return i, nil
	}
	return 0, ErrLimit
}

// remove takes a grant out of its page. That it is not there is no error: it
// gives nothing then. Pages that are damaged go as a whole.
func (g *granteePages) remove(ctx context.Context, i int, id string) (err error) {
	raw, err := hex.DecodeString(id)
	if err != nil {
		return fmt.Errorf("%w: grant id", errRecord)
	}
	if g.first, err = g.readAnyway(ctx, 0); err != nil {
		return err
	}
	at := &g.first
	if i > 0 {
		if g.other, err = g.readAnyway(ctx, i); err != nil {
			return err
		}
		at = &g.other
	}
	left := 0
	if at.page != nil {
		at.page.bodies = slices.DeleteFunc(at.page.bodies, func(body []byte) bool { return len(body) >= 32 && string(body[:32]) == string(raw) })
		left = len(at.page.bodies)
	}
	if i > 0 && left == 0 {
		at.page = nil
	}
	first := g.first.page
	if first == nil {
		return nil
	}
	if i < len(first.fills) {
		first.fills[i] = byte(left)
	}
	for len(first.fills) > 1 && first.fills[len(first.fills)-1] == 0 {
		first.fills = first.fills[:len(first.fills)-1]
	}
	if len(first.fills) == 1 && first.fills[0] == 0 {
		g.first.page = nil
	}
	return nil
}

// commit adds the change to a transaction.
func (g *granteePages) commit(tx *record.Tx) {
	for _, at := range []*storedPage{&g.first, &g.other} {
		switch there := at.rec.Rev != 0; {
		case at.page == nil && there:
			tx.Delete(at.rec)
		case at.page == nil:
		case there:
			tx.Put(at.rec, at.page.append(nil))
		default:
			tx.Create(at.rec.Kind, at.rec.Key, at.page.append(nil))
		}
	}
}
