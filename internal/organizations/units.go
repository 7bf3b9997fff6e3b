package organizations

import (
	"context"
	"errors"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

func errSameUnit() *wire.Error {
	return api.DuplicateOrganizationalUnitException("An OU with the same name already exists.")
}

// CreateOrganizationalUnit implements [api.Handler].
func (s *Service) CreateOrganizationalUnit(ctx context.Context, c *call.Call, in *api.CreateOrganizationalUnitInput, out *api.CreateOrganizationalUnitOutput) error {
	return serve(ctx, s, c, in, out, (*visit).createUnit)
}

func (v *visit) createUnit(ctx context.Context, in *api.CreateOrganizationalUnitInput, out *api.CreateOrganizationalUnitOutput) error {
	q, err := checkTags(in.Tags)
	if err != nil {
		return err
	}
	parent, err := v.anyTarget(ctx, in.ParentID)
	if err != nil {
		return err
	}
	if err := v.allow(ctx, q, parent); err != nil {
		return err
	}
	if !parent.found {
		return errNoParent()
	}
	u, err := v.s.dir.CreateUnit(ctx, identity.Unit{Organization: v.o.ID, Name: in.Name, Parent: in.ParentID, Tags: q.tags})
	switch {
	case errors.Is(err, identity.ErrExists):
		return errSameUnit()
	case errors.Is(err, identity.ErrDepth):
		return violates("OU_DEPTH_LIMIT_EXCEEDED", "You have exceeded the allowed depth of organizational units.")
	case errors.Is(err, identity.ErrLimit):
		return violates("OU_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of organizational units.")
	case err != nil:
		return err
	}
	out.OrganizationalUnit = v.unit(&u)
	return nil
}

func (v *visit) unit(u *identity.Unit) *api.OrganizationalUnit {
	return &api.OrganizationalUnit{ID: u.ID, ARN: v.arn("ou", u.ID), Name: u.Name}
}

// useUnit decides the call's action on a unit, which is there if there is no
// error.
func (v *visit) useUnit(ctx context.Context, id string) (*identity.Unit, error) {
	t, err := v.unitTarget(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := v.allow(ctx, conditions{}, t); err != nil {
		return nil, err
	}
	if !t.found {
		return nil, errNoUnit()
	}
	return t.unit, nil
}

// DescribeOrganizationalUnit implements [api.Handler].
func (s *Service) DescribeOrganizationalUnit(ctx context.Context, c *call.Call, in *api.DescribeOrganizationalUnitInput, out *api.DescribeOrganizationalUnitOutput) error {
	return serve(ctx, s, c, in, out, (*visit).describeUnit)
}

func (v *visit) describeUnit(ctx context.Context, in *api.DescribeOrganizationalUnitInput, out *api.DescribeOrganizationalUnitOutput) error {
	u, err := v.useUnit(ctx, in.OrganizationalUnitID)
	if err != nil {
		return err
	}
	out.OrganizationalUnit = v.unit(u)
	return nil
}

// UpdateOrganizationalUnit implements [api.Handler].
func (s *Service) UpdateOrganizationalUnit(ctx context.Context, c *call.Call, in *api.UpdateOrganizationalUnitInput, out *api.UpdateOrganizationalUnitOutput) error {
	return serve(ctx, s, c, in, out, (*visit).updateUnit)
}

func (v *visit) updateUnit(ctx context.Context, in *api.UpdateOrganizationalUnitInput, out *api.UpdateOrganizationalUnitOutput) error {
	u, err := v.useUnit(ctx, in.OrganizationalUnitID)
	if err != nil {
		return err
	}
	if in.Name != "" {
		if err := instead(v.s.dir.RenameUnit(ctx, v.o.ID, u.ID, in.Name), identity.ErrExists, errSameUnit()); err != nil {
			return err
		}
		u.Name = in.Name
	}
	out.OrganizationalUnit = v.unit(u)
	return nil
}

// DeleteOrganizationalUnit implements [api.Handler].
func (s *Service) DeleteOrganizationalUnit(ctx context.Context, c *call.Call, in *api.DeleteOrganizationalUnitInput, out *api.DeleteOrganizationalUnitOutput) error {
	return serve(ctx, s, c, in, out, (*visit).deleteUnit)
}

func (v *visit) deleteUnit(ctx context.Context, in *api.DeleteOrganizationalUnitInput, _ *api.DeleteOrganizationalUnitOutput) error {
	u, err := v.useUnit(ctx, in.OrganizationalUnitID)
	if err != nil {
		return err
	}
	err = instead(v.s.dir.DeleteUnit(ctx, v.o.ID, u.ID), identity.ErrConflict,
		api.OrganizationalUnitNotEmptyException("To delete an OU you must first move or remove all accounts and child OUs from it."))
	return instead(err, identity.ErrNotFound, errNoUnit())
}

// useParent decides the call's action on a root or unit, which is there if there
// is no error.
func (v *visit) useParent(ctx context.Context, id string) error {
	t, err := v.anyTarget(ctx, id)
	if err != nil {
		return err
	}
	if err := v.allow(ctx, conditions{}, t); err != nil {
		return err
	}
	if !t.found || t.account != nil {
		return errNoParent()
	}
	return nil
}

// ListOrganizationalUnitsForParent implements [api.Handler].
func (s *Service) ListOrganizationalUnitsForParent(ctx context.Context, c *call.Call, in *api.ListOrganizationalUnitsForParentInput, out *api.ListOrganizationalUnitsForParentOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listUnits)
}

func (v *visit) listUnits(ctx context.Context, in *api.ListOrganizationalUnitsForParentInput, out *api.ListOrganizationalUnitsForParentOutput) error {
	if err := v.useParent(ctx, in.ParentID); err != nil {
		return err
	}
	units, next, err := v.units(ctx, in.ParentID, in.NextToken, in.MaxResults)
	if err != nil {
		return err
	}
	out.OrganizationalUnits, out.NextToken = []api.OrganizationalUnit{}, next
	for i := range units {
		out.OrganizationalUnits = append(out.OrganizationalUnits, *v.unit(&units[i]))
	}
	return nil
}

func (v *visit) units(ctx context.Context, parent, token string, maxResults *int32) ([]identity.Unit, string, error) {
	return stored(v, parent, token, maxResults, func(p identity.Page) ([]identity.Unit, string, error) {
		return v.s.dir.Units(ctx, v.o.ID, parent, p)
	})
}

// ListChildren implements [api.Handler].
func (s *Service) ListChildren(ctx context.Context, c *call.Call, in *api.ListChildrenInput, out *api.ListChildrenOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listChildren)
}

