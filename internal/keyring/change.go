package keyring

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// CreateParams is a key to be made.
type CreateParams struct {
	Account     string
	Region      string
	Spec        Spec
	Usage       Usage
	Description string
	Tags        []Tag  // names unique
	Policy      string // empty for the default key policy

	// Origin is where the material comes from; AWSKMS if empty. A key whose
	// material is imported has none at first, and is PendingImport.
	Origin Origin

	// Bindings are who the policy names, in any order.
	Bindings []Binding

	// MultiRegion makes it the primary key of related ones, which there are none of
	// yet.
	MultiRegion bool

	// ID and Material fix the key's id and material instead of random ones;
	// for the system's own work only (a seed). Material is 32 bytes for
	// SymmetricDefault, as long as the hash for HMAC, PKCS#8 in DER for others.
	// It stays the caller's. Disabled is for that work only, too.
	ID       string
	Material secret.Bytes
	Disabled bool
}

// Create makes a key, durably, and notes it in the call. The permit is for
// kms:CreateKey on "*" of the account. Errors: ErrExists (only with a fixed ID),
// ErrLimit, ErrTooManyTags, ErrParameter; *policy.Error for a Policy that is
// none.
func (r *Ring) Create(ctx context.Context, c *call.Call, p authz.Permit, params CreateParams) (*Metadata, error) {
	if p.Action() != "kms:CreateKey" || p.CheckAll(c, params.Account) != nil {
		return nil, authz.ErrNoPermit
	}
	fixed := params.ID != "" || !params.Material.IsNil() || params.Disabled
	if fixed && c != nil {
		return nil, authz.ErrNoPermit
	}
	if r.closed.Load() {
		return nil, ErrClosed
	}
	if params.Origin == External && (fixed || !params.Spec.Importable()) || params.Origin != "" && params.Origin != AWSKMS && params.Origin != External {
		return nil, fmt.Errorf("%w: origin %q of a key of spec %q", ErrParameter, params.Origin, params.Spec)
	}
	if !Compatible(params.Spec, params.Usage) {
		return nil, fmt.Errorf("%w: usage %q of a key of spec %q", ErrParameter, params.Usage, params.Spec)
	}
	if len(params.Tags) > MaxTags {
		return nil, ErrTooManyTags
	}
	if len(params.Policy) > MaxPolicy {
		return nil, fmt.Errorf("%w: a key policy of more than %d bytes", ErrParameter, MaxPolicy)
	}
	id := params.ID
	switch {
	case id == "" && params.MultiRegion:
		id = newMRK()
	case id == "":
		id = newUUID()
	case params.MultiRegion:
		return nil, fmt.Errorf("%w: a given id of a multi-Region key", ErrParameter)
	}
	if !validName(params.Account, params.Region, id) {
		return nil, fmt.Errorf("%w: account, Region or key id", ErrParameter)
	}
	if r.census != nil {
		if err := r.census.enter(ctx, keyKey(params.Account, params.Region, ""), r.instant(c)); err != nil {
			return nil, err
		}
	}
	m, err := r.create(ctx, c, id, params)
	if r.census != nil {
		r.census.made(keyKey(params.Account, params.Region, ""), err == nil)
	}
	return m, err
}

func (r *Ring) create(ctx context.Context, c *call.Call, id string, params CreateParams) (*Metadata, error) {
	var material, public []byte
	var err error
	if params.Origin != External {
		if material, public, err = r.newMaterial(ctx, params.Account, params.Spec, params.Material); err != nil {
			return nil, err
		}
		defer clear(material)
	}
	m := &Metadata{
		Account:     params.Account,
		Region:      params.Region,
		ID:          id,
		ARN:         arn.Key(params.Region, params.Account, id),
		Spec:        params.Spec,
		Usage:       params.Usage,
		State:       Enabled,
		Description: params.Description,
		Tags:        slices.Clone(params.Tags),
		Policy:      params.Policy,
		Bindings:    sortBindings(params.Bindings),
		Created:     r.instant(c),
		PublicKey:   public,
		Origin:      cmp.Or(params.Origin, AWSKMS),
	}
	if params.Disabled {
		m.State = Disabled
	}
	if params.MultiRegion {
		m.MultiRegion = &MultiRegion{Primary: m.Region, Regions: []string{m.Region}}
	}
	if m.Policy == "" {
		m.Policy, m.Bindings = DefaultPolicy(m.Region, m.Account), nil
	} else if _, err := compilePolicy(m.Policy, m.Bindings, false); err != nil {
		return nil, err
	}
	if m.Origin == External {
		m.State = PendingImport
	} else if m.MaterialID, err = materialID(m.Account, m.ID, material); err != nil {
		return nil, err
	}
	value, err := appendKey(make([]byte, 0, 128+len(m.Description)+len(m.PublicKey)), m)
	if err != nil {
		return nil, err
	}
	tx := r.records.Begin()
	tx.Create(record.KindKey, keyKey(m.Account, m.Region, m.ID), value)
	if material != nil {
		token, err := r.sealToken(m.ARN, m.MaterialID, material)
		if err != nil {
			return nil, err
		}
		tx.Create(record.KindMaterial, matKey(m.Account, m.Region, m.ID, m.MaterialID), token)
	}
	if c != nil {
		// Before the change, so that what is noted with it names the key.
		c.AddKey(m.ARN, m.Account)
	}
	rev, err := tx.Commit(ctx)
	if errors.Is(err, record.ErrConflict) {
		return nil, ErrExists
	}
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", m.ARN, err)
	}
	m.Revision = int64(rev)
	return m, nil
}

