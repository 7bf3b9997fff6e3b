package identity

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

func (e *entity) user() User {
	return User{
		Account: e.account, Name: e.name, Path: e.path, ID: e.id, ARN: e.arn(), Created: e.created,
		Tags: e.tags, Boundary: e.boundary.Name, Policies: names(e.attached),
		AccessKeys: e.accessKeys, Groups: e.groups, NotBefore: e.notBefore,
	}
}

// Check returns what is wrong with the user's account, name, path, tags and
// number of policies, an ErrInvalid.
func (u *User) Check() error {
	if err := (Entity{UserEntity, u.Account, u.Name}).Check(); err != nil {
		return err
	}
	if u.Path != "" {
		if err := checkPath(u.Path); err != nil {
			return err
		}
	}
	if err := CheckTags(u.Tags); err != nil {
		return err
	}
	return checkPolicies(u.Account, u.Policies)
}

// checkPolicies returns what is wrong with a list of policies to be attached.
func checkPolicies(account string, arns []string) error {
	if len(arns) > MaxAttached {
		return fmt.Errorf("%w: more than %d policies", ErrInvalid, MaxAttached)
	}
	for i, p := range arns {
		owner, _, _, err := parsePolicyARN(p)
		if err != nil || owner == "" && awsManaged[p] == nil || owner != "" && owner != account {
			return fmt.Errorf("%w: policy %q is not known in account %s", ErrInvalid, p, account)
		}
		if slices.Contains(arns[:i], p) {
			return fmt.Errorf("%w: policy %q stands twice", ErrInvalid, p)
		}
	}
	return nil
}

// CreateUser makes a user: its unique id and ARN are made, its path is "/" if
// none is given, it has no access keys, and the time is now. Tags, boundary and
// policies are those given. Names that differ only in case are one name.
// Errors: ErrExists, ErrInvalid, ErrLimit, and ErrNotFound if there is no such
// account, boundary or policy.
func (d *Directory) CreateUser(ctx context.Context, u User) (User, error) {
	if err := u.Check(); err != nil {
		return User{}, err
	}
	e := newUser(&u)
	if err := d.create(ctx, e); err != nil {
		return User{}, err
	}
	return e.user(), nil
}

func newUser(u *User) *entity {
	e := &entity{kind: UserEntity, account: u.Account, name: u.Name, path: u.Path, tags: u.Tags, boundary: reference{Name: u.Boundary}}
	for _, arn := range u.Policies {
		e.attached = append(e.attached, reference{Name: arn})
	}
	return e
}

// User returns a user, or ErrNotFound.
func (d *Directory) User(ctx context.Context, account, name string) (User, error) {
	e, _, err := d.entity(ctx, Entity{UserEntity, account, name})
	if err != nil {
		return User{}, err
	}
	return e.user(), nil
}

// UserByID returns the user with a unique id (AIDA…), or ErrNotFound.
func (d *Directory) UserByID(ctx context.Context, id string) (User, error) {
	e, err := d.entityByID(ctx, id)
	if err != nil {
		return User{}, err
	}
	if e.kind != UserEntity {
		return User{}, &Error{ErrNotFound, "The user with id " + id + " cannot be found."}
	}
	return e.user(), nil
}

// Users returns a page of an account's users, ordered by lower-cased name, and
// the marker of the next page, empty if there is none.
func (d *Directory) Users(ctx context.Context, account string, p Page) ([]User, string, error) {
	list, next, err := d.list(ctx, UserEntity, account, p, nil)
	return views(list, (*entity).user), next, err
}

func views[V any](list []*entity, view func(*entity) V) []V {
	var all []V
	for _, e := range list {
		all = append(all, view(e))
	}
	return all
}

// UpdateUser gives a user another name or path; an empty one stays. Unique id,
// access keys, memberships and policies stay. Errors: ErrNotFound, ErrExists,
// ErrInvalid.
func (d *Directory) UpdateUser(ctx context.Context, account, name, newName, newPath string) error {
	var secrets [][]byte
	defer func() {
		for _, value := range secrets {
			clear(value)
		}
	}()
	return d.rename(ctx, Entity{UserEntity, account, name}, newName, newPath, func(tx *record.Tx, e *entity) error {
		for _, id := range e.accessKeys {
			k, rec, err := d.loadAccessKey(ctx, id)
			if errors.Is(err, ErrNotFound) {
				continue // deleted underneath
			}
			if err != nil {
				return err
			}
			k.User = e.name
			value := k.encode()
			k.Secret.Wipe()
			secrets = append(secrets, value)
			tx.Put(rec, value)
		}
		return nil
	})
}

