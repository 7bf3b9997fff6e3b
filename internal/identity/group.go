package identity

import (
	"context"
	"errors"
	"slices"

	"github.com/keyreeve/keyreeve/internal/record"
)

func (e *entity) group() Group {
	return Group{Account: e.account, Name: e.name, Path: e.path, ID: e.id, ARN: e.arn(), Created: e.created}
}

// CreateGroup makes a group of g's account, name and path, which is "/" if it
// is empty. Errors: ErrExists, ErrInvalid, ErrLimit, ErrNotFound (the account).
func (d *Directory) CreateGroup(ctx context.Context, g Group) (Group, error) {
	e := &entity{kind: GroupEntity, account: g.Account, name: g.Name, path: g.Path}
	if err := d.create(ctx, e); err != nil {
		return Group{}, err
	}
	return e.group(), nil
}

// Group returns a group, or ErrNotFound.
func (d *Directory) Group(ctx context.Context, account, name string) (Group, error) {
	e, _, err := d.entity(ctx, Entity{GroupEntity, account, name})
	if err != nil {
		return Group{}, err
	}
	return e.group(), nil
}

// Groups returns a page of an account's groups, ordered by lower-cased name, and
// the marker of the next page, empty if there is none.
func (d *Directory) Groups(ctx context.Context, account string, p Page) ([]Group, string, error) {
	list, next, err := d.list(ctx, GroupEntity, account, p, nil)
	return views(list, (*entity).group), next, err
}

// UpdateGroup gives a group another name or path; an empty one stays. Its
// members stay. Errors: ErrNotFound, ErrExists, ErrInvalid.
func (d *Directory) UpdateGroup(ctx context.Context, account, name, newName, newPath string) error {
	return d.rename(ctx, Entity{GroupEntity, account, name}, newName, newPath, nil)
}

// DeleteGroup deletes a group without members and policies. Errors: ErrNotFound,
// ErrConflict.
func (d *Directory) DeleteGroup(ctx context.Context, account, name string) error {
	return d.remove(ctx, Entity{GroupEntity, account, name}, func(e *entity) error {
		if e.members == 0 {
			return nil
		}
		// Where users were deleted underneath, the count is too high. Whoever
		// becomes a member meanwhile changes the group's record, and this begins
		// anew.
		list, _, err := d.list(ctx, UserEntity, account, Page{Limit: 1}, func(u *entity) bool { return slices.Contains(u.groups, e.id) })
		if err == nil && len(list) > 0 {
			err = &Error{ErrConflict, "Cannot delete entity, must remove users from group first."}
		}
		return err
	})
}

// AddUserToGroup makes a user a member, if it is none yet. Errors: ErrNotFound,
// ErrLimit (ten groups).
func (d *Directory) AddUserToGroup(ctx context.Context, account, group, user string) error {
	return d.change(ctx, Entity{GroupEntity, account, group}, func(tx *record.Tx, g *entity) (bool, error) {
		u, rec, err := d.entity(ctx, Entity{UserEntity, account, user})
		if err != nil {
			return false, err
		}
		if slices.Contains(u.groups, g.id) {
			return false, nil
		}
		if len(u.groups) >= MaxMemberships {
			return false, overQuota("GroupsPerUser", MaxMemberships)
		}
		next := u.clone()
		next.groups = append(next.groups, g.id)
		g.members++
		tx.Put(rec, next.encode())
		return true, nil
	})
}

// RemoveUserFromGroup ends a membership; ErrNotFound if there is no such user,
// group or membership.
func (d *Directory) RemoveUserFromGroup(ctx context.Context, account, group, user string) error {
	return d.change(ctx, Entity{GroupEntity, account, group}, func(tx *record.Tx, g *entity) (bool, error) {
		u, rec, err := d.entity(ctx, Entity{UserEntity, account, user})
		if err != nil {
			return false, err
		}
		at := slices.Index(u.groups, g.id)
		if at < 0 {
			return false, &Error{ErrNotFound, "User " + user + " is not a member of group " + group + "."}
		}
		next := u.clone()
		next.groups = slices.Delete(next.groups, at, at+1)
		g.members = max(0, g.members-1)
		tx.Put(rec, next.encode())
		return true, nil
	})
}

// GroupMembers returns a page of a group's users, ordered by lower-cased name,
// and the marker of the next page, empty if there is none. Errors: ErrNotFound.
func (d *Directory) GroupMembers(ctx context.Context, account, group string, p Page) ([]User, string, error) {
	g, _, err := d.entity(ctx, Entity{GroupEntity, account, group})
	if err != nil {
		return nil, "", err
	}
	list, next, err := d.list(ctx, UserEntity, account, p, func(u *entity) bool { return slices.Contains(u.groups, g.id) })
	return views(list, (*entity).user), next, err
}

// UserGroups returns the groups of a user, in the order in which it joined them.
// Errors: ErrNotFound.
func (d *Directory) UserGroups(ctx context.Context, account, user string) ([]Group, error) {
	u, _, err := d.entity(ctx, Entity{UserEntity, account, user})
	if err != nil {
		return nil, err
	}
	var list []Group
	for _, id := range u.groups {
		g, err := d.entityByID(ctx, id)
		if errors.Is(err, ErrNotFound) {
			d.log.Error("a user's group is missing", "user", u.arn(), "group", id)
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, g.group())
	}
	return list, nil
}
