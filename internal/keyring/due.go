package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Deletion is a key that has been destroyed.
type Deletion struct {
	Account, Region, ID, ARN string
	Due                      time.Time // when its waiting period ended
	MaterialIDs              []string  // destroyed material
}

// A key is destroyed in steps, each a transaction, so that it can be stopped
// anywhere and goes on from there:
//
//	1  PendingDeletion → destroying: from here on nobody finds the key
//	2  its material, in batches
//	3  its aliases, in batches
//	4  its grants, in batches
//	5  the key's record and the due record, by Options.Deleted

// batch is how many aliases, two records each, go in one transaction, which
// also looks at the key; and how many materials.
const batch = 45

// RunDue destroys every key whose waiting period ended at or before now: its
// material first, then its aliases and grants, then the record of the key. It
// goes on where an earlier run was stopped, and leaves what fails for the next run; its
// error is all failures together.
//
// What is due is looked up in the storage keys of due records, and then the
// key's own record decides. So a due record that is damaged does its work all
// the same; and for one that is missing, every run but the first also looks
// through a part of all keys (see [Ring.remind]).
func (r *Ring) RunDue(ctx context.Context, now time.Time) error {
	r.runDue.Lock()
	defer r.runDue.Unlock()
	err := r.destroyDue(ctx, now)
	if ctx.Err() == nil {
		err = errors.Join(err, r.remind(ctx, now))
	}
	return err
}

func (r *Ring) destroyDue(ctx context.Context, now time.Time) error {
	var failures []error
	after := ""
	for {
		found, err := r.records.List(ctx, record.KindDue, duePrefix, after, 100)
		if err != nil {
			return errors.Join(append(failures, fmt.Errorf("listing what is due: %w", err))...)
		}
		if len(found) == 0 {
			return errors.Join(failures...)
		}
		for _, f := range found {
			after = f.Key
			due, account, region, id, ok := splitDueKey(f.Key)
			if due.After(now) {
				return errors.Join(failures...)
			}
			if !ok {
				continue // another sort of job
			}
			if f.Err != nil {
				r.log.Warn("a due record is damaged; its key's own record decides", "record", f.Key, "error", f.Err)
			}
			if err := r.runOne(ctx, now, f.Record, due, account, region, id); err != nil {
				r.log.Error("destroying a key failed", "account", account, "region", region, "key", id, "error", err)
				failures = append(failures, fmt.Errorf("destroying key %s: %w", id, err))
			}
			if ctx.Err() != nil {
				return errors.Join(append(failures, ctx.Err())...)
			}
		}
	}
}

// runOne does what one due record asks for. Of the due record itself only that
// it is there counts.
func (r *Ring) runOne(ctx context.Context, now time.Time, due record.Record, at time.Time, account, region, id string) error {
	s, err := r.current(ctx, account, region, id)
	if errors.Is(err, ErrNotFound) {
		return r.settle(ctx, due, nil)
	}
	if err != nil {
		return err
	}
	m := &s.m
	if !m.Deletion.Equal(at) || m.State != PendingDeletion && m.State != destroying {
		return r.settle(ctx, due, s) // canceled, or scheduled anew
	}
	if m.Deletion.After(now) {
		return nil
	}
	p := authz.System("key deletion").Permit(actionDestroy, s.Resource())
	k, err := r.Open(ctx, nil, p)
	if err != nil {
		return err
	}
	return k.destroy(ctx, due)
}

const (
	// remindEvery is how often all keys are looked through.
	remindEvery = 24 * time.Hour
	// remindKeys is how many of them one run looks at: some milliseconds' work.
	remindKeys = 1000
)

// reminder is how far the look through all keys has come.
type reminder struct {
	runs  int       // of RunDue
	next  time.Time // when the next look begins, if none is under way
	after string    // the last key of the look under way; empty if none is
}

// remind looks for keys that are to be destroyed but have no due record, and
// makes it. None is ever missing but by loss, or if somebody deletes it
// underneath: then the key would be pending deletion forever. A day's look
// through all keys is cut into parts, one to a run; the first run, at the start
// of a node, does none.
func (r *Ring) remind(ctx context.Context, now time.Time) error {
	m := &r.reminder
	if m.runs++; m.runs == 1 || m.after == "" && now.Before(m.next) {
		return nil
	}
	if m.after == "" {
		m.next = now.Add(remindEvery)
	}
	found, err := r.records.List(ctx, record.KindKey, keyPrefix, m.after, remindKeys)
	if err != nil {
		return fmt.Errorf("looking for keys that nothing says are due: %w", err)
	}
	m.after = ""
	if len(found) == remindKeys {
		m.after = found[remindKeys-1].Key
	}
	var failures []error
	for _, f := range found {
		if err := r.remindOf(ctx, f); err != nil {
			failures = append(failures, fmt.Errorf("making a due record for %s: %w", f.Key, err))
		}
	}
	return errors.Join(failures...)
}

