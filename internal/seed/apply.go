package seed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// Made counts what was made; what was there is not counted.
type Made struct{ Accounts, Users, AccessKeys, Keys, Aliases int }

func (m Made) String() string {
	return fmt.Sprintf("%d accounts, %d users, %d access keys, %d keys, %d aliases", m.Accounts, m.Users, m.AccessKeys, m.Keys, m.Aliases)
}

// LogValue implements [slog.LogValuer].
func (m Made) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("accounts", m.Accounts), slog.Int("users", m.Users), slog.Int("accessKeys", m.AccessKeys),
		slog.Int("keys", m.Keys), slog.Int("aliases", m.Aliases))
}

// Apply makes what the file names and is not there. The directory must have its
// management account. All of the file is checked against what is there before
// anything is made; the error lists what does not fit, by line.
//
// What exists is not changed: a key that was disabled stays so, an alias that
// was pointed elsewhere stays there. A key that has been destroyed is missing,
// and is made anew.
func (f *File) Apply(ctx context.Context, d *identity.Directory, r *keyring.Ring) (Made, error) {
	a := &applier{File: f, d: d, r: r}
	if err := a.plan(ctx); err != nil {
		return Made{}, err
	}
	err := a.make(ctx)
	return a.made, err
}

type applier struct {
	*File
	d *identity.Directory
	r *keyring.Ring

	// What is missing.
	accounts []account
	users    []user
	keys     []key
	aliases  []alias

	made Made
}

// permit is a permit for the work that the operator orders with a seed file.
func permit(action string, r authz.Resource) authz.Permit {
	return authz.System("seed").Permit(action, r)
}

// plan finds out what is missing, and whether it can be made. It collects what
// cannot; other errors end it.
func (a *applier) plan(ctx context.Context) error {
	var wrong []error
	for _, plan := range []func(context.Context) ([]error, error){a.planAccounts, a.planUsers, a.planKeys, a.planAliases} {
		errs, err := plan(ctx)
		if err != nil {
			return err
		}
		wrong = append(wrong, errs...)
	}
	return errors.Join(wrong...)
}

func (a *applier) planAccounts(ctx context.Context) (wrong []error, err error) {
	in, err := a.d.Installation(ctx)
	if err != nil {
		return nil, err
	}
	for _, acct := range a.File.accounts {
		if acct.management && acct.id != in.Account {
			wrong = append(wrong, at(acct.line, "the management account is %s", in.Account))
			continue
		}
		_, err := a.d.Account(ctx, acct.id)
		if errors.Is(err, identity.ErrNotFound) {
			a.accounts = append(a.accounts, acct)
		} else if err != nil {
			return nil, err
		}
	}
	// Every account that something belongs to must be there then.
	known := make(map[string]bool)
	for _, acct := range a.File.accounts {
		known[acct.id] = true
	}
	check := func(line int, id string) error {
		there, ok := known[id]
		if !ok {
			_, err := a.d.Account(ctx, id)
			if err != nil && !errors.Is(err, identity.ErrNotFound) {
				return err
			}
			there = err == nil
			known[id] = there
		}
		if !there {
			wrong = append(wrong, at(line, "there is no account %s; name it under accounts", id))
		}
		return nil
	}
	for _, u := range a.File.users {
		err = errors.Join(err, check(u.line, u.account))
	}
	for _, k := range a.File.keys {
		err = errors.Join(err, check(k.line, k.account))
	}
	return wrong, err
}

func (a *applier) planUsers(ctx context.Context) (wrong []error, err error) {
	for _, u := range a.File.users {
		var have []string
		there, err := a.d.User(ctx, u.account, u.name)
		switch {
		case err == nil:
			have = there.AccessKeys
		case !errors.Is(err, identity.ErrNotFound):
			return nil, err
		}
		missing := u
		missing.accessKeys = nil
		for _, k := range u.accessKeys {
			if slices.Contains(have, k.id) {
				continue
			}
			other, err := a.d.AccessKey(ctx, k.id)
			switch {
			case err == nil:
				other.Secret.Wipe()
				wrong = append(wrong, at(k.line, "access key %s is that of user %s of account %s", k.id, other.User, other.Account))
			case !errors.Is(err, identity.ErrNotFound):
				return nil, err
			default:
				missing.accessKeys = append(missing.accessKeys, k)
			}
		}
		if len(have)+len(missing.accessKeys) > identity.MaxAccessKeys {
			wrong = append(wrong, at(u.line, "user %s of account %s has other access keys already, and may have %d", u.name, u.account, identity.MaxAccessKeys))
		}
		if len(missing.accessKeys) > 0 || there.ID == "" {
			a.users = append(a.users, missing)
		}
	}
	return wrong, nil
}

func (a *applier) planKeys(ctx context.Context) (wrong []error, err error) {
	var given []key // with material
	for _, k := range a.File.keys {
		_, err := a.r.Find(ctx, k.account, k.region, k.id)
		if errors.Is(err, keyring.ErrNotFound) {
			a.keys = append(a.keys, k)
			if !k.material.IsNil() {
				given = append(given, k)
			}
		} else if err != nil {
			return nil, err
		}
	}
	if len(given) == 0 {
		return nil, nil
	}
	// Whether material fits its key is the keyring's to say, and it says so
	// when the key is made. So these are made in a ring that is thrown away.
	scratch, end, err := scratchRing(ctx)
	if err != nil {
		return nil, fmt.Errorf("checking key material: %w", err)
	}
	defer end()
	for _, k := range given {
		_, err := scratch.Create(ctx, nil, permit("kms:CreateKey", authz.Resource{ARN: "*", Account: k.account}), k.params())
		if errors.Is(err, keyring.ErrParameter) {
			wrong = append(wrong, at(k.line, "the material is not that of a key of spec %s", k.spec))
		} else if err != nil {
			return nil, fmt.Errorf("checking key material: %w", err)
		}
	}
	return wrong, nil
}