// DeleteUser deletes a user that has no access keys, policies and memberships.
// Errors: ErrNotFound, ErrConflict.
func (d *Directory) DeleteUser(ctx context.Context, account, name string) error {
	return d.remove(ctx, Entity{UserEntity, account, name}, func(e *entity) error {
		switch {
		case len(e.accessKeys) > 0:
			return &Error{ErrConflict, "Cannot delete entity, must delete access keys first."}
		case len(e.groups) > 0:
			return &Error{ErrConflict, "Cannot delete entity, must remove users from group first."}
		}
		return nil
	})
}

// CreateAccessKey makes an active access key for a user; for the account's root
// user if the name is empty. Without an id, id and secret are made; with one,
// both must be given, and the secret is copied. The caller wipes the secret that
// is returned. Errors: ErrNotFound if there is no such user, ErrLimit if it has
// two already, ErrExists, ErrInvalid.
func (d *Directory) CreateAccessKey(ctx context.Context, account, user, id string, secretAccessKey secret.Bytes) (AccessKey, error) {
	if id == "" {
		id, secretAccessKey = newAccessKeyID("AKIA", account), newSecretAccessKey()
	} else {
		if err := CheckAccessKey(id, secretAccessKey); err != nil {
			return AccessKey{}, err
		}
		secretAccessKey = secret.New(slices.Clone(secretAccessKey.Reveal()))
	}
	k := AccessKey{ID: id, Account: account, Secret: secretAccessKey, Active: true, Created: d.stamp()}
	err := d.retry(ctx, func() error {
		tx := d.rs.Begin()
		if err := d.changeKeys(ctx, tx, &k, user, func(ids []string) ([]string, error) {
			if len(ids) >= MaxAccessKeys {
				return nil, overQuota("AccessKeysPerUser", MaxAccessKeys)
			}
			return append(slices.Clone(ids), id), nil
		}); err != nil {
			return err
		}
		if old, err := d.rs.Get(ctx, record.KindAccessKey, accessKeyKey(id)); err == nil {
			clear(old.Value)
			return fmt.Errorf("%w: access key %s", ErrExists, id)
		} else if !errors.Is(err, record.ErrNotFound) {
			return fmt.Errorf("making access key %s: %w", id, err)
		}
		value := k.encode()
		defer clear(value)
		tx.Create(record.KindAccessKey, accessKeyKey(id), value)
		return d.commit(ctx, tx, "making access key "+id)
	})
	if err != nil {
		secretAccessKey.Wipe()
		return AccessKey{}, err
	}
	return k, nil
}

// changeKeys changes the list of access keys of a user, or of the root user if
// the name is empty, and fills in whose key k is.
func (d *Directory) changeKeys(ctx context.Context, tx *record.Tx, k *AccessKey, user string, change func(ids []string) ([]string, error)) error {
	if user == "" {
		a, rec, err := d.loadAccount(ctx, k.Account)
		if err != nil {
			return err
		}
		next := *a
		if next.AccessKeys, err = change(a.AccessKeys); err != nil {
			return err
		}
		k.User, k.UserID = "", a.ID
		tx.Put(rec, next.encode())
		return nil
	}
	u, rec, err := d.entity(ctx, Entity{UserEntity, k.Account, user})
	if err != nil {
		return err
	}
	next := *u
	if next.accessKeys, err = change(u.accessKeys); err != nil {
		return err
	}
	k.User, k.UserID = u.name, u.id
	tx.Put(rec, next.encode())
	return nil
}

// AccessKey returns an access key, or ErrNotFound, also if its user has gone.
// The caller wipes the secret.
func (d *Directory) AccessKey(ctx context.Context, id string) (AccessKey, error) {
	k, _, err := d.loadAccessKey(ctx, id)
	if err != nil {
		return AccessKey{}, err
	}
	if err := d.owned(ctx, k); err != nil {
		k.Secret.Wipe()
		return AccessKey{}, err
	}
	return *k, nil
}

// owned returns ErrNotFound if the user that k names is gone, is another by
// now, or does not have it.
func (d *Directory) owned(ctx context.Context, k *AccessKey) error {
	if k.User == "" {
		a, _, err := d.loadAccount(ctx, k.Account)
		if err != nil {
			return err
		}
		if k.ofRoot(a) {
			return nil
		}
	} else {
		u, _, err := d.entity(ctx, Entity{UserEntity, k.Account, k.User})
		if err != nil {
			return err
		}
		if k.belongsTo(u) {
			return nil
		}
	}
	return fmt.Errorf("%w: access key %s: its user was deleted", ErrNotFound, k.ID)
}

