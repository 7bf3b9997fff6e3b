package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Event is something that the ring does to a key by itself, and that is put on
// record, as an event of the service.
type Event struct {
	Name                     string // in CloudTrail
	Account, Region, ID, ARN string // of the key
	Details                  []call.Pair

	// RequestID is of what CloudTrail shows as a call of the service to itself:
	// a UUID; empty for other events.
	RequestID string
}

// The names of events.
const (
	DeleteKey = "DeleteKey" // a key's destruction
	RotateKey = "RotateKey" // of its material

	DeleteExpiredKeyMaterial = "DeleteExpiredKeyMaterial" // that was imported

	// The primary key's material and properties have reached a replica.
	SynchronizeMultiRegionKey = "SynchronizeMultiRegionKey"
)

// event returns an event of a key.
func event(name string, m *Metadata, details ...call.Pair) Event {
	return Event{Name: name, Account: m.Account, Region: m.Region, ID: m.ID, ARN: m.ARN, Details: details}
}

// recorded commits a change that is an event.
func (r *Ring) recorded(ctx context.Context, e Event, commit func(context.Context) error) error {
	if r.onRecord == nil {
		return commit(ctx)
	}
	return r.onRecord(ctx, e, commit)
}

// A key is destroyed in steps, each a transaction, so that it can be stopped
// anywhere and goes on from there:
//
//	1  PendingDeletion → destroying: from here on nobody finds the key
//	2  its material, in batches
//	3  its aliases, in batches
//	4  its grants, in batches
//	5  the key's record, that of its last use, and the due record, by Options.Record;
//	   related multi-Region keys forget it

// batch is how many aliases, two records each, go in one transaction, which
// also looks at the key; and how many materials.
const batch = 45

// RunDue does what is due at or before now. Every key whose waiting period has
// ended is destroyed: its material first, then its aliases and grants, then the
// record of the key. It goes on where an earlier run was stopped, and leaves what
// fails for the next run; its error is all failures together.
//
// What is due is looked up in the storage keys of due records, and then the
// key's own record decides. So a due record that is damaged does its work all
// the same; and for one that is missing, every run but the first also looks
// through a part of all keys (see [Ring.remind]).
func (r *Ring) RunDue(ctx context.Context, now time.Time) error {
	r.runDue.Lock()
	defer r.runDue.Unlock()
	err := r.doDue(ctx, now)
	if ctx.Err() == nil {
		err = errors.Join(err, r.remind(ctx, now))
	}
	return err
}

func (r *Ring) doDue(ctx context.Context, now time.Time) error {
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
			d, account, region, id, ok := splitDueKey(f.Key)
			if d.at.After(now) {
				return errors.Join(failures...)
			}
			if !ok {
				continue // another sort of job
			}
			if f.Err != nil {
				r.log.Warn("a due record is damaged; its key's own record decides", "record", f.Key, "error", f.Err)
			}
			if err := r.runOne(ctx, now, f.Record, d, account, region, id); err != nil {
				r.log.Error("what is due for a key failed", "job", d.job, "account", account, "region", region, "key", id, "error", err)
				failures = append(failures, fmt.Errorf("job %s of key %s: %w", d.job, id, err))
			}
			if ctx.Err() != nil {
				return errors.Join(append(failures, ctx.Err())...)
			}
		}
	}
}