func (v *visit) listChildren(ctx context.Context, in *api.ListChildrenInput, out *api.ListChildrenOutput) error {
	if err := v.useParent(ctx, in.ParentID); err != nil {
		return err
	}
	out.Children = []api.Child{}
	if in.ChildType == api.ChildTypeOrganizationalUnit {
		units, next, err := v.units(ctx, in.ParentID, in.NextToken, in.MaxResults)
		for i := range units {
			out.Children = append(out.Children, api.Child{ID: units[i].ID, Type: in.ChildType})
		}
		out.NextToken = next
		return err
	}
	members, next, err := v.members(ctx, in.ParentID, in.NextToken, in.MaxResults)
	for i := range members {
		out.Children = append(out.Children, api.Child{ID: members[i].ID, Type: in.ChildType})
	}
	out.NextToken = next
	return err
}

// ListParents implements [api.Handler]. Everything has one.
func (s *Service) ListParents(ctx context.Context, c *call.Call, in *api.ListParentsInput, out *api.ListParentsOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listParents)
}

func (v *visit) listParents(ctx context.Context, in *api.ListParentsInput, out *api.ListParentsOutput) error {
	t, err := v.anyTarget(ctx, in.ChildID)
	if err != nil {
		return err
	}
	if err := v.allow(ctx, conditions{}, t); err != nil {
		return err
	}
	p := api.Parent{Type: api.ParentTypeOrganizationalUnit}
	switch {
	case t.unit != nil:
		p.ID = t.unit.Parent
	case t.account != nil:
		p.ID = t.account.Parent
	default:
		return api.ChildNotFoundException("You specified a child that doesn't exist.")
	}
	if p.ID == v.o.Root {
		p.Type = api.ParentTypeRoot
	}
	parents, next, err := page(v, in.ChildID, in.NextToken, in.MaxResults, []api.Parent{p}, func(p api.Parent) string { return p.ID })
	out.Parents, out.NextToken = parents, next
	return err
}
