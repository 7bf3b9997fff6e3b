package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// The material of a key whose origin is External comes and goes, and the key's
// record says what is here: a Material stays in the list when its bytes have been
// deleted or have expired, and the same can be imported again. Such a key works
// while all of its material is here, but for what is only pending rotation.
//
// Material expires at its instant, by the clock of each call: Open looks. The
// record says so, and the bytes are gone, when the job has run.

// SingleMaterialError says that a parameter is there only for keys that can have
// several materials, symmetric ones.
type SingleMaterialError struct {
	ARN  string
	Spec Spec
}

func (e *SingleMaterialError) Error() string {
	return fmt.Sprintf("keyring: a key of %s has one material: %s", e.Spec, e.ARN)
}

// PendingMaterialError says that a new material cannot be imported, because
// another is pending rotation.
type PendingMaterialError struct {
	ARN     string
	New     string // id of the material that would be imported
	Pending string // id of the one that is
}

func (e *PendingMaterialError) Error() string {
	return "keyring: another material is pending rotation: " + e.ARN
}

// OtherMaterialError says that material is not the one that is to be imported. It
// is [ErrKeyMaterial].
type OtherMaterialError struct {
	Want string // id of the one that is; empty if the key has none yet
}

func (e *OtherMaterialError) Error() string { return "keyring: other key material than " + e.Want }

// Unwrap returns [ErrKeyMaterial].
func (e *OtherMaterialError) Unwrap() error { return ErrKeyMaterial }

// KnownMaterialError says that material that is to be new is the key's already.
// It is [ErrKeyMaterial].
type KnownMaterialError struct {
	ARN string
	ID  string
}

func (e *KnownMaterialError) Error() string { return "keyring: imported before: " + e.ID }

// Unwrap returns [ErrKeyMaterial].
func (e *KnownMaterialError) Unwrap() error { return ErrKeyMaterial }

// permanent reports whether the material belongs to its key for good: it has
// been the current one.
func (m *Material) permanent() bool { return m.State == Current || m.State == NonCurrent }

// here reports whether the material is in its key at an instant.
func (m *Material) here(at time.Time) bool {
	return m.Imported && (m.Expires.IsZero() || m.Expires.After(at))
}

// complete reports whether all material that belongs to the key for good is here
// at an instant, and there is some.
func (m *Metadata) complete(at time.Time) bool {
	if m.Origin != External {
		return true
	}
	for i := range m.Materials {
		if mat := &m.Materials[i]; mat.permanent() && !mat.here(at) {
			return false
		}
	}
	return m.MaterialID != ""
}

// at returns the key as it is at an instant: m itself, unless some material has
// expired and the job that removes it has not run yet, or the key does not work
// while it is Updating.
func (m *Metadata) at(at time.Time) *Metadata {
	if m.Origin != External {
		return m
	}
	gone := func(mat Material) bool { return mat.Imported && !mat.here(at) }
	if !slices.ContainsFunc(m.Materials, gone) && (m.State != Updating || m.complete(at)) {
		return m
	}
	now := *m
	now.Materials = slices.Clone(m.Materials)
	for i := range now.Materials {
		if mat := &now.Materials[i]; gone(*mat) {
			mat.Imported, mat.Expires = false, time.Time{}
		}
	}
	now.Materials = slices.DeleteFunc(now.Materials, func(mat Material) bool { return !mat.Imported && now.forgets(&mat) })
	now.lack()
	return &now
}

// forgets reports whether nothing is left of a material that goes: what was not
// the current one yet. A replica remembers which the primary key has.
func (m *Metadata) forgets(mat *Material) bool { return !mat.permanent() && !m.IsReplica() }

// lack puts a key whose material is not complete into PendingImport, unless it
// is waiting for its end.
func (m *Metadata) lack() {
	if m.complete(time.Time{}) {
		return
	}
	switch m.State {
	case Enabled, Disabled, Updating:
		m.State = PendingImport
	}
}

