package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
)

// KeyEntry is a key in a list.
type KeyEntry struct{ ID, ARN string }

// Keys lists the keys of an account and Region by id: up to limit (1 to 1000)
// that come after the id after, or from the first if after is empty; more says
// that there are others. The permit is for kms:ListKeys on "*" of the account.
// A record that is damaged is left out, and logged. Error: ErrParameter for an
// account, Region, limit or after that can't be one.
func (r *Ring) Keys(ctx context.Context, c *call.Call, p authz.Permit, account, region, after string, limit int) (keys []KeyEntry, more bool, err error) {
	if p.Action() != "kms:ListKeys" || p.CheckAll(c, account) != nil {
		return nil, false, authz.ErrNoPermit
	}
	if !validScope(account, region) || limit < 1 || limit > 1000 || len(after) > maxAfter {
		return nil, false, ErrParameter
	}
	prefix := keyPrefix + account + "/" + region + "/"
	keys = make([]KeyEntry, 0, limit)
	more, err = r.page(ctx, record.KindKey, prefix, after, limit, func(rec record.Record) (bool, error) {
		state, _, err := decodeState(rec.Value)
		if err != nil || state == destroying {
			return false, err
		}
		id := rec.Key[len(prefix):]
		keys = append(keys, KeyEntry{ID: id, ARN: arn.Key(region, account, id)})
		return true, nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("listing keys: %w", err)
	}
	return keys, more, nil
}

// maxAfter bounds what a list can be asked to go on after.
const maxAfter = 512

// Alias is an alias in a list.
type Alias struct {
	Name     string // begins with "alias/"
	ARN      string
	TargetID string // key id
	Created  time.Time
	Updated  time.Time
}

// Aliases lists the aliases of an account and Region by name, only those of
// one key if keyID is not empty: up to limit (1 to 100) that come after the
// name after, or from the first if after is empty; more says that there are
// others. The permit is for kms:ListAliases on "*" of the account. What is
// damaged, and errors, are as of Keys.
func (r *Ring) Aliases(ctx context.Context, c *call.Call, p authz.Permit, account, region, keyID, after string, limit int) (aliases []Alias, more bool, err error) {
	if p.Action() != "kms:ListAliases" || p.CheckAll(c, account) != nil {
		return nil, false, authz.ErrNoPermit
	}
	if !validScope(account, region) || limit < 1 || limit > 100 || len(after) > maxAfter {
		return nil, false, ErrParameter
	}
	kind := record.KindAlias
	prefix := aliasPrefix + account + "/" + region + "/"
	if keyID != "" {
		if !validName(account, region, keyID) {
			return nil, false, ErrParameter
		}
		kind = record.KindAliasOf
		prefix = aliasOfPrefix + account + "/" + region + "/" + keyID + "/"
	}
	aliases = make([]Alias, 0, limit)
	more, err = r.page(ctx, kind, prefix, after, limit, func(rec record.Record) (bool, error) {
		a := Alias{Name: rec.Key[len(prefix):], TargetID: keyID}
		a.ARN = arn.Alias(region, account, a.Name)
		var err error
		if keyID == "" {
			a.TargetID, a.Created, a.Updated, err = decodeAlias(rec.Value)
		} else {
			a.Created, a.Updated, err = decodeAliasOf(rec.Value)
		}
		if err != nil {
			return false, err
		}
		aliases = append(aliases, a)
		return true, nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("listing aliases: %w", err)
	}
	return aliases, more, nil
}

// page calls take with the records below prefix that come after prefix+after,
// until it has taken limit of them, and reports whether there are more. What
// does not open, or what take has an error for, is logged and left out: it
// must not hide all the others.
func (r *Ring) page(ctx context.Context, kind record.Kind, prefix, after string, limit int, take func(record.Record) (bool, error)) (more bool, err error) {
	last := ""
	if after != "" {
		last = prefix + after
	}
	for taken := 0; ; {
		want := limit - taken + 1 // one more tells whether there are more
		found, err := r.records.List(ctx, kind, prefix, last, want)
		if err != nil {
			return false, err
		}
		for _, f := range found {
			if taken == limit {
				return true, nil
			}
			ok, err := false, f.Err
			if err == nil {
				ok, err = take(f.Record)
			}
			if err != nil {
				r.damaged(f.Key, err)
			}
			if ok {
				taken++
			}
		}
		if len(found) < want {
			return false, nil
		}
		last = found[len(found)-1].Key
	}
}

// damaged logs a record that a list goes without.
func (r *Ring) damaged(key string, err error) {
	r.log.Error("a damaged record was passed over", "record", key, "error", err)
}
