package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// Limits of organizations. Source: "Quotas and service limits for AWS
// Organizations".
const (
	MaxControlPolicies = 5    // of one type, attached to one target
	MaxControlSize     = 5120 // characters of an SCP or RCP
	MaxUnitDepth       = 5    // units in each other

	MaxMembers                 = 10_000 // accounts of an organization, closed ones too; what AWS raises it to
	MaxUnits                   = 2_000  // of an organization
	MaxServiceControlPolicies  = 10_000 // of an organization
	MaxResourceControlPolicies = 1_000  // of an organization
)

// What an organization is, hangs together like this: the record of an account
// names its organization, its parent and the policies attached to it; that of a
// unit likewise; that of the organization those attached to the root. So
// whoever deletes one of these records, or a policy, takes access from the
// accounts below, and never gives it.
//
// Nothing counts what is in a unit, or what a policy is attached to: who deletes
// one looks. So whoever puts something into a unit or root, or attaches a
// policy, puts the record of that as it is, too (see hold): of two who do so at
// the same time, one begins anew, and sees what the other has done.

var (
	organizationID       = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	rootID               = regexp.MustCompile(`^r-[a-z0-9]{4,32}$`)
	unitID               = regexp.MustCompile(`^ou-([a-z0-9]{4,32})-[a-z0-9]{8,32}$`)
	organizationPolicyID = regexp.MustCompile(`^p-[a-z0-9_]{8,128}$`)
)

func orgKey(id string) string                     { return orgPrefix + id }
func unitKey(organization, id string) string      { return unitPrefix + organization + "/" + id }
func orgPolicyKey(organization, id string) string { return orgPolicyPrefix + organization + "/" + id }

// organizationVersion is the version of the records of organizations, units and
// their policies. Those of version 1 end without tags.
const organizationVersion = 2

// encode returns the record's value: root, management account, types, created,
// policies of the root, its tags (pairs).
func (o *Organization) encode() []byte {
	b := []byte{organizationVersion}
	b = appendString(b, o.Root)
	b = appendString(b, o.Master)
	var types []string
	for _, t := range o.Types {
		types = append(types, string(t))
	}
	b = appendStrings(b, types)
	b = appendTime(b, o.Created)
	b = appendStrings(b, o.Policies)
	return appendPairs(b, o.Tags)
}

func decodeOrganization(rec record.Record) (*Organization, error) {
	r := newReader(rec.Value, organizationVersion)
	o := &Organization{ID: strings.TrimPrefix(rec.Key, orgPrefix), Root: r.string(), Master: r.string()}
	for _, t := range r.strings() {
		o.Types = append(o.Types, OrganizationPolicyType(t))
	}
	o.Created = r.time()
	o.Policies = r.strings()
	if r.version >= 2 {
		o.Tags = r.pairs()
	}
	return o, r.end()
}

// encode returns the record's value: name, parent, created, policies, tags
// (pairs).
func (u *Unit) encode() []byte {
	b := []byte{organizationVersion}
	b = appendString(b, u.Name)
	b = appendString(b, u.Parent)
	b = appendTime(b, u.Created)
	b = appendStrings(b, u.Policies)
	return appendPairs(b, u.Tags)
}

func decodeUnit(rec record.Record) (*Unit, error) {
	r := newReader(rec.Value, organizationVersion)
	u := new(Unit)
	u.Organization, u.ID, _ = strings.Cut(strings.TrimPrefix(rec.Key, unitPrefix), "/")
	u.Name = r.string()
	u.Parent = r.string()
	u.Created = r.time()
	u.Policies = r.strings()
	if r.version >= 2 {
		u.Tags = r.pairs()
	}
	return u, r.end()
}

// encode returns the record's value: type, name, description, text, the
// management account, tags (pairs).
func (p *OrganizationPolicy) encode(master string) []byte {
	b := []byte{organizationVersion}
	b = appendString(b, string(p.Type))
	b = appendString(b, p.Name)
	b = appendString(b, p.Description)
	b = appendString(b, p.Content)
	b = appendString(b, master)
	return appendPairs(b, p.Tags)
}

