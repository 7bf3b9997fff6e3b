package identity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// managed is the record of a customer managed policy, or one of AWS's. One that
// was read is shared and not changed.
type managed struct {
	account     string // empty for one of AWS's
	name        string
	path        string
	id          string
	description string
	created     time.Time
	updated     time.Time
	tags        []Tag
	versions    []version // ordered by number
	current     int       // number of the default version
	last        int       // the highest number that was ever given
	attachments int
	boundaries  int
}

type version struct {
	number   int
	created  time.Time
	document string
}

func (p *managed) arn() string {
	account := p.account
	if account == "" {
		account = "aws"
	}
	return "arn:" + partition + ":iam::" + account + ":policy" + p.path + p.name
}

func (p *managed) key() string { return named(policyPrefix, p.account, p.name) }

// document returns the text of the default version.
func (p *managed) document() string {
	for i := range p.versions {
		if p.versions[i].number == p.current {
			return p.versions[i].document
		}
	}
	return ""
}

func (p *managed) clone() *managed {
	c := *p
	c.tags = slices.Clone(p.tags)
	c.versions = slices.Clone(p.versions)
	return &c
}

func (p *managed) view() ManagedPolicy {
	return ManagedPolicy{
		Account: p.account, Name: p.name, Path: p.path, ID: p.id, ARN: p.arn(), Description: p.description,
		Created: p.created, Updated: p.updated, Tags: p.tags, Default: versionID(p.current),
		Attachments: p.attachments, Boundaries: p.boundaries,
	}
}

func (v *version) view(current int) PolicyVersion {
	return PolicyVersion{ID: versionID(v.number), Document: v.document, Default: v.number == current, Created: v.created}
}

func versionID(n int) string { return "v" + strconv.Itoa(n) }

// encode returns the record's value: name, path, unique id, description,
// created, updated, tags (pairs), number of the default version, highest number
// given, attachments, boundaries; then the number of versions, and of each its
// number, when it was made, and its text.
func (p *managed) encode() []byte {
	b := []byte{1}
	b = appendString(b, p.name)
	b = appendString(b, p.path)
	b = appendString(b, p.id)
	b = appendString(b, p.description)
	b = appendTime(b, p.created)
	b = appendTime(b, p.updated)
	b = appendPairs(b, p.tags)
	for _, n := range []int{p.current, p.last, p.attachments, p.boundaries, len(p.versions)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for i := range p.versions {
		v := &p.versions[i]
		b = binary.AppendUvarint(b, uint64(v.number))
		b = appendTime(b, v.created)
		b = appendString(b, v.document)
	}
	return b
}

func decodeManaged(rec record.Record) (*managed, error) {
	r := newReader(rec.Value, 1)
	p := new(managed)
	p.account, _, _ = strings.Cut(strings.TrimPrefix(rec.Key, policyPrefix), "/")
	p.name = r.string()
	p.path = r.string()
	p.id = r.string()
	p.description = r.string()
	p.created = r.time()
	p.updated = r.time()
	p.tags = r.pairs()
	p.current = r.number()
	p.last = r.number()
	p.attachments = r.number()
	p.boundaries = r.number()
	n := r.number()
	if n > MaxVersions {
		r.fail()
		n = 0
	}
	for range n {
		p.versions = append(p.versions, version{number: r.number(), created: r.time(), document: r.string()})
	}
	return p, r.end()
}

// parsePolicyARN takes the ARN of a managed policy apart. The account is empty
// for one of AWS's.
func parsePolicyARN(text string) (account, path, name string, err error) {
	bad := &Error{ErrInvalid, "ARN " + text + " is not valid."}
	if len(text) > arn.MaxLen || !utf8.ValidString(text) {
		return "", "", "", &Error{ErrInvalid, "Invalid ARN:  Could not be parsed!"}
	}
	rest, ok := strings.CutPrefix(text, "arn:"+partition+":iam::")
	if !ok {
		return "", "", "", bad
	}
	account, rest, ok = strings.Cut(rest, ":policy/")
	if account == "aws" {
		account = ""
	} else if !arn.IsAccount(account) {
		return "", "", "", bad
	}
	at := strings.LastIndexByte(rest, '/')
	path, name = "/"+rest[:at+1], rest[at+1:]
	if !ok || !isName(name, 128) || checkPath(path) != nil {
		return "", "", "", bad
	}
	return account, path, name, nil
}

func policyNotFound(arn string) error {
	return &Error{ErrNotFound, "Policy " + arn + " was not found."}
}

func policyNotAttachable(arn string) error {
	return &Error{ErrNotFound, "Policy " + arn + " does not exist or is not attachable."}
}

// managedPolicy reads a managed policy that an account may use: its own and
// AWS's. One of AWS's has no record.
func (d *Directory) managedPolicy(ctx context.Context, account, text string) (*managed, record.Record, error) {
	owner, _, name, err := parsePolicyARN(text)
	if err != nil {
		return nil, record.Record{}, err
	}
	if owner == "" {
		if p := awsManaged[text]; p != nil {
			return p, record.Record{}, nil
		}
		return nil, record.Record{}, policyNotFound(text)
	}
	if owner != account {
		return nil, record.Record{}, policyNotFound(text)
	}
	p, rec, err := read(ctx, d, record.KindPolicy, named(policyPrefix, account, name), "policy "+text, decodeManaged)
	if errors.Is(err, ErrNotFound) || err == nil && p.arn() != text {
		return nil, record.Record{}, policyNotFound(text)
	}
	return p, rec, err
}

// changePolicy changes a customer managed policy, as change does an entity.
func (d *Directory) changePolicy(ctx context.Context, account, arn string, f func(p *managed) (bool, error)) error {
	return d.retry(ctx, func() error {
		p, rec, err := d.managedPolicy(ctx, account, arn)
		if err != nil {
			return err
		}
		if p.account == "" {
			return unmodifiable(arn)
		}
		next := p.clone()
		changed, err := f(next)
		if err != nil || !changed {
			return err
		}
		tx := d.rs.Begin()
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "changing policy "+arn)
	})
}

