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
type Made struct {
	Accounts, Regions, Organizations, Policies, Groups, Users, Roles, AccessKeys, Keys, Aliases int
}

// Count is how many there are of something.
type Count struct {
	Of string // such as "accessKeys"
	N  int
}

// Counts returns the counts in the order in which things are made.
func (m Made) Counts() []Count {
	return []Count{
		{"accounts", m.Accounts},
		{"regions", m.Regions},
		{"organizations", m.Organizations},
		{"policies", m.Policies},
		{"groups", m.Groups},
		{"users", m.Users},
		{"roles", m.Roles},
		{"accessKeys", m.AccessKeys},
		{"keys", m.Keys},
		{"aliases", m.Aliases},
	}
}

// LogValue implements [slog.LogValuer].
func (m Made) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, c := range m.Counts() {
		attrs = append(attrs, slog.Int(c.Of, c.N))
	}
	return slog.GroupValue(attrs...)
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
	// What takes several steps is finished by the next start if this one ends
	// in between. Until then nobody is served, and has less than the file says.
	if begun := a.begun(); len(begun) > 0 {
		if err := d.AddSeeded(ctx, begun); err != nil {
			return Made{}, err
		}
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
	accounts      []account
	regions       []enabled
	organizations []organization
	policies      []managed
	groups        []group
	users         []user
	roles         []role
	accessKeys    []ownedKey
	keys          []key
	aliases       []alias

	made Made
}

// ownedKey is an access key with its user, or of the root user if there is no
// name.
type ownedKey struct {
	accessKey
	account, user string
}

// enabled is a Region that an account enables.
type enabled struct {
	line            int
	account, region string
}

// The names by which it is noted what was made.

func (a *account) seedName() string      { return "account " + a.id }
func (e *enabled) seedName() string      { return "region " + e.account + "/" + e.region }
func (o *organization) seedName() string { return "organization " + o.id }
func (m *managed) seedName() string      { return "policy " + m.account + "/" + strings.ToLower(m.name) }

func (g *group) seedName() string { return "group " + g.account + "/" + strings.ToLower(g.name) }

func (u *user) seedName() string { return "user " + u.account + "/" + strings.ToLower(u.name) }

func (r *role) seedName() string      { return "role " + r.account + "/" + strings.ToLower(r.name) }
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
	for _, plan := range []func(context.Context) ([]error, error){
		a.planAccounts, a.planOrganizations, a.planIdentities, a.planAccessKeys, a.planKeys, a.planAliases,
	} {
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
	f := a.File
	for i := range f.accounts {
		acct := &f.accounts[i]
		add(acct.seedName())
		for _, region := range acct.regions {
			add((&enabled{account: acct.id, region: region}).seedName())
		}
	}
	for i := range f.organizations {
		add(f.organizations[i].seedName())
	}
	for i := range f.policies {
		add(f.policies[i].seedName())
	}
	for i := range f.groups {
		add(f.groups[i].seedName())
	}
	for i := range f.users {
		add(f.users[i].seedName())
	}
	for i := range f.roles {
		add(f.roles[i].seedName())
	}
	for _, k := range f.ownedKeys() {
		add(k.seedName())
	}
	n += len(a.begun())
	for i := range f.keys {
		add(f.keys[i].seedName())
	}
	for i := range f.aliases {
		add(f.aliases[i].seedName())
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
		there, err := a.d.Account(ctx, acct.id)
		switch {
		case err == nil:
			a.there = append(a.there, acct.seedName())
		case !errors.Is(err, identity.ErrNotFound):
			return nil, err
		case !a.seeded.Gone(acct.seedName()):
			a.accounts = append(a.accounts, acct)
		default:
			continue
		}
		for _, region := range acct.regions {
			e := enabled{acct.line, acct.id, region}
			switch {
			case slices.Contains(there.Regions, region):
				a.there = append(a.there, e.seedName())
			case !a.seeded.Gone(e.seedName()):
				a.regions = append(a.regions, e)
			}
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
	for _, m := range a.File.policies {
		err = errors.Join(err, check(m.line, m.account, m.seedName()))
	}
	for _, g := range a.File.groups {
		err = errors.Join(err, check(g.line, g.account, g.seedName()))
	}
	for _, u := range a.File.users {
		err = errors.Join(err, check(u.line, u.account, u.seedName()))
	}
	for _, r := range a.File.roles {
		err = errors.Join(err, check(r.line, r.account, r.seedName()))
	}
	for _, o := range a.File.organizations {
		err = errors.Join(err, check(o.line, o.master, o.seedName()))
		for _, m := range o.accounts {
			err = errors.Join(err, check(m.line, m.id, o.seedName()))
		}
	}
	for _, k := range a.File.keys {
		err = errors.Join(err, check(k.line, k.account, k.seedName()))
	}
	return wrong, err
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
			errs, err := a.checkPrincipals(ctx, k.policy)
			if err != nil {
				return nil, err
			}
			wrong = append(wrong, errs...)
			if !k.material.IsNil() {
				given = append(given, k)
			}
		}
	}
	if len(given) == 0 {
		return wrong, nil
	}
	// Whether material fits its key is the keyring's to say, and it says so
	// when the key is made. So these are made in a ring that is thrown away.
	scratch, end, err := scratchRing(ctx)
	if err != nil {
		return nil, fmt.Errorf("checking key material: %w", err)
	}
	defer end()
	for _, k := range given {
		params := k.params()
		params.Policy = "" // it names who is not there yet
		_, err := scratch.Create(ctx, nil, permit("kms:CreateKey", authz.Resource{ARN: "*", Account: k.account}), params)
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
	for _, e := range a.regions {
		err := a.d.EnableRegion(ctx, e.account, e.region)
		if err := a.note(&a.made.Regions, e.line, e.seedName(), err, identity.ErrExists); err != nil {
			return err
		}
	}
	if err := a.makeIdentities(ctx); err != nil {
		return err
	}
	for _, k := range a.keys {
		params := k.params()
		var err error
		if params.Bindings, err = a.bindings(ctx, k.policy); err != nil {
			return at(k.line, "%w", err)
		}
		_, err = a.r.Create(ctx, nil, permit("kms:CreateKey", authz.Resource{ARN: "*", Account: k.account}), params)
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
		Description: k.description, Tags: tags, Material: k.material, Disabled: k.disabled, Policy: k.policy.text,
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
