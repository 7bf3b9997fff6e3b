package identity

import (
	"context"
	"fmt"
	"slices"
)

// RegionStatus is whether the principals of an account can call services in a
// Region.
type RegionStatus uint8

// The statuses.
const (
	RegionAlways   RegionStatus = iota // there is nothing to enable
	RegionEnabled                      // the account has enabled it
	RegionDisabled                     // it has not
)

// MaxAccountRegions is how many Regions an account can have enabled. It only
// keeps records small: there are fewer.
const MaxAccountRegions = 100

// RegionStatus returns the status of a Region for an account.
func (d *Directory) RegionStatus(a *Account, region string) RegionStatus {
	switch {
	case !slices.Contains(d.optIn, region), a.Management && region == d.home:
		return RegionAlways
	case slices.Contains(a.Regions, region):
		return RegionEnabled
	}
	return RegionDisabled
}

// closed returns the Regions that an account has not enabled.
func (d *Directory) closed(a *Account) []string {
	var closed []string
	for _, region := range d.optIn {
		if d.RegionStatus(a, region) == RegionDisabled {
			closed = append(closed, region)
		}
	}
	return closed
}

// EnableRegion enables a Region for an account: its principals can call services
// there. Nothing happens if it is enabled. Errors: ErrNotFound (the account),
// ErrLimit.
func (d *Directory) EnableRegion(ctx context.Context, account, region string) error {
	return d.changeRegions(ctx, account, func(list []string) ([]string, error) {
		at, found := slices.BinarySearch(list, region)
		if found {
			return list, nil
		}
		if len(list) >= MaxAccountRegions {
			return nil, &Error{ErrLimit, fmt.Sprintf("An account can enable %d Regions.", MaxAccountRegions)}
		}
		return slices.Insert(list, at, region), nil
	})
}

// DisableRegion undoes an EnableRegion: what the account has in the Region stays,
// but its principals do not get to it. Nothing happens if it is not enabled.
// Error: ErrNotFound (the account).
func (d *Directory) DisableRegion(ctx context.Context, account, region string) error {
	return d.changeRegions(ctx, account, func(list []string) ([]string, error) {
		if at, found := slices.BinarySearch(list, region); found {
			list = slices.Delete(list, at, at+1)
		}
		return list, nil
	})
}

// changeRegions changes a copy of the Regions that an account has enabled.
func (d *Directory) changeRegions(ctx context.Context, id string, change func([]string) ([]string, error)) error {
	return d.retry(ctx, func() error {
		a, rec, err := d.loadAccount(ctx, id)
		if err != nil {
			return err
		}
		next := *a
		if next.Regions, err = change(slices.Clone(a.Regions)); err != nil {
			return err
		}
		if slices.Equal(next.Regions, a.Regions) {
			return nil
		}
		tx := d.rs.Begin()
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "changing account "+id)
	})
}