// runOne does what one due record asks for. Of the due record itself only that
// it is there counts.
func (r *Ring) runOne(ctx context.Context, now time.Time, rec record.Record, d due, account, region, id string) error {
	s, err := r.current(ctx, account, region, id)
	if errors.Is(err, ErrNotFound) {
		return r.settle(ctx, rec, nil)
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(dues(&s.m), d.is) {
		return r.settle(ctx, rec, s) // canceled, done, or put off
	}
	if d.at.After(now) {
		return nil
	}
	p := authz.System(jobs[d.job].purpose).Permit(jobs[d.job].action, s.Resource())
	k, err := r.Open(ctx, nil, p)
	if err != nil {
		return err
	}
	k.at = now.UTC().Truncate(time.Millisecond)
	return jobs[d.job].do(k, ctx, rec)
}

// remember changes due records along with the record of a key.
func (r *Ring) remember(ctx context.Context, tx *record.Tx, before, after *Metadata) error {
	was, is := dues(before), dues(after)
	for _, d := range was {
		if slices.ContainsFunc(is, d.is) {
			continue
		}
		rec, err := r.dueRecord(ctx, d, before)
		// One that is damaged stays: it does nothing to a key for which nothing is due.
		if err == nil {
			tx.Delete(rec)
		} else if !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrTampered) {
			return fmt.Errorf("reading what is due: %w", err)
		}
	}
	for _, d := range is {
		if slices.ContainsFunc(was, d.is) {
			continue
		}
		rec, err := r.dueRecord(ctx, d, after)
		switch {
		case errors.Is(err, record.ErrNotFound):
			tx.Create(record.KindDue, dueKey(d, after.Account, after.Region, after.ID), []byte{recordVersion})
		case err == nil:
			tx.Check(rec) // left over, and about to be settled, perhaps
		case !errors.Is(err, record.ErrTampered):
			return fmt.Errorf("reading what is due: %w", err)
		}
	}
	return nil
}

func (r *Ring) dueRecord(ctx context.Context, d due, m *Metadata) (record.Record, error) {
	return r.records.Get(ctx, record.KindDue, dueKey(d, m.Account, m.Region, m.ID))
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

// remind looks for keys for which something is due that has no due record, and
// makes it. None is ever missing but by loss, or if somebody deletes it
// underneath: then the key would be pending deletion forever, say. A day's look
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

// remindOf makes the due records of one key that it should have and has not.
func (r *Ring) remindOf(ctx context.Context, f record.Found) error {
	err := f.Err
	var m Metadata
	if err == nil {
		err = decodeKey(&m, f.Key, f.Value)
	}
	if err != nil {
		r.damaged(f.Key, err)
		return nil
	}
	tx := r.records.Begin()
	tx.Check(f.Record)
	var missing []due
	for _, d := range dues(&m) {
		_, err = r.dueRecord(ctx, d, &m)
		if errors.Is(err, record.ErrNotFound) {
			tx.Create(record.KindDue, dueKey(d, m.Account, m.Region, m.ID), []byte{recordVersion})
			missing = append(missing, d)
		} else if err != nil && !errors.Is(err, record.ErrTampered) {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := tx.Commit(ctx); errors.Is(err, record.ErrConflict) {
		return nil // changed meanwhile, by somebody who knows
	} else if err != nil {
		return err
	}
	for _, d := range missing {
		r.log.Warn("a due record was missing and was made anew", "account", m.Account, "region", m.Region, "key", m.ID, "job", d.job, "due", d.at)
	}
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
func (r *Ring) settle(ctx context.Context, rec record.Record, s *Subject) error {
	tx := r.records.Begin()
	if s != nil {
		tx.Check(s.record())
	}
	tx.Delete(rec)
	if _, err := tx.Commit(ctx); err != nil && !errors.Is(err, record.ErrConflict) {
		return fmt.Errorf("removing a due record: %w", err)
	}
	return nil
}

// destroy destroys the key, from whatever step on.
func (k Key) destroy(ctx context.Context, rec record.Record) error {
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
	err := k.r.recorded(ctx, event(DeleteKey, m), func(ctx context.Context) error {
		tx := k.r.records.Begin()
		tx.Delete(s.record())
		tx.Delete(rec)
		if err := errors.Join(k.r.dropUse(ctx, tx, m), k.r.part(ctx, tx, s)); err != nil {
			return err
		}
		_, err := tx.Commit(ctx)
		return err
	})
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

// NextDue returns when something is to be done to a key next; zero if nothing is.
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
			if d, _, _, _, ok := splitDueKey(key); ok {
				return d.at, nil
			}
			after = key
		}
	}
}