func unmodifiable(arn string) error {
	return &Error{ErrUnmodifiable, "Policy " + arn + " is an AWS managed policy and cannot be changed."}
}

// references changes what entities refer to, and the counts in the policies that
// they refer to, in one transaction.
type references struct {
	d        *Directory
	tx       *record.Tx
	policies map[string]*counted // by ARN
}

type counted struct {
	*managed
	rec record.Record
}

func (d *Directory) references(tx *record.Tx) *references {
	return &references{d: d, tx: tx, policies: make(map[string]*counted)}
}

// policy returns the policy with an ARN, whose counts may be changed.
func (r *references) policy(ctx context.Context, account, arn string) (*counted, error) {
	if p := r.policies[arn]; p != nil {
		return p, nil
	}
	p, rec, err := r.d.managedPolicy(ctx, account, arn)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			err = policyNotAttachable(arn)
		}
		return nil, err
	}
	c := &counted{p, rec}
	if p.account != "" {
		c.managed = p.clone()
	}
	r.policies[arn] = c
	return c, nil
}

// attach attaches a policy to e, if it is not yet.
func (r *references) attach(ctx context.Context, e *entity, arn string) error {
	if slices.ContainsFunc(e.attached, func(a reference) bool { return a.Name == arn }) {
		return nil
	}
	p, err := r.policy(ctx, e.account, arn)
	if err != nil {
		return err
	}
	if len(e.attached) >= MaxAttached {
		return overQuota(kinds[e.kind].policies, MaxAttached)
	}
	e.attached = append(e.attached, reference{Name: arn, Value: p.id})
	p.count(&p.attachments, +1)
	return nil
}

// detach is the reverse of attach. A policy that is not there any more, or is
// another by now, is detached all the same.
func (r *references) detach(ctx context.Context, e *entity, arn string) error {
	at := slices.IndexFunc(e.attached, func(a reference) bool { return a.Name == arn })
	if at < 0 {
		if _, _, _, err := parsePolicyARN(arn); err != nil {
			return err
		}
		return policyNotFound(arn)
	}
	p, err := r.policy(ctx, e.account, arn)
	switch {
	case err == nil && p.id == e.attached[at].Value:
		p.count(&p.attachments, -1)
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, record.ErrTampered):
	default:
		return err
	}
	e.attached = slices.Delete(e.attached, at, at+1)
	return nil
}

// bound makes a policy the boundary of e, which has none.
func (r *references) bound(ctx context.Context, e *entity, arn string) error {
	p, err := r.policy(ctx, e.account, arn)
	if err != nil {
		return err
	}
	e.boundary = reference{Name: arn, Value: p.id}
	p.count(&p.boundaries, +1)
	return nil
}

