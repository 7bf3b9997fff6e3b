// Package identity knows accounts, users and access keys.
//
// A [Directory] keeps them as sealed records and answers who signs with an
// access key ([Directory.Credential]). [Directory.Bootstrap] makes the first
// account, its administrator and an access key, once.
//
// An access key names its user by name and by unique id, and the user's record
// lists the user's access keys: a user who is deleted and made anew under the
// same name gets nothing of the namesake's keys, and whoever deletes records
// underneath can take access away, never give it.
package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// MaxAccessKeys is the largest number of access keys of a user.
const MaxAccessKeys = 2

// maxPolicies is the largest number of managed policies attached to a user.
const maxPolicies = 10

// Options are the options of a Directory. The zero value is usable.
type Options struct {
	// Cache is the number of access keys, of users and of accounts that are
	// kept decoded; 10,000 if 0.
	Cache int
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Log gets what is wrong with records; slog.Default() if nil.
	Log *slog.Logger
}

// Directory is the accounts, users and access keys of an installation. Its
// methods may be called concurrently.
type Directory struct {
	rs  *record.Store
	now func() time.Time
	log *slog.Logger

	accounts *record.Cache[*Account]
	users    *record.Cache[*User]
	keys     *record.Cache[*accessKey]
}

// Open returns the directory that is kept in rs.
func Open(rs *record.Store, o Options) *Directory {
	if o.Cache <= 0 {
		o.Cache = 10000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Directory{
		rs: rs, now: o.Now, log: o.Log,
		accounts: record.NewCache(rs, record.KindAccount, accountPrefix, o.Cache, decodeAccount, nil),
		users:    record.NewCache(rs, record.KindUser, userPrefix, o.Cache, decodeUser, nil),
		keys:     record.NewCache(rs, record.KindAccessKey, accessKeyPrefix, o.Cache, cacheAccessKey, nil),
	}
}

var (
	userName  = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	userPath  = regexp.MustCompile(`^/([!-.0-~]+/)*$`)
	secretKey = regexp.MustCompile(`^[!-~]{1,128}$`)
)

// isAccessKeyID reports whether id has the form of an access key id: 16 to 128
// letters, digits and underscores. Source: accessKeyIdType of the IAM API.
func isAccessKeyID(id string) bool {
	if len(id) < 16 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9', 'a' <= c && c <= 'z', c == '_':
		default:
			return false
		}
	}
	return true
}

// Check returns what is wrong with the account's fields, an ErrInvalid.
func (a *Account) Check() error {
	if !arn.IsAccount(a.ID) {
		return fmt.Errorf("%w: account id %q is not 12 digits", ErrInvalid, a.ID)
	}
	if n := len([]rune(a.Name)); n > 50 || strings.IndexFunc(a.Name, func(r rune) bool { return !strconv.IsPrint(r) }) >= 0 {
		return fmt.Errorf("%w: an account's name has up to 50 printable characters", ErrInvalid)
	}
	return nil
}

// Check returns what is wrong with the user's account, name, path and policies,
// an ErrInvalid.
func (u *User) Check() error {
	if !arn.IsAccount(u.Account) {
		return fmt.Errorf("%w: account id %q is not 12 digits", ErrInvalid, u.Account)
	}
	if !userName.MatchString(u.Name) {
		return fmt.Errorf("%w: user name %q; a name has 1 to 64 letters, digits and _+=,.@-", ErrInvalid, u.Name)
	}
	if u.Path != "" && (len(u.Path) > 512 || !userPath.MatchString(u.Path)) {
		return fmt.Errorf("%w: path %q; a path begins and ends with / and has up to 512 printable ASCII characters", ErrInvalid, u.Path)
	}
	if len(u.Policies) > maxPolicies {
		return fmt.Errorf("%w: more than %d policies", ErrInvalid, maxPolicies)
	}
	for i, p := range u.Policies {
		if p != call.AdministratorAccess {
			return fmt.Errorf("%w: policy %q is not known; the one policy that is known is %s", ErrInvalid, p, call.AdministratorAccess)
		}
		if slices.Contains(u.Policies[:i], p) {
			return fmt.Errorf("%w: policy %q stands twice", ErrInvalid, p)
		}
	}
	return nil
}

// CheckAccessKey returns what is wrong with an access key id and its secret, an
// ErrInvalid that does not show the secret.
func CheckAccessKey(id string, secretAccessKey secret.Bytes) error {
	if !isAccessKeyID(id) {
		// Not shown: it may be a secret that was put in the wrong place.
		return fmt.Errorf("%w: an access key id of %d bytes; an id has 16 to 128 letters, digits and _", ErrInvalid, len(id))
	}
	if !secretKey.Match(secretAccessKey.Reveal()) {
		return fmt.Errorf("%w: the secret of access key %s; a secret has 1 to 128 printable ASCII characters, usually 40", ErrInvalid, id)
	}
	return nil
}