// ValidTo returns when the first of the material that belongs to the key for good
// expires, the zero time if none does. It is false if none of it is here, or was
// not imported at all.
func (m *Metadata) ValidTo() (at time.Time, ok bool) {
	for i := range m.Materials {
		mat := &m.Materials[i]
		if !mat.permanent() || !mat.Imported {
			continue
		}
		ok = true
		if !mat.Expires.IsZero() && (at.IsZero() || mat.Expires.Before(at)) {
			at = mat.Expires
		}
	}
	return at, ok
}

// ImportParameters are what a client wraps material with.
type ImportParameters struct {
	PublicKey []byte // SubjectPublicKeyInfo of the wrapping key, in DER
	Token     []byte // to be brought back with the material; at most 6144 bytes
	ValidTo   time.Time
}

// ImportParameters makes a wrapping key for the key's material, of RSA or SM2,
// good for a day. Action: kms:GetParametersForImport. Errors: *OriginError,
// *WrappingError, ErrBusy.
func (k Key) ImportParameters(ctx context.Context, a WrappingAlgorithm, w Spec) (ImportParameters, error) {
	if err := k.mayImport(mayImportParameters); err != nil {
		return ImportParameters{}, err
	}
	m := k.Metadata()
	if err := checkWrapping(m.Region, m.Spec, a, w); err != nil {
		return ImportParameters{}, err
	}
	pkcs8, spki, err := k.r.spare.take(ctx, k.caller(), w)
	if err != nil {
		return ImportParameters{}, err
	}
	defer clear(pkcs8)
	t := importToken{algorithm: a, wrapping: w, until: k.now().Add(ImportTokenLife), pkcs8: pkcs8}
	plain := t.append(make([]byte, 0, len(pkcs8)+32))
	defer clear(plain)
	token, err := k.r.box.Seal(seal.Tokens, appendImportAAD(nil, m.ARN), plain)
	if err != nil {
		return ImportParameters{}, fmt.Errorf("making an import token: %w", err)
	}
	return ImportParameters{PublicKey: spki, Token: token, ValidTo: t.until}, nil
}

// mayImport is may, for a key whose material is imported.
func (k Key) mayImport(m methods) error {
	if err := k.may(m); err != nil {
		return err
	}
	if k.s.m.Origin != External {
		return &OriginError{ARN: k.s.m.ARN, Origin: k.s.m.Origin}
	}
	return nil
}

// openImportToken returns what wraps, for the key. The private key is the caller's
// to wipe.
func (k Key) openImportToken(token []byte) (WrappingAlgorithm, *privateKey, error) {
	plain, err := k.r.box.Open(seal.Tokens, appendImportAAD(nil, k.s.m.ARN), token)
	if errors.Is(err, seal.ErrSealed) {
		return "", nil, err
	}
	if err != nil {
		return "", nil, ErrImportToken
	}
	defer clear(plain)
	t, ok := decodeImportToken(plain)
	if !ok {
		return "", nil, ErrImportToken
	}
	if !k.now().Before(t.until) {
		return "", nil, ErrImportTokenExpired
	}
	private, err := parsePrivate(t.wrapping, t.pkcs8)
	if err != nil {
		return "", nil, ErrImportToken
	}
	return t.algorithm, private, nil
}

// ImportType says whether material is new to a key, spelled as the API's. The
// empty one: it is, if none has ever been imported.
type ImportType string

// The types of imports.
const (
	NewMaterial      ImportType = "NEW_KEY_MATERIAL"
	ExistingMaterial ImportType = "EXISTING_KEY_MATERIAL"
)

// Import is material to be imported.
type Import struct {
	Token, Wrapped []byte
	Expires        time.Time // zero: never

	// Of symmetric keys only.
	Type        ImportType
	MaterialID  string  // that the material must have; empty for any
	Description *string // nil: as it is
}