// scratchRing returns a ring in memory, and what ends it.
func scratchRing(ctx context.Context) (*keyring.Ring, func(), error) {
	st := store.NewMem()
	box, err := seal.Open(ctx, st, seal.Options{Provider: seal.Memory()})
	if err != nil {
		return nil, nil, err
	}
	rs, err := record.Open(ctx, st, box, record.Options{Heartbeat: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	ring, err := keyring.New(rs, box, keyring.Options{SpareRSA: -1, Keys: 1, Aliases: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, errors.Join(err, rs.Close())
	}
	return ring, func() {
		_ = ring.Close()
		_ = rs.Close()
		box.Lock()
		_ = st.Close()
	}, nil
}

func (a *applier) planAliases(ctx context.Context) (wrong []error, err error) {
	for _, al := range a.File.aliases {
		_, err := a.r.FindAlias(ctx, al.account, al.region, al.name)
		if err == nil {
			continue
		}
		if !errors.Is(err, keyring.ErrNotFound) {
			return nil, err
		}
		a.aliases = append(a.aliases, al)
		named := slices.ContainsFunc(a.File.keys, func(k key) bool {
			return k.account == al.account && k.region == al.region && k.id == al.key
		})
		if named {
			continue
		}
		_, err = a.r.Find(ctx, al.account, al.region, al.key)
		if errors.Is(err, keyring.ErrNotFound) {
			wrong = append(wrong, at(al.line, "there is no key %s in Region %s of account %s", al.key, al.region, al.account))
		} else if err != nil {
			return nil, err
		}
	}
	return wrong, nil
}

// make makes what is missing. That something is there by now is as good: another
// node has the same file.
func (a *applier) make(ctx context.Context) error {
	for _, acct := range a.accounts {
		_, err := a.d.CreateAccount(ctx, identity.Account{ID: acct.id, Name: acct.name})
		if err := count(&a.made.Accounts, acct.line, err, identity.ErrExists); err != nil {
			return err
		}
	}
	for _, u := range a.users {
		_, err := a.d.CreateUser(ctx, identity.User{Account: u.account, Name: u.name, Path: u.path, Policies: u.policies})
		if err := count(&a.made.Users, u.line, err, identity.ErrExists); err != nil {
			return err
		}
		for _, k := range u.accessKeys {
			made, err := a.d.CreateAccessKey(ctx, u.account, u.name, k.id, k.secret)
			made.Secret.Wipe()
			if err := count(&a.made.AccessKeys, k.line, err, identity.ErrExists); err != nil {
				return err
			}
		}
	}
	for _, k := range a.keys {
		_, err := a.r.Create(ctx, nil, permit("kms:CreateKey", authz.Resource{ARN: "*", Account: k.account}), k.params())
		if err := count(&a.made.Keys, k.line, err, keyring.ErrExists); err != nil {
			return err
		}
	}
	for _, al := range a.aliases {
		if err := count(&a.made.Aliases, al.line, a.createAlias(ctx, al), keyring.ErrExists, errNotNow); err != nil {
			return err
		}
	}
	return nil
}

// count counts what was made, and passes errors on but those that leave things
// as they are.
func count(n *int, line int, err error, fine ...error) error {
	if err == nil {
		*n++
		return nil
	}
	for _, f := range fine {
		if errors.Is(err, f) {
			return nil
		}
	}
	return at(line, "%w", err)
}

// params is the key as the keyring makes it.
func (k *key) params() keyring.CreateParams {
	tags := k.tags
	if !slices.ContainsFunc(tags, func(t keyring.Tag) bool { return t.Key == TagKey }) {
		tags = append(slices.Clone(tags), keyring.Tag{Key: TagKey, Value: TagValue})
	}
	return keyring.CreateParams{
		Account: k.account, Region: k.region, ID: k.id, Spec: k.spec, Usage: k.usage,
		Description: k.description, Tags: tags, Material: k.material, Disabled: k.disabled,
	}
}

// errNotNow: the alias's key is on its way out, and takes no alias any more.
// That must not keep the node from starting.
var errNotNow = errors.New("the key is pending deletion, or being destroyed")

func (a *applier) createAlias(ctx context.Context, al alias) error {
	return keyring.Attempt(ctx, func() error {
		s, err := a.r.Find(ctx, al.account, al.region, al.key)
		if errors.Is(err, keyring.ErrNotFound) {
			return errNotNow
		}
		if err != nil {
			return err
		}
		open, err := a.r.Open(ctx, nil, permit("kms:CreateAlias", s.Resource()))
		var state *keyring.StateError
		if errors.As(err, &state) || errors.Is(err, keyring.ErrNotFound) {
			return errNotNow
		}
		if err != nil {
			return err
		}
		name := authz.Resource{ARN: arn.Alias(al.region, al.account, al.name), Account: al.account}
		return open.CreateAlias(ctx, permit("kms:CreateAlias", name), al.name)
	})
}