func decodeOrganizationPolicy(rec record.Record) (*OrganizationPolicy, error) {
	r := newReader(rec.Value, organizationVersion)
	p := new(OrganizationPolicy)
	p.Organization, p.ID, _ = strings.Cut(strings.TrimPrefix(rec.Key, orgPolicyPrefix), "/")
	p.Type = OrganizationPolicyType(r.string())
	p.Name = r.string()
	p.Description = r.string()
	p.Content = r.string()
	p.ARN = "arn:" + partition + ":organizations::" + r.string() + ":policy/" + p.Organization + "/" + strings.ToLower(string(p.Type)) + "/" + p.ID
	if r.version >= 2 {
		p.Tags = r.pairs()
	}
	return p, r.end()
}

// awsControl are the policies that every organization has.
var awsControl = map[string]*OrganizationPolicy{
	FullAWSAccess: {
		ID: FullAWSAccess, Type: ServiceControlPolicy, Name: "FullAWSAccess", Description: "Allows access to every operation", AWSManaged: true,
		ARN:     "arn:aws:organizations::aws:policy/service_control_policy/" + FullAWSAccess,
		Content: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	},
	RCPFullAWSAccess: {
		ID: RCPFullAWSAccess, Type: ResourceControlPolicy, Name: "RCPFullAWSAccess", Description: "Allows access to every operation", AWSManaged: true,
		ARN:     "arn:aws:organizations::aws:policy/resource_control_policy/" + RCPFullAWSAccess,
		Content: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`,
	},
}

// document is the type that a document of a type of policy is parsed as.
func (p *OrganizationPolicy) document() policy.Type {
	switch {
	case p.Type == ServiceControlPolicy:
		return policy.ServiceControl
	case p.AWSManaged:
		return policy.Resource // it allows, which those of customers do not
	}
	return policy.ResourceControl
}

// cachedControl is an organization's policy as it is cached.
type cachedControl struct {
	*OrganizationPolicy
	call.Attached
}

func (d *Directory) cacheControl(rec record.Record) (*cachedControl, error) {
	p, err := decodeOrganizationPolicy(rec)
	if err != nil {
		return nil, err
	}
	return d.control(p), nil
}

func (d *Directory) control(p *OrganizationPolicy) *cachedControl {
	return &cachedControl{p, d.attached(p.ARN, p.Name, p.Content, p.document())}
}

// closed is the place of every account that was closed: there, nobody else can
// do anything either.
var closed = &call.Organization{Broken: "the account is closed"}

// Organization returns the place of an account in its organization, nil if it
// is in none. It is shared and not changed. The warm answer costs no read of
// the store. For an account that is closed, it is one that denies everything.
// Errors: ErrNotFound for an unknown account.
func (d *Directory) Organization(ctx context.Context, account string) (*call.Organization, error) {
	if !arn.IsAccount(account) {
		return nil, fmt.Errorf("%w: account %q", ErrNotFound, account)
	}
	var buf [len(accountPrefix) + 12]byte
	a, err := d.accounts.Get(ctx, append(append(buf[:0], accountPrefix...), account...))
	if errors.Is(err, record.ErrNotFound) {
		return nil, fmt.Errorf("%w: account %s", ErrNotFound, account)
	}
	if err != nil {
		return nil, err
	}
	return d.place(ctx, a)
}

// place returns the place of an account, composed once and again when a record
// that it depends on may have changed.
func (d *Directory) place(ctx context.Context, a *cachedAccount) (*call.Organization, error) {
	if !a.Closed.IsZero() {
		return closed, nil
	}
	if a.Organization == "" {
		return nil, nil
	}
	if p := a.place.Load(); p != nil && d.lasts(p.at) {
		return p.organization, nil
	}
	at := d.moment(a.ID)
	o, err := d.composePlace(ctx, a)
	if err != nil {
		return nil, err
	}
	a.place.Store(&placed{at, o})
	d.accounts.Weigh(accountKey(a.ID))
	return o, nil
}

func (d *Directory) composePlace(ctx context.Context, a *cachedAccount) (*call.Organization, error) {
	place := &call.Organization{ID: a.Organization}
	gone := func(what string, err error) bool {
		if !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrTampered) {
			return false
		}
		if place.Broken == "" {
			place.Broken = what + " is missing or was altered"
			d.log.Error("everything is denied in an account: what its organization restricts it with is missing or was altered", "account", a.ID, "what", what, "cause", err)
		}
		return true
	}
	o, err := d.organizations.Get(ctx, []byte(orgKey(a.Organization)))
	if gone("organization "+a.Organization, err) {
		return place, nil
	}
	if err != nil {
		return nil, err
	}
	place.Master, place.Management = o.Master, o.Master == a.ID

	// From the account up to the root.
	targets := [][]string{a.policies}
	var path []string
	parent := a.Parent
	for parent != o.Root {
		u, err := d.units.Get(ctx, []byte(unitKey(o.ID, parent)))
		if err == nil && len(path) == MaxUnitDepth {
			err = record.ErrTampered // a circle
		}
		if gone("organizational unit "+parent, err) {
			return place, nil
		}
		if err != nil {
			return nil, err
		}
		path = append(path, u.ID)
		targets = append(targets, u.Policies)
		parent = u.Parent
	}
	targets = append(targets, o.Policies)
	slices.Reverse(targets)
	slices.Reverse(path)
	place.Path = o.ID + "/" + o.Root + "/"
	for _, unit := range path {
		place.Path += unit + "/"
	}
	if place.Management {
		return place, nil
	}
	for _, ids := range targets {
		service, resource := []call.Attached{}, []call.Attached{d.full[RCPFullAWSAccess].Attached}
		for _, id := range ids {
			p := d.full[id]
			if p == nil {
				p, err = d.controls.Get(ctx, []byte(orgPolicyKey(o.ID, id)))
			}
			if err == nil && p.Attached.Policy == nil {
				err = record.ErrTampered
			}
			if gone("policy "+id+" of organization "+o.ID, err) {
				return place, nil
			}
			if err != nil {
				return nil, err
			}
			switch {
			case id == RCPFullAWSAccess:
			case p.Type == ServiceControlPolicy:
				service = append(service, p.Attached)
			default:
				resource = append(resource, p.Attached)
			}
		}
		if slices.Contains(o.Types, ServiceControlPolicy) {
			place.ServiceControl = append(place.ServiceControl, service)
		}
		if slices.Contains(o.Types, ResourceControlPolicy) {
			place.ResourceControl = append(place.ResourceControl, resource)
		}
	}
	return place, nil
}

// CreateOrganization makes an organization whose management account is
// o.Master, in its root, with the types of policy given enabled. Ids are random
// if they are not given. FullAWSAccess is attached to the root and to the
// account. Errors: ErrExists (the id, or the account is in one), ErrInvalid,
// ErrNotFound (the account).
func (d *Directory) CreateOrganization(ctx context.Context, o Organization) (Organization, error) {
	if o.ID == "" {
		o.ID = "o-" + randomText(10)
	}
	if o.Root == "" {
		o.Root = "r-" + randomText(4)
	}
	switch {
	case !organizationID.MatchString(o.ID):
		return Organization{}, fmt.Errorf("%w: organization id %q; it is o- and 10 to 32 lower-case letters and digits", ErrInvalid, o.ID)
	case !rootID.MatchString(o.Root):
		return Organization{}, fmt.Errorf("%w: root id %q; it is r- and 4 to 32 lower-case letters and digits", ErrInvalid, o.Root)
	}
	o.Types = slices.Clone(o.Types)
	slices.Sort(o.Types)
	o.Types = slices.Compact(o.Types)
	for _, t := range o.Types {
		if err := t.check(); err != nil {
			return Organization{}, err
		}
	}
	o.Created, o.Policies, o.Tags = d.stamp(), []string{FullAWSAccess}, nil
	err := d.retry(ctx, func() error {
		a, rec, err := d.loadAccount(ctx, o.Master)
		if err != nil {
			return err
		}
		if a.Organization != "" {
			return &Error{ErrExists, "Account " + o.Master + " is in an organization already."}
		}
		if old, err := d.rs.Get(ctx, record.KindOrganization, orgKey(o.ID)); err == nil {
			clear(old.Value)
			return &Error{ErrExists, "Organization " + o.ID + " exists already."}
		} else if !errors.Is(err, record.ErrNotFound) {
			return err
		}
		next := *a
		next.join(&o, o.Root, d.stamp())
		tx := d.rs.Begin()
		tx.Create(record.KindOrganization, orgKey(o.ID), o.encode())
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "making organization "+o.ID)
	})
	return o, err
}

// join puts an account into an organization, under its root or a unit.
func (a *account) join(o *Organization, parent string, now time.Time) {
	a.Organization, a.Parent, a.policies = o.ID, parent, []string{FullAWSAccess}
	a.Joined, a.Made = now, false
}

func (t OrganizationPolicyType) check() error {
	if t != ServiceControlPolicy && t != ResourceControlPolicy {
		return fmt.Errorf("%w: policy type %q", ErrInvalid, string(t))
	}
	return nil
}

// randomText returns n random lower-case letters and digits.
func randomText(n int) string { return strings.ToLower(rand.Text()[:n]) }

// OrganizationByID returns an organization, or ErrNotFound.
func (d *Directory) OrganizationByID(ctx context.Context, id string) (Organization, error) {
	o, _, err := d.loadOrganization(ctx, id)
	if err != nil {
		return Organization{}, err
	}
	return *o, nil
}

func (d *Directory) loadOrganization(ctx context.Context, id string) (*Organization, record.Record, error) {
	if !organizationID.MatchString(id) {
		return nil, record.Record{}, fmt.Errorf("%w: organization %q", ErrNotFound, id)
	}
	return load(ctx, d.rs, record.KindOrganization, orgKey(id), "organization "+id, decodeOrganization)
}

// CreateUnit makes an organizational unit in u.Organization under u.Parent,
// with tags, and with FullAWSAccess attached. Its id is random if it is not
// given. Errors: ErrNotFound (the parent), ErrExists (the id, or another under
// the parent has the name), ErrInvalid, ErrDepth (five in each other), ErrLimit.
func (d *Directory) CreateUnit(ctx context.Context, u Unit) (Unit, error) {
	if err := checkUnitName(u.Name); err != nil {
		return Unit{}, err
	}
	var err error
	if u.Tags, err = addTags(nil, u.Tags); err != nil {
		return Unit{}, err
	}
	u.Created, u.Policies = d.stamp(), []string{FullAWSAccess}
	err = d.retry(ctx, func() error {
		o, rec, err := d.loadOrganization(ctx, u.Organization)
		if err != nil {
			return err
		}
		if u.ID == "" {
			u.ID = "ou-" + strings.TrimPrefix(o.Root, "r-") + "-" + randomText(8)
		}
		if m := unitID.FindStringSubmatch(u.ID); m == nil || "r-"+m[1] != o.Root {
			return fmt.Errorf("%w: id of an organizational unit %q; it is ou-%s- and 8 to 32 lower-case letters and digits", ErrInvalid, u.ID, strings.TrimPrefix(o.Root, "r-"))
		}
		tx := d.rs.Begin()
		depth := 1
		for parent := u.Parent; parent != o.Root; depth++ {
			above, at, err := d.loadUnit(ctx, o.ID, parent)
			if err != nil {
				return err
			}
			if depth == MaxUnitDepth {
				return &Error{ErrDepth, fmt.Sprintf("Organizational units can be %d deep.", MaxUnitDepth)}
			}
			if parent == u.Parent {
				tx.Put(at, above.encode())
			} else {
				tx.Check(at)
			}
			parent = above.Parent
		}
		if u.Parent == o.Root {
			tx.Put(rec, o.encode())
		} else {
			tx.Check(rec)
		}
		if _, _, err := d.loadUnit(ctx, o.ID, u.ID); err == nil {
			return &Error{ErrExists, "Organizational unit " + u.ID + " exists already."}
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := d.uniqueUnit(ctx, &u); err != nil {
			return err
		}
		tx.Create(record.KindUnit, unitKey(o.ID, u.ID), u.encode())
		return d.commit(ctx, tx, "making organizational unit "+u.ID)
	})
	return u, err
}

// Unit returns an organizational unit, or ErrNotFound.
func (d *Directory) Unit(ctx context.Context, organization, id string) (Unit, error) {
	u, _, err := d.loadUnit(ctx, organization, id)
	if err != nil {
		return Unit{}, err
	}
	return *u, nil
}

func (d *Directory) loadUnit(ctx context.Context, organization, id string) (*Unit, record.Record, error) {
	if !organizationID.MatchString(organization) || !unitID.MatchString(id) {
		return nil, record.Record{}, fmt.Errorf("%w: organizational unit %q", ErrNotFound, id)
	}
	return load(ctx, d.rs, record.KindUnit, unitKey(organization, id), "organizational unit "+id, decodeUnit)
}

// CreateOrganizationPolicy makes an SCP or RCP with tags; its id is random if it
// is not given. Errors: ErrNotFound (the organization), ErrExists (the id, or
// another of the type has the name), ErrInvalid, ErrMalformed, ErrLimit (its
// size, or their number).
func (d *Directory) CreateOrganizationPolicy(ctx context.Context, p OrganizationPolicy) (OrganizationPolicy, error) {
	if p.ID == "" {
		p.ID = "p-" + randomText(10)
	}
	p.AWSManaged = false
	if !organizationPolicyID.MatchString(p.ID) {
		return OrganizationPolicy{}, fmt.Errorf("%w: id of a policy %q; it is p- and 8 to 128 lower-case letters, digits and _", ErrInvalid, p.ID)
	}
	if err := errors.Join(p.Type.check(), d.checkControl(&p)); err != nil {
		return OrganizationPolicy{}, err
	}
	var err error
	if p.Tags, err = addTags(nil, p.Tags); err != nil {
		return OrganizationPolicy{}, err
	}
	err = d.retry(ctx, func() error {
		o, rec, err := d.loadOrganization(ctx, p.Organization)
		if err != nil {
			return err
		}
		if _, _, err := d.loadControl(ctx, o.ID, p.ID); err == nil {
			return &Error{ErrExists, "Policy " + p.ID + " exists already."}
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := d.uniqueControl(ctx, &p); err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Put(rec, o.encode())
		tx.Create(record.KindOrgPolicy, orgPolicyKey(o.ID, p.ID), p.encode(o.Master))
		return d.commit(ctx, tx, "making policy "+p.ID)
	})
	if err != nil {
		return OrganizationPolicy{}, err
	}
	return d.OrganizationPolicy(ctx, p.Organization, p.ID)
}

// checkControl returns what is wrong with the name, description and text of an
// SCP or RCP.
func (d *Directory) checkControl(p *OrganizationPolicy) error {
	if n := utf8.RuneCountInString(p.Name); n < 1 || n > 128 || !utf8.ValidString(p.Name) {
		return fmt.Errorf("%w: name of a policy %q; it has 1 to 128 characters", ErrInvalid, p.Name)
	}
	if utf8.RuneCountInString(p.Description) > 512 || !utf8.ValidString(p.Description) {
		return fmt.Errorf("%w: a description has up to 512 characters", ErrInvalid)
	}
	if utf8.RuneCountInString(p.Content) > MaxControlSize {
		return &Error{ErrLimit, fmt.Sprintf("A policy has up to %d characters.", MaxControlSize)}
	}
	_, err := d.parse(p.Content, p.document())
	return err
}

// OrganizationPolicy returns an SCP or RCP, or ErrNotFound.
func (d *Directory) OrganizationPolicy(ctx context.Context, organization, id string) (OrganizationPolicy, error) {
	p, _, err := d.loadControl(ctx, organization, id)
	if err != nil {
		return OrganizationPolicy{}, err
	}
	return *p, nil
}

// loadControl reads a policy. One that every organization has has no record.
func (d *Directory) loadControl(ctx context.Context, organization, id string) (*OrganizationPolicy, record.Record, error) {
	if p := awsControl[id]; p != nil {
		return p, record.Record{}, nil
	}
	if !organizationID.MatchString(organization) || !organizationPolicyID.MatchString(id) {
		return nil, record.Record{}, fmt.Errorf("%w: policy %q", ErrNotFound, id)
	}
	return load(ctx, d.rs, record.KindOrgPolicy, orgPolicyKey(organization, id), "policy "+id, decodeOrganizationPolicy)
}

// OrganizationPolicyUpdate is what of a policy is changed: what is nil stays.
type OrganizationPolicyUpdate struct{ Name, Description, Content *string }

// UpdateOrganizationPolicy changes a policy. Errors: ErrNotFound, ErrExists
// (another of its type has the name), ErrMalformed, ErrInvalid, ErrLimit,
// ErrUnmodifiable.
func (d *Directory) UpdateOrganizationPolicy(ctx context.Context, organization, id string, u OrganizationPolicyUpdate) error {
	return d.retry(ctx, func() error {
		p, rec, err := d.loadControl(ctx, organization, id)
		if err != nil {
			return err
		}
		if p.AWSManaged {
			return &Error{ErrUnmodifiable, "Policy " + id + " is AWS's and cannot be changed."}
		}
		o, orgRec, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		next := *p
		for _, f := range []struct{ to, from *string }{{&next.Name, u.Name}, {&next.Description, u.Description}, {&next.Content, u.Content}} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		if err := d.checkControl(&next); err != nil {
			return err
		}
		tx := d.rs.Begin()
		if next.Name != p.Name {
			if err := d.uniqueControl(ctx, &next); err != nil {
				return err
			}
			tx.Put(orgRec, o.encode())
		}
		tx.Put(rec, next.encode(o.Master))
		return d.commit(ctx, tx, "changing policy "+id)
	})
}

// target is what policies are attached to: a root, a unit or an account, whose
// record it is. Changes of it are put into the record.
type target struct {
	organization *Organization // also of a unit or account
	unit         *Unit
	account      *account
}

func (t *target) policies() *[]string {
	switch {
	case t.unit != nil:
		return &t.unit.Policies
	case t.account != nil:
		return &t.account.policies
	}
	return &t.organization.Policies
}

func (t *target) tags() *[]Tag {
	switch {
	case t.unit != nil:
		return &t.unit.Tags
	case t.account != nil:
		return &t.account.Tags
	}
	return &t.organization.Tags
}

// target reads the root (also if the id is empty), a unit or an account of an
// organization. In a transaction, the organization's record must then stay as it
// is.
func (d *Directory) target(ctx context.Context, organization, id string, tx *record.Tx) (*target, record.Record, error) {
	o, rec, err := d.loadOrganization(ctx, organization)
	if err != nil {
		return nil, record.Record{}, err
	}
	t := &target{organization: o}
	if id == "" || id == o.Root {
		return t, rec, nil
	}
	if tx != nil {
		tx.Check(rec)
	}
	if arn.IsAccount(id) {
		t.account, rec, err = d.member(ctx, o.ID, id)
	} else {
		t.unit, rec, err = d.loadUnit(ctx, o.ID, id)
	}
	return t, rec, err
}

// changeTarget changes the root (also if the id is empty), a unit or an account
// of an organization, if f says that there is something to change. What f is
// given is a copy, but for the lists in it.
func (d *Directory) changeTarget(ctx context.Context, organization, id string, f func(tx *record.Tx, t *target) (bool, error)) error {
	return d.retry(ctx, func() error {
		tx := d.rs.Begin()
		t, rec, err := d.target(ctx, organization, id, tx)
		if err != nil {
			return err
		}
		changed, err := f(tx, t)
		if err != nil || !changed {
			return err
		}
		switch {
		case t.unit != nil:
			tx.Put(rec, t.unit.encode())
		case t.account != nil:
			tx.Put(rec, t.account.encode())
		default:
			tx.Put(rec, t.organization.encode())
		}
		return d.commit(ctx, tx, "changing organization "+t.organization.ID)
	})
}

// AttachOrganizationPolicy attaches a policy to the root, a unit or an account
// of the organization. Errors: ErrNotFound, ErrExists if it is attached,
// ErrLimit (five of a type), ErrInvalid if its type is not enabled.
func (d *Directory) AttachOrganizationPolicy(ctx context.Context, organization, id, to string) error {
	return d.changeTarget(ctx, organization, to, func(tx *record.Tx, t *target) (bool, error) {
		p, rec, err := d.loadControl(ctx, organization, id)
		if err != nil {
			return false, err
		}
		list := t.policies()
		switch {
		case id == RCPFullAWSAccess || slices.Contains(*list, id):
			return false, &Error{ErrExists, "Policy " + id + " is attached already."}
		case !slices.Contains(t.organization.Types, p.Type):
			return false, &Error{ErrInvalid, "Policies of type " + string(p.Type) + " are not enabled."}
		}
		n, err := d.attachedControls(ctx, organization, *list, p.Type)
		if err != nil {
			return false, err
		}
		if n >= MaxControlPolicies {
			return false, &Error{ErrLimit, fmt.Sprintf("A target has up to %d policies of a type.", MaxControlPolicies)}
		}
		if !p.AWSManaged {
			tx.Put(rec, p.encode(t.organization.Master))
		}
		*list = append(slices.Clone(*list), id)
		return true, nil
	})
}

// attachedControls counts the policies of a type among those attached to
// something; RCPFullAWSAccess, which is not listed, is one.
func (d *Directory) attachedControls(ctx context.Context, organization string, ids []string, t OrganizationPolicyType) (int, error) {
	n := 0
	if t == ResourceControlPolicy {
		n = 1
	}
	for _, id := range ids {
		p, _, err := d.loadControl(ctx, organization, id)
		if errors.Is(err, ErrNotFound) || errors.Is(err, record.ErrTampered) {
			continue // and everything is denied
		}
		if err != nil {
			return 0, err
		}
		if p.Type == t {
			n++
		}
	}
	return n, nil
}

// DetachOrganizationPolicy detaches a policy. Errors: ErrNotFound if it is not
// attached, ErrConflict for the last SCP of a target and for RCPFullAWSAccess.
func (d *Directory) DetachOrganizationPolicy(ctx context.Context, organization, id, from string) error {
	return d.changeTarget(ctx, organization, from, func(_ *record.Tx, t *target) (bool, error) {
		if id == RCPFullAWSAccess {
			return false, &Error{ErrConflict, "Policy " + id + " cannot be detached."}
		}
		list := t.policies()
		at := slices.Index(*list, id)
		if at < 0 {
			return false, fmt.Errorf("%w: policy %s attached to %s", ErrNotFound, id, from)
		}
		if p, _, err := d.loadControl(ctx, organization, id); err == nil && p.Type == ServiceControlPolicy {
			n, err := d.attachedControls(ctx, organization, *list, ServiceControlPolicy)
			if err != nil {
				return false, err
			}
			if n == 1 {
				return false, &Error{ErrConflict, "The last service control policy of a target cannot be detached."}
			}
		} else if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, record.ErrTampered) {
			return false, err
		}
		*list = slices.Delete(slices.Clone(*list), at, at+1)
		return true, nil
	})
}

// PlaceAccount puts an account under the root or a unit of an organization. One
// that was in none gets FullAWSAccess attached; one that was elsewhere in it
// keeps what is. Errors: ErrNotFound, ErrExists if it is in another
// organization, ErrLimit.
func (d *Directory) PlaceAccount(ctx context.Context, account, organization, parent string) error {
	return d.retry(ctx, func() error {
		o, orgRec, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		a, rec, err := d.loadAccount(ctx, account)
		if err != nil {
			return err
		}
		tx := d.rs.Begin()
		next := *a
		switch a.Organization {
		case o.ID:
			if a.Parent == parent {
				return nil
			}
			next.Parent = parent
			if err := d.hold(ctx, tx, o, orgRec, parent, false); err != nil {
				return err
			}
		case "":
			if err := d.roomForMember(ctx, o); err != nil {
				return err
			}
			next.join(o, parent, d.stamp())
			if err := d.hold(ctx, tx, o, orgRec, parent, true); err != nil {
				return err
			}
		default:
			return &Error{ErrExists, "Account " + account + " is in another organization."}
		}
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "placing account "+account)
	})
}