// CreateAccount makes an account. Its id is random if it is not given, and the
// time is now. Errors: ErrExists, ErrInvalid.
func (d *Directory) CreateAccount(ctx context.Context, a Account) (Account, error) {
	if a.ID == "" {
		a.ID = NewAccountID()
	}
	if err := a.Check(); err != nil {
		return Account{}, err
	}
	a.Created = d.stamp()
	tx := d.rs.Begin()
	tx.Create(record.KindAccount, accountKey(a.ID), a.encode())
	if err := commit(ctx, tx, "account "+a.ID); err != nil {
		return Account{}, err
	}
	return a, nil
}

// Account returns an account, or ErrNotFound.
func (d *Directory) Account(ctx context.Context, id string) (Account, error) {
	a, _, err := load(ctx, d.rs, record.KindAccount, accountKey(id), "account "+id, decodeAccount)
	if err != nil {
		return Account{}, err
	}
	return *a, nil
}

// CreateUser makes a user: its unique id and ARN are made, its path is "/" if
// none is given, it has no access keys, and the time is now. Names that differ
// only in case are one name. Errors: ErrExists, ErrInvalid, and ErrNotFound if
// there is no such account.
func (d *Directory) CreateUser(ctx context.Context, u User) (User, error) {
	if err := u.Check(); err != nil {
		return User{}, err
	}
	_, account, err := load(ctx, d.rs, record.KindAccount, accountKey(u.Account), "account "+u.Account, decodeAccount)
	if err != nil {
		return User{}, err
	}
	d.complete(&u)
	tx := d.rs.Begin()
	tx.Check(account)
	tx.Create(record.KindUser, userKey(u.Account, u.Name), u.encode())
	if err := commit(ctx, tx, "user "+u.Name+" of account "+u.Account); err != nil {
		return User{}, err
	}
	return u, nil
}

// complete fills in what a new user has.
func (d *Directory) complete(u *User) {
	if u.Path == "" {
		u.Path = "/"
	}
	u.ID = newUserID()
	u.ARN = arn.User("aws", u.Account, u.Path, u.Name)
	u.Created = d.stamp()
	u.Policies = slices.Clone(u.Policies)
	u.AccessKeys = nil
}

// User returns a user, or ErrNotFound.
func (d *Directory) User(ctx context.Context, account, name string) (User, error) {
	u, _, err := d.loadUser(ctx, account, name)
	if err != nil {
		return User{}, err
	}
	return *u, nil
}

func (d *Directory) loadUser(ctx context.Context, account, name string) (*User, record.Record, error) {
	return load(ctx, d.rs, record.KindUser, userKey(account, name), "user "+name+" of account "+account, decodeUser)
}

// DeleteUser deletes a user and its access keys. Errors: ErrNotFound.
func (d *Directory) DeleteUser(ctx context.Context, account, name string) error {
	return retry(func() error {
		u, rec, err := d.loadUser(ctx, account, name)
		if err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Delete(rec)
		for _, id := range u.AccessKeys {
			key, err := d.rs.Get(ctx, record.KindAccessKey, accessKeyKey(id))
			if errors.Is(err, record.ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("deleting user %s of account %s: %w", name, account, err)
			}
			clear(key.Value)
			tx.Delete(key)
		}
		_, err = tx.Commit(ctx)
		return err
	})
}

// CreateAccessKey makes an active access key for a user. Without an id, id and
// secret are made; with one, both must be given, and the secret is copied. The
// caller wipes the secret that is returned. Errors: ErrNotFound if there is no
// such user, ErrLimit if it has two already, ErrExists, ErrInvalid.
func (d *Directory) CreateAccessKey(ctx context.Context, account, user, id string, secretAccessKey secret.Bytes) (AccessKey, error) {
	made := id == ""
	if made {
		id, secretAccessKey = newAccessKeyID(account), newSecretAccessKey()
	} else {
		if err := CheckAccessKey(id, secretAccessKey); err != nil {
			return AccessKey{}, err
		}
		secretAccessKey = secret.New(slices.Clone(secretAccessKey.Reveal()))
	}
	k := AccessKey{ID: id, Account: account, Secret: secretAccessKey, Active: true, Created: d.stamp()}
	err := retry(func() error {
		u, rec, err := d.loadUser(ctx, account, user)
		if err != nil {
			return err
		}
		if len(u.AccessKeys) >= MaxAccessKeys {
			return fmt.Errorf("%w: user %s of account %s has %d access keys", ErrLimit, user, account, len(u.AccessKeys))
		}
		k.User, k.UserID = u.Name, u.ID
		if _, err := d.rs.Get(ctx, record.KindAccessKey, accessKeyKey(id)); err == nil {
			return fmt.Errorf("%w: access key %s", ErrExists, id)
		} else if !errors.Is(err, record.ErrNotFound) {
			return fmt.Errorf("making access key %s: %w", id, err)
		}
		changed := *u
		changed.AccessKeys = append(slices.Clone(u.AccessKeys), id)
		value := k.encode()
		defer clear(value)
		tx := d.rs.Begin()
		tx.Put(rec, changed.encode())
		tx.Create(record.KindAccessKey, accessKeyKey(id), value)
		_, err = tx.Commit(ctx)
		return err
	})
	if err != nil {
		secretAccessKey.Wipe()
		return AccessKey{}, err
	}
	return k, nil
}