// remindOf makes the due record of one key, if it should have one and has none.
func (r *Ring) remindOf(ctx context.Context, f record.Found) error {
	err := f.Err
	var state State
	var deletion time.Time
	if err == nil {
		state, deletion, err = decodeState(f.Value)
	}
	account, region, id, ok := splitKeyKey(f.Key)
	if err != nil || !ok {
		r.damaged(f.Key, err)
		return nil
	}
	if state != PendingDeletion && state != destroying {
		return nil
	}
	key := dueKey(deletion, account, region, id)
	_, err = r.records.Get(ctx, record.KindDue, key)
	if err == nil || errors.Is(err, record.ErrTampered) {
		return nil
	}
	if !errors.Is(err, record.ErrNotFound) {
		return err
	}
	tx := r.records.Begin()
	tx.Check(f.Record)
	tx.Create(record.KindDue, key, []byte{recordVersion})
	if _, err := tx.Commit(ctx); errors.Is(err, record.ErrConflict) {
		return nil // changed meanwhile, by somebody who knows
	} else if err != nil {
		return err
	}
	r.log.Warn("a due record was missing and was made anew", "account", account, "region", region, "key", id, "due", deletion)
	return nil
}

// current reads a key from the store rather than from the cache.
func (r *Ring) current(ctx context.Context, account, region, id string) (*Subject, error) {
	rec, err := r.records.Get(ctx, record.KindKey, keyKey(account, region, id))
	if err != nil {
		return nil, notFound(err)
	}
	return r.newSubject(rec)
}

// settle removes a due record that nothing has to be done for any more, on
// condition that the key is still what it was found to be.
func (r *Ring) settle(ctx context.Context, due record.Record, s *Subject) error {
	tx := r.records.Begin()
	if s != nil {
		tx.Check(s.record())
	}
	tx.Delete(due)
	if _, err := tx.Commit(ctx); err != nil && !errors.Is(err, record.ErrConflict) {
		return fmt.Errorf("removing a due record: %w", err)
	}
	return nil
}

// destroy destroys the key, from whatever step on.
func (k Key) destroy(ctx context.Context, due record.Record) error {
	if err := k.may(mayDestroy); err != nil {
		return err
	}
	s := k.s
	if s.m.State != destroying {
		m := s.m
		m.State = destroying
		if err := k.change(ctx, &m, nil); err != nil {
			return err
		}
		var err error
		if s, err = k.r.current(ctx, m.Account, m.Region, m.ID); err != nil {
			return err
		}
	}
	m := &s.m
	if err := k.r.destroyMaterial(ctx, s); err != nil {
		return err
	}
	if err := k.r.destroyAliases(ctx, s); err != nil {
		return err
	}
	if err := k.r.destroyGrants(ctx, s); err != nil {
		return err
	}
	remove := func(ctx context.Context) error {
		tx := k.r.records.Begin()
		tx.Delete(s.record())
		tx.Delete(due)
		_, err := tx.Commit(ctx)
		return err
	}
	var err error
	if k.r.deleted != nil {
		d := Deletion{Account: m.Account, Region: m.Region, ID: m.ID, ARN: m.ARN, Due: m.Deletion, MaterialIDs: []string{m.MaterialID}}
		err = k.r.deleted(ctx, d, remove)
	} else {
		err = remove(ctx)
	}
	if err != nil {
		return fmt.Errorf("removing the record: %w", err)
	}
	if k.r.census != nil {
		k.r.census.destroyed(keyKey(m.Account, m.Region, ""))
	}
	k.r.log.Info("destroyed a key", "arn", m.ARN, "due", m.Deletion)
	return nil
}

// destroyMaterial removes all material of a key that is being destroyed, also
// what is damaged.
func (r *Ring) destroyMaterial(ctx context.Context, s *Subject) error {
	m := &s.m
	prefix := matKey(m.Account, m.Region, m.ID, "")
	for {
		found, err := r.records.List(ctx, record.KindMaterial, prefix, "", batch)
		if err != nil || len(found) == 0 {
			return err
		}
		tx := r.records.Begin()
		tx.Check(s.record())
		for _, f := range found {
			tx.Delete(f.Record)
		}
		if _, err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("removing material: %w", err)
		}
	}
}

// destroyAliases removes all aliases of a key that is being destroyed. An alias
// whose record is damaged may be another key's by now, and stays.
func (r *Ring) destroyAliases(ctx context.Context, s *Subject) error {
	m := &s.m
	prefix := aliasOfKey(m.Account, m.Region, m.ID, "")
	for {
		found, err := r.records.List(ctx, record.KindAliasOf, prefix, "", batch)
		if err != nil || len(found) == 0 {
			return err
		}
		tx := r.records.Begin()
		tx.Check(s.record())
		for _, f := range found {
			tx.Delete(f.Record)
			byName, err := r.records.Get(ctx, record.KindAlias, aliasKey(m.Account, m.Region, f.Key[len(prefix):]))
			if errors.Is(err, record.ErrNotFound) {
				continue
			}
			var a *alias
			if err == nil {
				a, err = newAlias(byName)
			}
			if errors.Is(err, record.ErrTampered) || errors.Is(err, errRecord) {
				r.damaged(aliasKey(m.Account, m.Region, f.Key[len(prefix):]), err)
				continue
			}
			if err != nil {
				return err
			}
			if a.targetID == m.ID {
				tx.Delete(byName)
			}
		}
		if _, err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("removing aliases: %w", err)
		}
	}
}

// NextDue returns when the next key is to be destroyed; zero if none is.
func (r *Ring) NextDue(ctx context.Context) (time.Time, error) {
	after := ""
	for {
		keys, err := r.records.Keys(ctx, duePrefix, after, 10)
		if err != nil {
			return time.Time{}, fmt.Errorf("listing what is due: %w", err)
		}
		if len(keys) == 0 {
			return time.Time{}, nil
		}
		for _, key := range keys {
			if due, _, _, _, ok := splitDueKey(key); ok {
				return due, nil
			}
			after = key
		}
	}
}
