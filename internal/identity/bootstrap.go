package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// AdministratorName is the name of the user that the first start makes.
const AdministratorName = "administrator"

// Bootstrap says what the first start makes. The zero value is usable.
type Bootstrap struct {
	// Account is the id of the management account; random if empty.
	Account string
	// AccessKeyID and Secret are the administrator's access key; made if empty.
	AccessKeyID string
	Secret      secret.Bytes
}

// Installation is what the first start made.
type Installation struct {
	Account       string // id of the management account
	Administrator string // name of its first user
	AccessKeyID   string // the first access key of that user
	New           bool   // it was made just now
}

// Bootstrap makes the management account, its user administrator with
// AdministratorAccess, and an access key, all at once; or, if that was done
// before, returns what was made then, whatever has become of it. It is an error
// if it was done for another account than b names, and a [record.ErrTampered]
// if there is something in the store, but not what was made first.
func (d *Directory) Bootstrap(ctx context.Context, b Bootstrap) (Installation, error) {
	in, err := d.Installation(ctx)
	if errors.Is(err, ErrNotFound) {
		in, err = d.bootstrap(ctx, b)
	}
	if err == nil {
		err = d.upgrade(ctx)
	}
	if err != nil {
		return Installation{}, err
	}
	if b.Account != "" && b.Account != in.Account {
		return Installation{}, &wrongAccount{b.Account, in.Account}
	}
	return in, nil
}

// wrongAccount is the refusal to change the management account.
type wrongAccount struct{ want, have string }

func (e *wrongAccount) Error() string {
	return "the management account is " + e.have + ", not " + e.want
}

// Hint returns what to do about it.
func (e *wrongAccount) Hint() string {
	return "an installation keeps its management account: leave the account out, or start with an empty data directory"
}

func (d *Directory) bootstrap(ctx context.Context, b Bootstrap) (Installation, error) {
	owner := &account{Account: Account{ID: b.Account, Name: "management", Management: true, Created: d.stamp()}}
	if owner.ID == "" {
		owner.ID = NewAccountID()
	}
	key := AccessKey{ID: b.AccessKeyID, Account: owner.ID, Active: true, Created: d.stamp(), Secret: b.Secret}
	if key.ID == "" {
		key.ID, key.Secret = newAccessKeyID("AKIA", owner.ID), newSecretAccessKey()
		defer key.Secret.Wipe()
	}
	if err := errors.Join(owner.Check(), CheckAccessKey(key.ID, key.Secret)); err != nil {
		return Installation{}, err
	}
	user := &entity{
		kind: UserEntity, account: owner.ID, name: AdministratorName, path: "/", id: newUniqueID(kinds[UserEntity].letters), created: d.stamp(),
		attached:   []reference{{Name: call.AdministratorAccess, Value: awsPolicyID(call.AdministratorAccess)}},
		accessKeys: []string{key.ID},
	}
	key.User, key.UserID = user.name, user.id
	// All that an installation has begins with this. Where it is missing and
	// other things are not, it was taken away, and is not made again: the
	// administrator's access key would come back with it.
	blank, err := d.rs.Blank(ctx)
	if err != nil {
		return Installation{}, fmt.Errorf("making the management account: %w", err)
	}
	if !blank {
		in, err := d.Installation(ctx) // another node was faster
		return in, takenAway(err)
	}
	in := Installation{Account: owner.ID, Administrator: user.name, AccessKeyID: key.ID, New: true}

	value := key.encode()
	defer clear(value)
	tx := d.rs.Begin()
	tx.Create(record.KindSystem, rootKey, in.encode())
	tx.Create(record.KindAccount, accountKey(owner.ID), owner.encode())
	tx.Create(record.KindUser, user.key(), user.encode())
	tx.Create(record.KindUnique, uniqueKey(user.id), unique{UserEntity, owner.ID, user.name}.encode())
	tx.Create(record.KindAccessKey, accessKeyKey(key.ID), value)
	tx.Create(record.KindSystem, seededKey, encodeSeeded(nil))
	_, err = tx.Commit(ctx)
	if errors.Is(err, record.ErrConflict) {
		// Another node was faster; or something else is in the way.
		if other, err := d.Installation(ctx); err == nil {
			return other, nil
		}
	}
	if err != nil {
		return Installation{}, fmt.Errorf("making the management account: %w", err)
	}
	return in, nil
}

// takenAway makes the absence of a record that every installation has what it
// is: an ErrTampered.
func takenAway(err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return hint.Add(fmt.Errorf("%w: %w; every installation has it", record.ErrTampered, err),
		"somebody or something has deleted a record from the store: restore a backup, and start once with --accept-rollback")
}

// Installation returns what the first start made, or ErrNotFound before it.
func (d *Directory) Installation(ctx context.Context) (Installation, error) {
	in, _, err := load(ctx, d.rs, record.KindSystem, rootKey, "the management account", decodeInstallation)
	return in, err
}

// upgrade lists the users of an installation that was made before unique ids
// were listed, once.
func (d *Directory) upgrade(ctx context.Context) error {
	rec, err := d.rs.Get(ctx, record.KindSystem, rootKey)
	if err != nil {
		return fmt.Errorf("reading the management account: %w", err)
	}
	in, err := decodeInstallation(rec)
	if err != nil {
		return fmt.Errorf("reading the management account: %w", err)
	}
	if rec.Value[0] >= identityVersion {
		return nil
	}
	decode := decodeEntity(UserEntity)
	after := ""
	for {
		found, err := d.rs.List(ctx, record.KindUser, userPrefix, after, 0)
		if err != nil {
			return fmt.Errorf("listing the users by unique id: %w", err)
		}
		for _, f := range found {
			after = f.Key
			if f.Err != nil {
				d.log.Error("a user cannot be read and is not listed by its unique id", "key", f.Key, "cause", f.Err)
				continue
			}
			u, err := decode(f.Record)
			if err != nil {
				return fmt.Errorf("listing the users by unique id: %s: %w", f.Key, err)
			}
			tx := d.rs.Begin()
			tx.Create(record.KindUnique, uniqueKey(u.id), unique{UserEntity, u.account, strings.ToLower(u.name)}.encode())
			// In the way there is only what an attempt before has made.
			if _, err := tx.Commit(ctx); err != nil && !errors.Is(err, record.ErrConflict) {
				return fmt.Errorf("listing the users by unique id: %w", err)
			}
		}
		if len(found) == 0 {
			break
		}
	}
	tx := d.rs.Begin()
	tx.Put(rec, in.encode())
	if _, err := tx.Commit(ctx); err != nil && !errors.Is(err, record.ErrConflict) {
		return fmt.Errorf("listing the users by unique id: %w", err)
	}
	return nil
}

func (in *Installation) encode() []byte {
	b := []byte{identityVersion}
	b = appendString(b, in.Account)
	b = appendString(b, in.Administrator)
	return appendString(b, in.AccessKeyID)
}

func decodeInstallation(rec record.Record) (Installation, error) {
	r := newReader(rec.Value, identityVersion)
	in := Installation{Account: r.string(), Administrator: r.string(), AccessKeyID: r.string()}
	return in, r.end()
}
