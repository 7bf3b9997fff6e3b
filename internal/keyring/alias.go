package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/record"
)

// An alias is two records: by its name, which makes it unique in an account and
// Region, and among the aliases of its key. The key's own record counts them.
// All three change in one transaction, so the count is exact.

// aliasPermit checks the permit for the alias itself.
func (k Key) aliasPermit(p authz.Permit, action, name string) error {
	if !validAlias(name) {
		return ErrParameter
	}
	m := &k.s.m
	if p.Action() != action || p.Account() != m.Account {
		return authz.ErrNoPermit
	}
	return p.Check(k.c, arn.Alias(m.Region, m.Account, name))
}

// CreateAlias makes an alias of the key. Both permits are for kms:CreateAlias:
// the key's, and alias on the alias's ARN. Errors: ErrExists, ErrLimit, ErrStale.
func (k Key) CreateAlias(ctx context.Context, alias authz.Permit, name string) error {
	if err := k.may(mayCreateAlias); err != nil {
		return err
	}
	if err := k.aliasPermit(alias, "kms:CreateAlias", name); err != nil {
		return err
	}
	m := k.s.m
	// Looked for first, since a name that is taken is told before a limit.
	switch _, err := k.r.findAlias(ctx, m.Account, m.Region, name); {
	case err == nil:
		return ErrExists
	case !errors.Is(err, ErrNotFound):
		return err
	}
	if m.Aliases >= MaxAliases {
		return ErrLimit
	}
	names, err := k.r.aliasesOf(ctx, k.s)
	if err != nil {
		return err
	}
	m.Aliases, m.aliasNames = m.Aliases+1, withAlias(names, name)
	now := k.now()
	return k.change(ctx, &m, func(tx *record.Tx) {
		tx.Create(record.KindAlias, aliasKey(m.Account, m.Region, name), appendAlias(nil, m.ID, now, now))
		tx.Create(record.KindAliasOf, aliasOfKey(m.Account, m.Region, m.ID, name), appendAliasOf(nil, now, now))
	})
}

// UpdateAlias points an alias of the key at another key, which may be the same.
// All three permits are for kms:UpdateAlias. Errors: ErrNotFound (no such
// alias), ErrIncompatible, ErrLimit, a *StateError for to, ErrStale (also if
// the alias is not of k any more).
func (k Key) UpdateAlias(ctx context.Context, alias authz.Permit, name string, to Key) error {
	if err := k.may(mayUpdateAlias); err != nil {
		return err
	}
	if err := to.may(mayUpdateAlias); err != nil || to.r != k.r || to.c != k.c {
		return authz.ErrNoPermit
	}
	if err := k.aliasPermit(alias, "kms:UpdateAlias", name); err != nil {
		return err
	}
	from, target := k.s.m, to.s.m
	if from.Account != target.Account || from.Region != target.Region {
		return fmt.Errorf("%w: an alias of another account or Region", ErrParameter)
	}
	if target.State.set()&inPending != 0 {
		return &StateError{ARN: target.ARN, State: target.State}
	}
	if family(from.Spec) != family(target.Spec) || from.Usage != target.Usage {
		return ErrIncompatible
	}
	byName, ofKey, err := k.aliasRecords(ctx, name)
	if err != nil {
		return err
	}
	now := k.now()
	created := byName.created
	if from.ID == target.ID {
		tx := k.r.records.Begin()
		tx.Check(k.s.record())
		tx.Put(byName.rec, appendAlias(nil, from.ID, created, now))
		tx.Put(ofKey, appendAliasOf(nil, created, now))
		return aliasOutcome(tx.Commit(ctx))
	}
	if target.Aliases >= MaxAliases {
		return ErrLimit
	}
	fromNames, err := k.r.aliasesOf(ctx, k.s)
	if err != nil {
		return err
	}
	targetNames, err := k.r.aliasesOf(ctx, to.s)
	if err != nil {
		return err
	}
	from.Aliases, from.aliasNames = max(from.Aliases-1, 0), withoutAlias(fromNames, name)
	target.Aliases, target.aliasNames = target.Aliases+1, withAlias(targetNames, name)
	value, err := appendKey(nil, &target)
	if err != nil {
		return err
	}
	err = k.change(ctx, &from, func(tx *record.Tx) {
		tx.Put(to.s.record(), value)
		tx.Put(byName.rec, appendAlias(nil, target.ID, created, now))
		tx.Delete(ofKey)
		tx.Create(record.KindAliasOf, aliasOfKey(target.Account, target.Region, target.ID, name), appendAliasOf(nil, created, now))
	})
	if err == nil {
		to.s.end()
	}
	return err
}

// DeleteAlias removes an alias of the key. Both permits are for
// kms:DeleteAlias. Errors: ErrNotFound (no such alias), ErrStale (also if the
// alias is not of k any more).
func (k Key) DeleteAlias(ctx context.Context, alias authz.Permit, name string) error {
	if err := k.may(mayDeleteAlias); err != nil {
		return err
	}
	if err := k.aliasPermit(alias, "kms:DeleteAlias", name); err != nil {
		return err
	}
	byName, ofKey, err := k.aliasRecords(ctx, name)
	if err != nil {
		return err
	}
	m := k.s.m
	names, err := k.r.aliasesOf(ctx, k.s)
	if err != nil {
		return err
	}
	m.Aliases, m.aliasNames = max(m.Aliases-1, 0), withoutAlias(names, name)
	return k.change(ctx, &m, func(tx *record.Tx) {
		tx.Delete(byName.rec)
		tx.Delete(ofKey)
	})
}

// aliasRecords reads both records of an alias, which must be of k.
func (k Key) aliasRecords(ctx context.Context, name string) (byName *alias, ofKey record.Record, err error) {
	m := &k.s.m
	rec, err := k.r.records.Get(ctx, record.KindAlias, aliasKey(m.Account, m.Region, name))
	if err != nil {
		return nil, ofKey, notFound(err)
	}
	if byName, err = newAlias(rec); err != nil {
		return nil, ofKey, err
	}
	if byName.targetID != m.ID {
		return nil, ofKey, ErrStale
	}
	ofKey, err = k.r.records.Get(ctx, record.KindAliasOf, aliasOfKey(m.Account, m.Region, m.ID, name))
	if errors.Is(err, record.ErrNotFound) {
		return nil, ofKey, ErrStale // moved between the two reads
	}
	return byName, ofKey, err
}

// aliasOutcome makes package record's conflict ours.
func aliasOutcome[R any](_ R, err error) error {
	if errors.Is(err, record.ErrConflict) {
		return ErrStale
	}
	if err != nil {
		return fmt.Errorf("changing an alias: %w", err)
	}
	return nil
}

// family returns what an alias can't move away from: symmetric, HMAC or asymmetric.
func family(s Spec) int {
	switch {
	case s == SymmetricDefault:
		return 1
	case s.asymmetric():
		return 2
	}
	return 3
}
