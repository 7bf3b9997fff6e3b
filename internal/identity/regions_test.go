package identity_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/identity"
)

func TestRegions(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	options := identity.Options{Now: h.clock.now, OptIn: []string{"ap-east-1", "me-south-1"}, Home: "me-south-1"}
	d := identity.Open(h.rs, options)
	trust := trusting("arn:aws:iam::" + ours + ":user/alice")
	role := h.role("worker", trust)
	alice := h.alice()
	session, err := h.NewSession(ctx, identity.SessionParams{Kind: identity.RoleSession, Caller: alice, Role: &role, Name: "session", Duration: time.Hour})
	h.ok(err)
	federated, err := h.NewSession(ctx, identity.SessionParams{Kind: identity.FederationSession, Caller: alice, Name: "friend", Duration: time.Hour})
	h.ok(err)

	closed := func(what string, want ...string) {
		t.Helper()
		if r, _, err := d.RoleByARN(ctx, role.ARN); err != nil || !slices.Equal(r.Closed, want) {
			t.Errorf("%s: the role's account cannot call %v, %v, want %v", what, r.Closed, err, want)
		}
		for _, key := range [][2]string{{h.key}, {session.AccessKeyID, session.Token}, {federated.AccessKeyID, federated.Token}} {
			p, _, err := d.Credential(ctx, key[0], key[1])
			h.ok(err)
			if !slices.Equal(p.Closed, want) {
				t.Errorf("%s: %s cannot call %v, want %v", what, p.ARN, p.Closed, want)
			}
		}
		a, err := d.Account(ctx, ours)
		h.ok(err)
		for _, region := range options.OptIn {
			if got := d.RegionStatus(&a, region); (got == identity.RegionDisabled) != slices.Contains(want, region) || got == identity.RegionAlways {
				t.Errorf("%s: status of %s is %d", what, region, got)
			}
		}
		if got := d.RegionStatus(&a, "eu-central-1"); got != identity.RegionAlways {
			t.Errorf("%s: status of eu-central-1 is %d", what, got)
		}
	}
	closed("at first", "ap-east-1", "me-south-1")
	h.ok(d.EnableRegion(ctx, ours, "me-south-1"))
	h.ok(d.EnableRegion(ctx, ours, "me-south-1"))
	closed("one enabled", "ap-east-1")
	h.ok(d.EnableRegion(ctx, ours, "ap-east-1"))
	closed("both enabled")
	h.ok(d.DisableRegion(ctx, ours, "me-south-1"))
	h.ok(d.DisableRegion(ctx, ours, "me-south-1"))
	closed("one disabled", "me-south-1")

	if a, err := d.Account(ctx, theirs); err != nil || len(a.Regions) != 0 {
		t.Errorf("another account has enabled %v, %v", a.Regions, err)
	}
	if p := h.alice(); p.Closed != nil {
		t.Errorf("where no Region needs it, %v cannot be called", p.Closed)
	}
	h.wants("enabling for nobody", d.EnableRegion(ctx, "999999999999", "ap-east-1"), identity.ErrNotFound)
	h.wants("disabling for nobody", d.DisableRegion(ctx, "999999999999", "ap-east-1"), identity.ErrNotFound)

	for i := range identity.MaxAccountRegions {
		h.ok(d.EnableRegion(ctx, theirs, fmt.Sprintf("xx-north-%03d", i)))
	}
	h.wants("one too many", d.EnableRegion(ctx, theirs, "ap-east-1"), identity.ErrLimit)
}

// TestRegionAtHome: the management account can call its own Region.
func TestRegionAtHome(t *testing.T) {
	f := open(t)
	in := f.bootstrap(t, identity.Bootstrap{})
	d := identity.Open(f.rs, identity.Options{OptIn: []string{"ap-east-1", "me-south-1"}, Home: "me-south-1"})
	p, _, err := d.Credential(t.Context(), in.AccessKeyID, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ap-east-1"}; !slices.Equal(p.Closed, want) {
		t.Errorf("the administrator cannot call %v, want %v", p.Closed, want)
	}
	a, err := d.Account(t.Context(), in.Account)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.RegionStatus(&a, "me-south-1"); got != identity.RegionAlways {
		t.Errorf("its status is %d", got)
	}
}

// TestRegionsAtOnce enables Regions on two nodes at once, and loses none.
func TestRegionsAtOnce(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	for n, d := range []*identity.Directory{h.Directory, h.other} {
		for i := range 4 {
			wg.Go(func() {
				if err := d.EnableRegion(t.Context(), ours, fmt.Sprintf("xx-north-%d%d", n, i)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	a, err := h.Account(t.Context(), ours)
	h.ok(err)
	if len(a.Regions) != 8 || !slices.IsSorted(a.Regions) {
		t.Errorf("enabled are %v", a.Regions)
	}
}