// newMaterial returns the material for an account's key of spec s, and its public
// key if it is asymmetric: a given one, checked, or a random one.
func (r *Ring) newMaterial(ctx context.Context, account string, s Spec, given secret.Bytes) (material, public []byte, err error) {
	switch {
	case !s.asymmetric() && given.IsNil():
		material = make([]byte, s.rawLen())
		if _, err := rand.Read(material); err != nil {
			return nil, nil, fmt.Errorf("reading randomness: %w", err)
		}
		return material, nil, nil
	case !s.asymmetric():
		if given.Len() != s.rawLen() {
			return nil, nil, fmt.Errorf("%w: material of %s must have %d bytes", ErrParameter, s, s.rawLen())
		}
		return slices.Clone(given.Reveal()), nil, nil
	case given.IsNil():
		return r.spare.take(ctx, account, s)
	}
	k, err := parsePrivate(s, given.Reveal())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: material: %w", ErrParameter, err)
	}
	defer k.wipe()
	p := k.public()
	if public, err = p.marshal(); err != nil {
		return nil, nil, fmt.Errorf("encoding a public key of %s: %w", s, err)
	}
	// Encoded anew, so that one key has one encoding and one material id.
	if material, err = k.marshal(); err != nil {
		return nil, nil, fmt.Errorf("encoding a private key of %s: %w", s, err)
	}
	return material, public, nil
}

// newUUID returns a random UUID: RFC 9562, version 4.
func newUUID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // it does not fail: it ends the program
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	return string(appendKeyID(make([]byte, 0, 36), kindUUID, raw[:]))
}

// change changes the key's record, on condition that it is still what it was
// when the key was opened; else ErrStale. The function with it may add steps.
func (k Key) change(ctx context.Context, m *Metadata, with func(*record.Tx)) error {
	return k.r.changeAll(ctx, []keyChange{{k.s, m}}, with)
}

// A keyChange is what a key is to become.
type keyChange struct {
	s  *Subject
	to *Metadata
}

// changeAll is change of several keys in one transaction, which are related
// multi-Region keys.
func (r *Ring) changeAll(ctx context.Context, changes []keyChange, with func(*record.Tx)) error {
	tx := r.records.Begin()
	for _, c := range changes {
		if err := r.put(ctx, tx, c); err != nil {
			return err
		}
	}
	if with != nil {
		with(tx)
	}
	_, err := tx.Commit(ctx)
	if errors.Is(err, record.ErrConflict) {
		return ErrStale
	}
	if err != nil {
		return fmt.Errorf("changing %s: %w", changes[0].to.ARN, err)
	}
	// The record cache has let go of them; but one that was read beside the cache
	// never was in there.
	for _, c := range changes {
		c.s.end()
	}
	return nil
}

// put adds the change of a key's record, and of its due records, to a transaction.
func (r *Ring) put(ctx context.Context, tx *record.Tx, c keyChange) error {
	value, err := appendKey(nil, c.to)
	if err != nil {
		return err
	}
	tx.Put(c.s.record(), value)
	return r.remember(ctx, tx, &c.s.m, c.to)
}

// members returns all related keys of a multi-Region key, itself first, as the
// store has them; itself alone of a single-Region key. Error: ErrStale, if one
// has gone meanwhile.
func (r *Ring) members(ctx context.Context, s *Subject) ([]*Subject, error) {
	all := []*Subject{s}
	if s.m.MultiRegion == nil {
		return all, nil
	}
	for _, region := range s.m.MultiRegion.Regions {
		if region == s.m.Region {
			continue
		}
		other, err := r.current(ctx, s.m.Account, region, s.m.ID)
		if errors.Is(err, ErrNotFound) {
			return nil, ErrStale
		}
		if err != nil {
			return nil, err
		}
		all = append(all, other)
	}
	return all, nil
}