// Import imports material, and returns its id. All that was wrong with the key for
// lack of it is right then. Action: kms:ImportKeyMaterial.
//
// The first material of a key is the current one from then on. Symmetric keys can
// be given another one, which is pending rotation until they are rotated on
// demand. Apart from that, the material must be one that was imported before.
//
// Errors: *OriginError, *SingleMaterialError, ErrImportToken,
// ErrImportTokenExpired, ErrInvalidCiphertext if it can't be unwrapped,
// *OtherMaterialError, *KnownMaterialError, ErrKeyMaterial if it is none of the
// key's spec, *NotPrimaryError, *PendingMaterialError, ErrStale; ErrParameter
// for a material id with NewMaterial, or if Expires is not in the future.
func (k Key) Import(ctx context.Context, in Import) (string, error) {
	if err := k.mayImport(mayImportMaterial); err != nil {
		return "", err
	}
	spec := k.s.m.Spec
	switch {
	case spec != SymmetricDefault && (in.Type != "" || in.MaterialID != "" || in.Description != nil):
		return "", &SingleMaterialError{ARN: k.s.m.ARN, Spec: spec}
	case in.Type == NewMaterial && in.MaterialID != "", !in.Expires.IsZero() && !in.Expires.After(k.now()):
		return "", ErrParameter
	}
	algorithm, wrapping, err := k.openImportToken(in.Token)
	if err != nil {
		return "", err
	}
	defer wrapping.wipe()
	raw, err := wrapping.unwrap(algorithm, in.Wrapped)
	if err != nil {
		return "", err
	}
	defer clear(raw)
	material, public, err := importedMaterial(spec, raw)
	if err != nil {
		return "", err
	}
	defer clear(material)
	id, err := materialID(k.s.m.Account, k.s.m.ID, material)
	if err != nil {
		return "", err
	}
	if in.MaterialID != "" && in.MaterialID != id {
		return "", &OtherMaterialError{Want: in.MaterialID}
	}
	all, err := k.r.members(ctx, k.s)
	if err != nil {
		return "", err
	}
	changes := make([]keyChange, len(all))
	for i, s := range all {
		m := s.m
		m.Materials = slices.Clone(m.Materials)
		changes[i] = keyChange{s, &m}
	}
	if err := k.take(changes, id, public, in); err != nil {
		return "", err
	}
	token, err := k.r.sealToken(k.s.m.ARN, id, material)
	if err != nil {
		return "", err
	}
	old, there, err := k.r.materialRecord(ctx, &k.s.m, id)
	if err != nil {
		return "", err
	}
	if there && old.Err != nil {
		// It is damaged, and has no value that another could follow.
		tx := k.r.records.Begin()
		tx.Check(k.s.record())
		tx.Delete(old.Record)
		if _, err := tx.Commit(ctx); errors.Is(err, record.ErrConflict) {
			return "", ErrStale
		} else if err != nil {
			return "", fmt.Errorf("removing damaged material of %s: %w", k.s.m.ARN, err)
		}
		there = false
	}
	var gone []record.Record // expired and given up for this one
	for _, c := range changes {
		for _, mat := range c.s.m.Materials {
			if mat.ID == id || slices.ContainsFunc(c.to.Materials, func(m Material) bool { return m.ID == mat.ID }) {
				continue
			}
			rec, there, err := k.r.materialRecord(ctx, c.to, mat.ID)
			if err != nil {
				return "", err
			}
			if there {
				gone = append(gone, rec.Record)
			}
		}
	}
	err = k.r.changeAll(ctx, changed(changes), func(tx *record.Tx) {
		if there {
			tx.Put(old.Record, token)
		} else {
			tx.Create(record.KindMaterial, matKey(k.s.m.Account, k.s.m.Region, k.s.m.ID, id), token)
		}
		for _, rec := range gone {
			tx.Delete(rec)
		}
	})
	return id, err
}