// AccessKeys returns the access keys of a user, of the root user if the name is
// empty, without their secrets, in the order in which they were made.
func (d *Directory) AccessKeys(ctx context.Context, account, user string) ([]AccessKey, error) {
	var ids []string
	if user == "" {
		a, _, err := d.loadAccount(ctx, account)
		if err != nil {
			return nil, err
		}
		ids = a.AccessKeys
	} else {
		u, _, err := d.entity(ctx, Entity{UserEntity, account, user})
		if err != nil {
			return nil, err
		}
		ids = u.accessKeys
	}
	var list []AccessKey
	for _, id := range ids {
		k, _, err := d.loadAccessKey(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue // deleted meanwhile, or underneath
		}
		if err != nil {
			return nil, err
		}
		k.Secret.Wipe()
		k.Secret = secret.Bytes{}
		list = append(list, *k)
	}
	return list, nil
}

func (d *Directory) loadAccessKey(ctx context.Context, id string) (*AccessKey, record.Record, error) {
	if !isAccessKeyID(id) {
		return nil, record.Record{}, fmt.Errorf("%w: an access key with such an id", ErrNotFound)
	}
	k, rec, err := read(ctx, d, record.KindAccessKey, accessKeyKey(id), "access key "+id, decodeAccessKey)
	if errors.Is(err, ErrNotFound) {
		err = &Error{ErrNotFound, "The Access Key with id " + id + " cannot be found."}
	}
	return k, rec, err
}

// belongsTo reports whether k is a key of this very user, and not of a namesake.
func (k *AccessKey) belongsTo(u *entity) bool {
	return k.User != "" && k.Account == u.account && k.UserID == u.id && slices.Contains(u.accessKeys, k.ID)
}

// ofRoot reports whether k is a key of the account's root user.
func (k *AccessKey) ofRoot(a *account) bool {
	return k.User == "" && k.Account == a.ID && k.UserID == a.ID && slices.Contains(a.AccessKeys, k.ID)
}

// SetAccessKeyActive makes an access key active or inactive. Errors: ErrNotFound.
func (d *Directory) SetAccessKeyActive(ctx context.Context, id string, active bool) error {
	return d.retry(ctx, func() error {
		k, rec, err := d.loadAccessKey(ctx, id)
		if err != nil {
			return err
		}
		defer k.Secret.Wipe()
		k.Active = active
		value := k.encode()
		defer clear(value)
		tx := d.rs.Begin()
		tx.Put(rec, value)
		return d.commit(ctx, tx, "changing access key "+id)
	})
}

// DeleteAccessKey deletes an access key. Errors: ErrNotFound.
func (d *Directory) DeleteAccessKey(ctx context.Context, id string) error {
	return d.retry(ctx, func() error {
		k, rec, err := d.loadAccessKey(ctx, id)
		if err != nil {
			return err
		}
		k.Secret.Wipe()
		tx := d.rs.Begin()
		tx.Delete(rec)
		if err := d.dropUse(ctx, tx, k.Account, k.ID); err != nil {
			return err
		}
		switch err := d.owned(ctx, k); {
		case err == nil:
			err = d.changeKeys(ctx, tx, k, k.User, func(ids []string) ([]string, error) {
				return slices.DeleteFunc(slices.Clone(ids), func(other string) bool { return other == id }), nil
			})
			if err != nil {
				return err
			}
		case !errors.Is(err, ErrNotFound):
			return err
		}
		return d.commit(ctx, tx, "deleting access key "+id)
	})
}

// AccountOfAccessKey returns the account to which an access key id belongs:
// that of the record, or the one that stands in the id itself, as in AWS's, if
// there is such an account. Else ErrNotFound.
func (d *Directory) AccountOfAccessKey(ctx context.Context, id string) (string, error) {
	notFound := &Error{ErrNotFound, "The Access Key with id " + id + " cannot be found."}
	k, _, err := d.loadAccessKey(ctx, id)
	if err == nil {
		k.Secret.Wipe()
		return k.Account, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if len(id) != 20 || !strings.HasPrefix(id, "AKIA") && !strings.HasPrefix(id, "ASIA") {
		return "", notFound
	}
	raw, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil {
		return "", notFound
	}
	n := binary.BigEndian.Uint64(append([]byte{0, 0}, raw[:6]...)) >> 7 & (1<<40 - 1)
	account := fmt.Sprintf("%012d", n)
	if !arn.IsAccount(account) {
		return "", notFound
	}
	if _, _, err := d.loadAccount(ctx, account); err != nil {
		return "", err
	}
	return account, nil
}