// unbound takes the boundary of e away, if it has one.
func (r *references) unbound(ctx context.Context, e *entity) error {
	if e.boundary.Name == "" {
		return nil
	}
	p, err := r.policy(ctx, e.account, e.boundary.Name)
	switch {
	case err == nil && p.id == e.boundary.Value:
		p.count(&p.boundaries, -1)
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, record.ErrTampered):
	default:
		return err
	}
	e.boundary = reference{}
	return nil
}

// count changes a count, which AWS's policies do not have.
func (c *counted) count(n *int, by int) {
	if c.account != "" {
		*n = max(0, *n+by)
	}
}

// done puts what was changed into the transaction. A policy whose counts came
// out the same is put all the same: it must still be there.
func (r *references) done() {
	for _, p := range r.policies {
		if p.account != "" {
			r.tx.Put(p.rec, p.encode())
		}
	}
}

// CreatePolicy makes a customer managed policy with its version v1. Of p it
// takes account, name, path, description and tags. Errors: ErrExists,
// ErrInvalid, ErrMalformed, ErrLimit, ErrNotFound (the account).
func (d *Directory) CreatePolicy(ctx context.Context, p ManagedPolicy, document string) (ManagedPolicy, error) {
	if p.Path == "" {
		p.Path = "/"
	}
	if err := errors.Join(checkName("policy", p.Account, p.Name, 128), checkPath(p.Path), checkDescription(p.Description)); err != nil {
		return ManagedPolicy{}, err
	}
	tags, err := addTags(nil, p.Tags)
	if err != nil {
		return ManagedPolicy{}, err
	}
	if err := d.checkManaged(document); err != nil {
		return ManagedPolicy{}, err
	}
	now := d.stamp()
	made := &managed{
		account: p.Account, name: p.Name, path: p.Path, id: newUniqueID("ANPA"), description: p.Description,
		created: now, updated: now, tags: tags, versions: []version{{1, now, document}}, current: 1, last: 1,
	}
	err = d.retry(ctx, func() error {
		_, owner, err := d.loadAccount(ctx, p.Account)
		if err != nil {
			return err
		}
		if _, err := d.rs.Get(ctx, record.KindPolicy, made.key()); err == nil {
			return &Error{ErrExists, "A policy called " + p.Name + " already exists. Duplicate names are not allowed."}
		} else if !errors.Is(err, record.ErrNotFound) {
			return err
		}
		if err := d.room(ctx, policyPrefix+p.Account+"/", MaxPolicies, "PoliciesPerAccount"); err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Check(owner)
		tx.Create(record.KindPolicy, made.key(), made.encode())
		return d.commit(ctx, tx, "making policy "+made.arn())
	})
	if err != nil {
		return ManagedPolicy{}, err
	}
	return made.view(), nil
}

func checkDescription(text string) error {
	if utf8.RuneCountInString(text) > 1000 {
		return fmt.Errorf("%w: a description has up to 1,000 characters", ErrInvalid)
	}
	return nil
}

// checkManaged returns what is wrong with the text of a managed policy.
func (d *Directory) checkManaged(document string) error {
	if _, err := d.parse(document, policy.Identity); err != nil {
		return err
	}
	if policy.Size(document) > MaxManagedSize {
		return overQuota("PolicySize", MaxManagedSize)
	}
	return nil
}

// Policy returns a managed policy, of the account or of AWS, as the account
// sees it: attachments are its own. Errors: ErrNotFound, ErrInvalid (no ARN).
func (d *Directory) Policy(ctx context.Context, account, arn string) (ManagedPolicy, error) {
	p, _, err := d.managedPolicy(ctx, account, arn)
	if err != nil {
		return ManagedPolicy{}, err
	}
	v := p.view()
	if p.account == "" {
		use, err := d.awsUse(ctx, account)
		if err != nil {
			return ManagedPolicy{}, err
		}
		v.Attachments, v.Boundaries = use[arn].attached, use[arn].boundaries
	}
	return v, nil
}

type usage struct{ attached, boundaries int }

// awsUse counts how an account uses AWS's managed policies. Nobody else keeps
// count: they are attached by many at a time, and never deleted.
func (d *Directory) awsUse(ctx context.Context, account string) (map[string]usage, error) {
	use := make(map[string]usage)
	err := d.all(ctx, account, func(e *entity) {
		for _, a := range e.attached {
			u := use[a.Name]
			u.attached++
			use[a.Name] = u
		}
		u := use[e.boundary.Name]
		u.boundaries++
		use[e.boundary.Name] = u
	})
	return use, err
}