// materialRecord returns the record of a material, if it is there: also a damaged
// one, which can be deleted.
func (r *Ring) materialRecord(ctx context.Context, m *Metadata, id string) (rec record.Found, there bool, err error) {
	found, err := r.records.List(ctx, record.KindMaterial, matKey(m.Account, m.Region, m.ID, id), "", 1)
	if err != nil {
		return rec, false, fmt.Errorf("reading the material of %s: %w", m.ARN, err)
	}
	if len(found) == 0 {
		return rec, false, nil
	}
	return found[0], true, nil
}

// take makes the material with an id one that is here, in the records of the key
// and of all related keys; the key's is the first.
func (k Key) take(changes []keyChange, id string, public []byte, in Import) error {
	m := changes[0].to
	known := func(mat Material) bool { return mat.ID == id }
	i := slices.IndexFunc(m.Materials, known)
	if i >= 0 && !m.Materials[i].here(k.now()) && m.forgets(&m.Materials[i]) {
		i = -1 // it has expired, and the job that removes it has not run yet
	}
	isNew := in.Type == NewMaterial || in.Type == "" && len(m.Materials) == 0
	switch {
	case !isNew && i < 0:
		return &OtherMaterialError{Want: m.MaterialID}
	case isNew && i >= 0:
		return &KnownMaterialError{ARN: m.ARN, ID: id}
	case isNew && m.IsReplica():
		return &NotPrimaryError{ARN: m.ARN}
	case isNew:
		if p := slices.IndexFunc(m.Materials, func(mat Material) bool { return !mat.permanent() && mat.here(k.now()) }); p >= 0 {
			return &PendingMaterialError{ARN: m.ARN, New: id, Pending: m.Materials[p].ID}
		}
		for _, c := range changes {
			c.to.await(id, public)
		}
		i = len(m.Materials) - 1
	}
	mat := &m.Materials[i]
	mat.Imported, mat.Expires = true, in.Expires.UTC().Truncate(time.Millisecond)
	if in.Expires.IsZero() {
		mat.Expires = time.Time{}
	}
	if in.Description != nil {
		for _, c := range changes { // all related keys have it
			if j := slices.IndexFunc(c.to.Materials, known); j >= 0 {
				c.to.Materials[j].Description = *in.Description
			}
		}
	}
	// Importing what the key has already enables it, too, as in AWS.
	if was := k.Metadata().State; (was == PendingImport || was == Disabled && !isNew) && m.complete(k.now()) {
		m.regain()
	}
	all := make([]*Metadata, len(changes))
	for i, c := range changes {
		all[i] = c.to
	}
	awaitImports(all)
	return nil
}

// await adds a material that is not here yet: the first one is the current one,
// any other is pending rotation.
func (m *Metadata) await(id string, public []byte) {
	// One that has expired before it was ever used is no longer wanted.
	m.Materials = slices.DeleteFunc(m.Materials, func(mat Material) bool { return !mat.permanent() })
	mat := Material{ID: id, State: PendingRotation}
	if len(m.Materials) == 0 {
		mat.State = Current
		m.MaterialID, m.PublicKey = id, public
	}
	m.Materials = append(m.Materials, mat)
}

// changed returns the changes that are any, and the first in any case.
func changed(changes []keyChange) []keyChange {
	list := changes[:1:1]
	for _, c := range changes[1:] {
		if !slices.Equal(c.s.m.Materials, c.to.Materials) || c.s.m.State != c.to.State {
			list = append(list, c)
		}
	}
	return list
}

// DeleteMaterial deletes an imported material, the current one if no id is given,
// and returns its id; an empty one if none was ever imported. It is no error if
// it was deleted before. Action: kms:DeleteImportedKeyMaterial. Errors:
// *OriginError, *SingleMaterialError, ErrNotFound, ErrStale.
func (k Key) DeleteMaterial(ctx context.Context, materialID string) (string, error) {
	if err := k.mayImport(mayDeleteMaterial); err != nil {
		return "", err
	}
	m := &k.s.m
	switch {
	case materialID == "":
		materialID = m.MaterialID
	case m.Spec != SymmetricDefault:
		return "", &SingleMaterialError{ARN: m.ARN, Spec: m.Spec}
	}
	if materialID == "" {
		return "", nil
	}
	i := slices.IndexFunc(m.Materials, func(mat Material) bool { return mat.ID == materialID })
	if i < 0 {
		return "", ErrNotFound
	}
	if !m.Materials[i].Imported {
		return materialID, nil
	}
	return materialID, k.dropMaterial(ctx, materialID)
}

