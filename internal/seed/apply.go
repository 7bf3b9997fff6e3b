package seed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
// was pointed elsewhere stays there. What is gone stays gone, if a seed file
// made it or once found it there: each thing is made once in the life of an
// installation. The node must not serve before Apply has returned: what it makes
// is noted at its end.
func (f *File) Apply(ctx context.Context, d *identity.Directory, r *keyring.Ring) (Made, error) {
	a := &applier{File: f, d: d, r: r}
	var err error
	if a.seeded, err = d.Seeded(ctx); err != nil {
		return Made{}, err
	}
	if err := a.plan(ctx); err != nil {
		return Made{}, err
	}
	err = a.make(ctx)
	return a.made, errors.Join(err, d.AddSeeded(ctx, a.there))
}

type applier struct {
	*File
	d      *identity.Directory
	r      *keyring.Ring
	seeded *identity.Seeded // before

	there []string // the names of what is there in the end

	// What is missing.
	accounts []account
	users    []user
	keys     []key
	aliases  []alias

	made Made
}

// The names by which it is noted what was made.

func (a *account) seedName() string   { return "account " + a.id }
func (u *user) seedName() string      { return "user " + u.account + "/" + strings.ToLower(u.name) }
func (k *accessKey) seedName() string { return "access key " + k.id }
func (k *key) seedName() string       { return "key " + k.account + "/" + k.region + "/" + k.id }
func (a *alias) seedName() string     { return "alias " + a.account + "/" + a.region + "/" + a.name }

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
	if n := a.seeded.Len() + a.unnoted(); n > identity.MaxSeeded {
		wrong = append(wrong, fmt.Errorf("seed files would have made %d things in this installation, and may make %d", n, identity.MaxSeeded))
	}
	return errors.Join(wrong...)
}

// unnoted counts what is in the file and was not made by a seed before.
func (a *applier) unnoted() int {
	n := 0
	add := func(name string) {
		if !a.seeded.Has(name) {
			n++
		}
	}
	for i := range a.File.accounts {
		add(a.File.accounts[i].seedName())
	}
	for i := range a.File.users {
		add(a.File.users[i].seedName())
		for j := range a.File.users[i].accessKeys {
			add(a.File.users[i].accessKeys[j].seedName())
		}
	}
	for i := range a.File.keys {
		add(a.File.keys[i].seedName())
	}
	for i := range a.File.aliases {
		add(a.File.aliases[i].seedName())
	}
	return n
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
		switch {
		case err == nil:
			a.there = append(a.there, acct.seedName())
		case !errors.Is(err, identity.ErrNotFound):
			return nil, err
		case !a.seeded.Gone(acct.seedName()):
			a.accounts = append(a.accounts, acct)
		}
	}
	// Every account that something new belongs to must be there then.
	known := make(map[string]bool)
	for _, acct := range a.accounts {
		known[acct.id] = true
	}
	check := func(line int, id, name string) error {
		if a.seeded.Has(name) {
			return nil
		}
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
			what := at(line, "there is no account %s; name it under accounts", id)
			if acct := (&account{id: id}); a.seeded.Has(acct.seedName()) {
				what = at(line, "there is no account %s any more", id)
			}
			wrong = append(wrong, what)
		}
		return nil
	}
	for _, u := range a.File.users {
		err = errors.Join(err, check(u.line, u.account, u.seedName()))
	}
	for _, k := range a.File.keys {
		err = errors.Join(err, check(k.line, k.account, k.seedName()))
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
			a.there = append(a.there, u.seedName())
		case !errors.Is(err, identity.ErrNotFound):
			return nil, err
		case a.seeded.Gone(u.seedName()):
			continue
		}
		missing := u
		missing.accessKeys = nil
		for _, k := range u.accessKeys {
			if slices.Contains(have, k.id) {
				a.there = append(a.there, k.seedName())
				continue
			}
			other, err := a.d.AccessKey(ctx, k.id)
			switch {
			case err == nil:
				other.Secret.Wipe()
				wrong = append(wrong, at(k.line, "access key %s is that of user %s of account %s", k.id, other.User, other.Account))
			case !errors.Is(err, identity.ErrNotFound):
				return nil, err
			case !a.seeded.Gone(k.seedName()):
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
		switch {
		case err == nil:
			a.there = append(a.there, k.seedName())
		case !errors.Is(err, keyring.ErrNotFound):
			return nil, err
		case !a.seeded.Gone(k.seedName()):
			a.keys = append(a.keys, k)
			if !k.material.IsNil() {
				given = append(given, k)
			}
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
		switch {
		case err == nil:
			a.there = append(a.there, al.seedName())
			continue
		case !errors.Is(err, keyring.ErrNotFound):
			return nil, err
		case a.seeded.Gone(al.seedName()):
			continue
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
		if err := a.note(&a.made.Accounts, acct.line, acct.seedName(), err, identity.ErrExists); err != nil {
			return err
		}
	}
	for _, u := range a.users {
		_, err := a.d.CreateUser(ctx, identity.User{Account: u.account, Name: u.name, Path: u.path, Policies: u.policies})
		if err := a.note(&a.made.Users, u.line, u.seedName(), err, identity.ErrExists); err != nil {
			return err
		}
		for _, k := range u.accessKeys {
			made, err := a.d.CreateAccessKey(ctx, u.account, u.name, k.id, k.secret)
			made.Secret.Wipe()
			if err := a.note(&a.made.AccessKeys, k.line, k.seedName(), err, identity.ErrExists); err != nil {
				return err
			}
		}
	}
	for _, k := range a.keys {
		_, err := a.r.Create(ctx, nil, permit("kms:CreateKey", authz.Resource{ARN: "*", Account: k.account}), k.params())
		if err := a.note(&a.made.Keys, k.line, k.seedName(), err, keyring.ErrExists); err != nil {
			return err
		}
	}
	for _, al := range a.aliases {
		err := a.createAlias(ctx, al)
		if errors.Is(err, errNotNow) {
			continue
		}
		if err := a.note(&a.made.Aliases, al.line, al.seedName(), err, keyring.ErrExists); err != nil {
			return err
		}
	}
	return nil
}

// note counts what was made, and notes that it is there. That it was there
// already, by the error exists, is as good; other errors are passed on.
func (a *applier) note(made *int, line int, name string, err, exists error) error {
	switch {
	case err == nil:
		*made++
	case !errors.Is(err, exists):
		return at(line, "%w", err)
	}
	a.there = append(a.there, name)
	return nil
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