// Enable enables the key; nothing is written if it is. Action: kms:EnableKey.
// Error: ErrStale, as of all methods that change the key.
func (k Key) Enable(ctx context.Context) error {
	if err := k.may(mayEnable); err != nil {
		return err
	}
	return k.setState(ctx, Enabled)
}

// Disable disables the key and wipes its material from memory; nothing is
// written if it is disabled. Action: kms:DisableKey.
func (k Key) Disable(ctx context.Context) error {
	if err := k.may(mayDisable); err != nil {
		return err
	}
	return k.setState(ctx, Disabled)
}

func (k Key) setState(ctx context.Context, to State) error {
	if k.s.m.State == to {
		return nil
	}
	m := k.s.m
	m.State = to
	return k.change(ctx, &m, nil)
}

// SetDescription sets the description. Action: kms:UpdateKeyDescription.
func (k Key) SetDescription(ctx context.Context, text string) error {
	if err := k.may(mayDescription); err != nil {
		return err
	}
	if k.s.m.Description == text {
		return nil
	}
	m := k.s.m
	m.Description = text
	return k.change(ctx, &m, nil)
}

// Tag sets tags, replacing those of the same key. Action: kms:TagResource.
// Errors: ErrTooManyTags, ErrStale.
func (k Key) Tag(ctx context.Context, tags []Tag) error {
	if err := k.may(mayTag); err != nil {
		return err
	}
	m := k.s.m
	m.Tags = slices.Clone(m.Tags)
	for _, t := range tags {
		if i := slices.IndexFunc(m.Tags, func(have Tag) bool { return have.Key == t.Key }); i >= 0 {
			m.Tags[i] = t
		} else {
			m.Tags = append(m.Tags, t)
		}
	}
	if len(m.Tags) > MaxTags {
		return ErrTooManyTags
	}
	if slices.Equal(m.Tags, k.s.m.Tags) {
		return nil
	}
	return k.change(ctx, &m, nil)
}

// Untag removes the tags with these keys; unknown ones are ignored. Action:
// kms:UntagResource.
func (k Key) Untag(ctx context.Context, keys []string) error {
	if err := k.may(mayUntag); err != nil {
		return err
	}
	m := k.s.m
	m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t Tag) bool { return slices.Contains(keys, t.Key) })
	if len(m.Tags) == len(k.s.m.Tags) {
		return nil
	}
	return k.change(ctx, &m, nil)
}

// ScheduleDeletion puts the key into PendingDeletion, wipes its material from
// memory, and returns when it will be destroyed: window after the call's time.
// A primary key with replicas is PendingReplicaDeletion: its window, in whole
// days, begins when the last of them is gone, and the time returned is zero.
// Action: kms:ScheduleKeyDeletion.
func (k Key) ScheduleDeletion(ctx context.Context, window time.Duration) (time.Time, error) {
	if err := k.may(mayScheduleDeletion); err != nil {
		return time.Time{}, err
	}
	if window <= 0 {
		return time.Time{}, ErrParameter
	}
	m := k.s.m
	switch {
	case m.State == Creating:
		// Else it would be a key without material if the deletion is canceled.
		if err := k.r.await(ctx, keyName{m.Account, m.Region, m.ID}); err != nil {
			return time.Time{}, err
		}
		return time.Time{}, ErrStale
	case m.HasReplicas():
		m.State = PendingReplicaDeletion
		m.MultiRegion = m.MultiRegion.with(func(set *MultiRegion) { set.Window = int(window / (24 * time.Hour)) })
	default:
		m.State, m.Deletion = PendingDeletion, k.now().Add(window)
	}
	if err := k.change(ctx, &m, nil); err != nil {
		return time.Time{}, err
	}
	return m.Deletion, nil
}

// CancelDeletion takes the key out of PendingDeletion; it is Disabled then,
// or PendingImport if some of its material is not there.
// Action: kms:CancelKeyDeletion.
func (k Key) CancelDeletion(ctx context.Context) error {
	if err := k.may(mayCancelDeletion); err != nil {
		return err
	}
	m := k.s.m
	m.State, m.Deletion = Disabled, time.Time{}
	m.lack()
	if m.MultiRegion != nil {
		m.MultiRegion = m.MultiRegion.with(func(set *MultiRegion) { set.Window = 0 })
	}
	return k.change(ctx, &m, nil)
}