// dropMaterial removes an imported material from the key. What was not current
// yet goes from all related keys with the primary's.
func (k Key) dropMaterial(ctx context.Context, id string) error {
	var all []*Subject
	var err error
	m := &k.s.m
	i := slices.IndexFunc(m.Materials, func(mat Material) bool { return mat.ID == id })
	if all = []*Subject{k.s}; m.forgets(&m.Materials[i]) {
		if all, err = k.r.members(ctx, k.s); err != nil {
			return err
		}
	}
	var changes []keyChange
	var records []record.Record
	for _, s := range all {
		to := s.m
		to.Materials = slices.Clone(to.Materials)
		i := slices.IndexFunc(to.Materials, func(mat Material) bool { return mat.ID == id })
		if i < 0 {
			continue
		}
		if mat := &to.Materials[i]; m.forgets(mat) {
			to.Materials = slices.Delete(to.Materials, i, i+1)
		} else {
			mat.Imported, mat.Expires = false, time.Time{}
			to.lose()
		}
		changes = append(changes, keyChange{s, &to})
		rec, there, err := k.r.materialRecord(ctx, &to, id)
		if err != nil {
			return err
		}
		if there {
			records = append(records, rec.Record)
		}
	}
	return k.r.changeAll(ctx, changes, func(tx *record.Tx) {
		for _, rec := range records {
			tx.Delete(rec)
		}
	})
}

// lose is lack, of a key whose record is written: one that is Updating goes on
// doing so.
func (m *Metadata) lose() {
	if m.State == Updating && m.MultiRegion != nil {
		m.MultiRegion = m.MultiRegion.with(func(set *MultiRegion) { set.Resume = PendingImport })
		return
	}
	m.lack()
}

// regain is what ends lack: the key works again.
func (m *Metadata) regain() {
	if m.State != Updating || m.MultiRegion == nil {
		m.State = Enabled
		return
	}
	if m.MultiRegion.Resume == PendingImport {
		m.MultiRegion = m.MultiRegion.with(func(set *MultiRegion) { set.Resume = Enabled })
	}
}

// expire removes the material that the due record says has expired, and puts each
// on record.
func (k Key) expire(ctx context.Context, rec record.Record) error {
	if err := k.may(mayExpire); err != nil {
		return err
	}
	when, _, _ := strings.Cut(strings.TrimPrefix(rec.Key, duePrefix), "/")
	due, err := time.Parse(dueLayout, when)
	if err != nil {
		return fmt.Errorf("%w: due record", errRecord)
	}
	for {
		m := &k.s.m
		i := slices.IndexFunc(m.Materials, func(mat Material) bool {
			return mat.Imported && !mat.Expires.IsZero() && !mat.Expires.After(due)
		})
		if i < 0 {
			return nil
		}
		id := m.Materials[i].ID
		details := []call.Pair{{Name: "keyId", Value: m.ID}}
		if m.Spec == SymmetricDefault {
			details = append(details, call.Pair{Name: "keyMaterialId", Value: id})
		}
		err = k.r.recorded(ctx, event(DeleteExpiredKeyMaterial, m, details...), func(ctx context.Context) error {
			return k.dropMaterial(ctx, id)
		})
		if errors.Is(err, ErrStale) {
			return nil // changed meanwhile, perhaps imported again; the next run looks
		}
		if err != nil {
			return err
		}
		k.r.log.Info("deleted imported material that had expired", "arn", m.ARN, "material", id)
		if k.s, err = k.r.current(ctx, m.Account, m.Region, m.ID); err != nil {
			return err
		}
	}
}