// PolicyScope is which managed policies are wanted.
type PolicyScope struct {
	AWS, Local   bool // of AWS, of the account
	OnlyAttached bool
}

// ManagedPolicies returns a page of the managed policies that an account can
// attach, AWS's first, and the next marker.
func (d *Directory) ManagedPolicies(ctx context.Context, account string, s PolicyScope, p Page) ([]ManagedPolicy, string, error) {
	if p.Limit <= 0 {
		p.Limit = 100
	}
	keep := func(v *ManagedPolicy) bool {
		return strings.HasPrefix(v.Path, p.PathPrefix) && (!s.OnlyAttached || v.Attachments > 0)
	}
	// Markers: aws/name while AWS's are listed, own/ and the storage key's end after.
	var list []ManagedPolicy
	last, ownAfter, own := "", "", strings.HasPrefix(p.Marker, "own/")
	switch {
	case own:
		ownAfter = p.Marker[len("own/"):]
	case p.Marker != "" && !strings.HasPrefix(p.Marker, "aws/"):
		return nil, "", &Error{ErrInvalid, "Invalid Marker."}
	}
	if s.AWS && !own {
		use, err := d.awsUse(ctx, account)
		if err != nil {
			return nil, "", err
		}
		for _, arn := range awsManagedARNs {
			v := awsManaged[arn].view()
			v.Attachments, v.Boundaries = use[arn].attached, use[arn].boundaries
			if "aws/"+v.Name <= p.Marker || !keep(&v) {
				continue
			}
			if len(list) == p.Limit {
				return list, last, nil
			}
			list, last = append(list, v), "aws/"+v.Name
		}
	}
	if !s.Local {
		return list, "", nil
	}
	if len(list) == p.Limit {
		// Whether there is more is seen then.
		return list, "own/", nil
	}
	found, next, err := page(ctx, d, record.KindPolicy, policyPrefix+account+"/", Page{Marker: ownAfter, Limit: p.Limit - len(list)},
		func(rec record.Record) (ManagedPolicy, bool, error) {
			m, err := decodeManaged(rec)
			if err != nil {
				return ManagedPolicy{}, false, err
			}
			v := m.view()
			return v, keep(&v), nil
		})
	if err != nil {
		return nil, "", err
	}
	if next != "" {
		next = "own/" + next
	}
	return append(list, found...), next, nil
}

func (d *Directory) customerPolicies(ctx context.Context, account string, p Page) ([]*managed, string, error) {
	return page(ctx, d, record.KindPolicy, policyPrefix+account+"/", p, func(rec record.Record) (*managed, bool, error) {
		m, err := decodeManaged(rec)
		return m, err == nil, err
	})
}