// AccessKey returns an access key, or ErrNotFound, also if its user has gone.
// The caller wipes the secret.
func (d *Directory) AccessKey(ctx context.Context, id string) (AccessKey, error) {
	k, _, err := d.loadAccessKey(ctx, id)
	if err != nil {
		return AccessKey{}, err
	}
	u, _, err := d.loadUser(ctx, k.Account, k.User)
	if err == nil && !k.belongsTo(u) {
		err = fmt.Errorf("%w: access key %s: its user was deleted", ErrNotFound, id)
	}
	if err != nil {
		k.Secret.Wipe()
		return AccessKey{}, err
	}
	return *k, nil
}

func (d *Directory) loadAccessKey(ctx context.Context, id string) (*AccessKey, record.Record, error) {
	if !isAccessKeyID(id) {
		return nil, record.Record{}, fmt.Errorf("%w: an access key with such an id", ErrNotFound)
	}
	return load(ctx, d.rs, record.KindAccessKey, accessKeyKey(id), "access key "+id, decodeAccessKey)
}

// belongsTo reports whether k is a key of this very user, and not of a namesake.
func (k *AccessKey) belongsTo(u *User) bool {
	return k.Account == u.Account && k.UserID == u.ID && slices.Contains(u.AccessKeys, k.ID)
}

// SetAccessKeyActive makes an access key active or inactive. Errors: ErrNotFound.
func (d *Directory) SetAccessKeyActive(ctx context.Context, id string, active bool) error {
	return retry(func() error {
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
		_, err = tx.Commit(ctx)
		return err
	})
}

// DeleteAccessKey deletes an access key. Errors: ErrNotFound.
func (d *Directory) DeleteAccessKey(ctx context.Context, id string) error {
	return retry(func() error {
		k, rec, err := d.loadAccessKey(ctx, id)
		if err != nil {
			return err
		}
		k.Secret.Wipe()
		tx := d.rs.Begin()
		tx.Delete(rec)
		u, userRec, err := d.loadUser(ctx, k.Account, k.User)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		case k.belongsTo(u):
			changed := *u
			changed.AccessKeys = slices.DeleteFunc(slices.Clone(u.AccessKeys), func(other string) bool { return other == id })
			tx.Put(userRec, changed.encode())
		}
		_, err = tx.Commit(ctx)
		return err
	})
}

// load reads and decodes a record, and wipes the bytes it was decoded from: the
// record that it returns has no value.
func load[V any](ctx context.Context, rs *record.Store, kind record.Kind, key, what string, decode func(record.Record) (V, error)) (V, record.Record, error) {
	var zero V
	rec, err := rs.Get(ctx, kind, key)
	if errors.Is(err, record.ErrNotFound) {
		return zero, record.Record{}, fmt.Errorf("%w: %s", ErrNotFound, what)
	}
	if err != nil {
		return zero, record.Record{}, fmt.Errorf("reading %s: %w", what, err)
	}
	v, err := decode(rec)
	clear(rec.Value)
	rec.Value = nil
	if err != nil {
		return zero, record.Record{}, fmt.Errorf("reading %s: %w", what, err)
	}
	return v, rec, nil
}

// commit commits the making of something.
func commit(ctx context.Context, tx *record.Tx, what string) error {
	_, err := tx.Commit(ctx)
	if errors.Is(err, record.ErrConflict) {
		return fmt.Errorf("%w: %s", ErrExists, what)
	}
	if err != nil {
		return fmt.Errorf("making %s: %w", what, err)
	}
	return nil
}

// retry does a change again while others change the same records.
func retry(change func() error) error {
	for try := 1; ; try++ {
		if err := change(); !errors.Is(err, record.ErrConflict) || try == 5 {
			return err
		}
	}
}

// stamp returns the time as records keep it.
func (d *Directory) stamp() time.Time { return d.now().UTC().Truncate(time.Millisecond) }

// NewAccountID returns a random account id. It does not begin with a zero, so
// that nothing takes it for another number.
func NewAccountID() string {
	n, err := rand.Int(rand.Reader, big.NewInt(9e11))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return strconv.FormatInt(1e11+n.Int64(), 10)
}

// newUserID returns a unique id: AIDA and 17 characters.
func newUserID() string {
	b := make([]byte, 11)
	rand.Read(b)
	return "AIDA" + base32.StdEncoding.EncodeToString(b)[:17]
}

// newAccessKeyID returns an access key id: AKIA and 16 characters, which are
// 80 bits: a one, 40 bits with the account, and what is random, as in AWS's.
func newAccessKeyID(account string) string {
	n, _ := strconv.ParseUint(account, 10, 64) // 12 digits
	b := make([]byte, 10)
	rand.Read(b)
	random := uint64(b[5] & 0x7f)
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], 1<<47|n<<7|random)
	copy(b, head[2:])
	return "AKIA" + base32.StdEncoding.EncodeToString(b)
}

// newSecretAccessKey returns 40 characters with 240 random bits.
func newSecretAccessKey() secret.Bytes {
	b := make([]byte, 30)
	rand.Read(b)
	defer clear(b)
	return secret.New(base64.StdEncoding.AppendEncode(nil, b))
}