// DeletePolicy deletes a managed policy that is not attached, is nobody's
// boundary, and has no other version than the default one. Errors: ErrNotFound,
// ErrConflict, ErrUnmodifiable.
func (d *Directory) DeletePolicy(ctx context.Context, account, arn string) error {
	return d.retry(ctx, func() error {
		p, rec, err := d.managedPolicy(ctx, account, arn)
		if err != nil {
			return err
		}
		if p.account == "" {
			return unmodifiable(arn)
		}
		if len(p.versions) > 1 {
			return &Error{ErrConflict, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."}
		}
		if p.attachments+p.boundaries > 0 {
			// Where records were deleted underneath, the counts are too high. Whoever
			// attaches it meanwhile changes its record, and this begins anew.
			in, err := d.entitiesOf(ctx, account, arn, p.id)
			if err != nil {
				return err
			}
			if len(in.Attached)+len(in.Boundaries) > 0 {
				return &Error{ErrConflict, "Cannot delete a policy attached to entities."}
			}
		}
		tx := d.rs.Begin()
		tx.Delete(rec)
		return d.commit(ctx, tx, "deleting policy "+arn)
	})
}

// CreatePolicyVersion adds a version, which becomes the default if that is
// wanted. Errors: ErrNotFound, ErrLimit (five), ErrMalformed, ErrUnmodifiable.
func (d *Directory) CreatePolicyVersion(ctx context.Context, account, arn, document string, asDefault bool) (PolicyVersion, error) {
	if err := d.checkManaged(document); err != nil {
		return PolicyVersion{}, err
	}
	var made PolicyVersion
	err := d.changePolicy(ctx, account, arn, func(p *managed) (bool, error) {
		if len(p.versions) >= MaxVersions {
			return false, &Error{ErrLimit, "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."}
		}
		p.last++
		p.updated = d.stamp()
		v := version{p.last, p.updated, document}
		p.versions = append(p.versions, v)
		if asDefault {
			p.current = v.number
		}
		made = v.view(p.current)
		return true, nil
	})
	if err != nil {
		return PolicyVersion{}, err
	}
	return made, nil
}

// version returns the index of a version.
func (p *managed) version(id string) (int, error) {
	for i := range p.versions {
		if versionID(p.versions[i].number) == id {
			return i, nil
		}
	}
	return 0, &Error{ErrNotFound, "Policy " + p.arn() + " version " + id + " does not exist or is not attachable."}
}

// PolicyVersion returns a version, or ErrNotFound.
func (d *Directory) PolicyVersion(ctx context.Context, account, arn, id string) (PolicyVersion, error) {
	p, _, err := d.managedPolicy(ctx, account, arn)
	if err != nil {
		return PolicyVersion{}, err
	}
	at, err := p.version(id)
	if err != nil {
		return PolicyVersion{}, err
	}
	return p.versions[at].view(p.current), nil
}

// PolicyVersions returns the versions, the newest first.
func (d *Directory) PolicyVersions(ctx context.Context, account, arn string) ([]PolicyVersion, error) {
	p, _, err := d.managedPolicy(ctx, account, arn)
	if err != nil {
		return nil, err
	}
	var list []PolicyVersion
	for i := range p.versions {
		list = append(list, p.versions[i].view(p.current))
	}
	slices.Reverse(list)
	return list, nil
}

// SetDefaultPolicyVersion makes another version the default. Errors:
// ErrNotFound, ErrUnmodifiable.
func (d *Directory) SetDefaultPolicyVersion(ctx context.Context, account, arn, id string) error {
	return d.changePolicy(ctx, account, arn, func(p *managed) (bool, error) {
		at, err := p.version(id)
		if err != nil {
			return false, err
		}
		changed := p.current != p.versions[at].number
		p.current = p.versions[at].number
		return changed, nil
	})
}

// DeletePolicyVersion deletes a version that is not the default (ErrConflict).
// Errors: ErrNotFound, ErrUnmodifiable.
func (d *Directory) DeletePolicyVersion(ctx context.Context, account, arn, id string) error {
	return d.changePolicy(ctx, account, arn, func(p *managed) (bool, error) {
		at, err := p.version(id)
		if err != nil {
			return false, err
		}
		if p.versions[at].number == p.current {
			return false, &Error{ErrConflict, "Cannot delete the default version of a policy."}
		}
		p.versions = slices.Delete(p.versions, at, at+1)
		return true, nil
	})
}

// PolicyEntities returns who of an account a managed policy is attached to, and
// whose boundary it is. Errors: ErrNotFound, ErrInvalid (no ARN).
func (d *Directory) PolicyEntities(ctx context.Context, account, arn string) (PolicyEntities, error) {
	p, _, err := d.managedPolicy(ctx, account, arn)
	if err != nil {
		return PolicyEntities{}, err
	}
	return d.entitiesOf(ctx, account, arn, p.id)
}

func (d *Directory) entitiesOf(ctx context.Context, account, arn, id string) (PolicyEntities, error) {
	var in PolicyEntities
	this := reference{Name: arn, Value: id}
	err := d.all(ctx, account, func(e *entity) {
		if slices.Contains(e.attached, this) {
			in.Attached = append(in.Attached, e.ref())
		}
		if e.boundary == this {
			in.Boundaries = append(in.Boundaries, e.ref())
		}
	})
	return in, err
}

// TagPolicy gives a customer managed policy tags. Errors: ErrNotFound,
// ErrInvalid, ErrLimit, ErrUnmodifiable.
func (d *Directory) TagPolicy(ctx context.Context, account, arn string, tags []Tag) error {
	return d.changePolicy(ctx, account, arn, func(p *managed) (bool, error) {
		next, err := addTags(p.tags, tags)
		p.tags = next
		return len(tags) > 0, err
	})
}

// UntagPolicy takes tags from a customer managed policy; unknown keys are no error.
func (d *Directory) UntagPolicy(ctx context.Context, account, arn string, keys []string) error {
	return d.changePolicy(ctx, account, arn, func(p *managed) (bool, error) {
		before := len(p.tags)
		p.tags = removeTags(p.tags, keys)
		return len(p.tags) < before, nil
	})
}
