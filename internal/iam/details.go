package iam

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// GetAccountAuthorizationDetails implements [iamapi.Handler]: users, groups,
// roles, managed policies of the account, and those of AWS that are in use, in
// this order.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, c *call.Call, in *iamapi.GetAccountAuthorizationDetailsInput, out *iamapi.GetAccountAuthorizationDetailsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getAccountAuthorizationDetails)
}

func (s *Service) getAccountAuthorizationDetails(ctx context.Context, c *call.Call, in *iamapi.GetAccountAuthorizationDetailsInput, out *iamapi.GetAccountAuthorizationDetailsOutput) error {
	if err := s.decideAll(ctx, c, ""); err != nil {
		return err
	}
	wanted := slices.Clone(in.Filter)
	slices.Sort(wanted)
	filter := ""
	for _, t := range slices.Compact(wanted) {
		filter += string(t) + " "
	}
	// Where the page before ended: in which part, and the directory's marker in
	// it, of which none is where the part begins.
	marker, err := s.open(c, filter, in.Marker)
	if err != nil {
		return err
	}
	name, after, _ := strings.Cut(marker, "\x00")
	parts := []struct {
		of  iamapi.EntityType
		add func(p identity.Page) (n int, next string, err error)
	}{
		{iamapi.EntityTypeUser, func(p identity.Page) (int, string, error) { return s.addUsers(ctx, c, out, p) }},
		{iamapi.EntityTypeGroup, func(p identity.Page) (int, string, error) { return s.addGroups(ctx, c, out, p) }},
		{iamapi.EntityTypeRole, func(p identity.Page) (int, string, error) { return s.addRoles(ctx, c, out, p) }},
		{iamapi.EntityTypeLocalManagedPolicy, func(p identity.Page) (int, string, error) {
			return s.addPolicies(ctx, c, out, identity.PolicyScope{Local: true}, p)
		}},
		{iamapi.EntityTypeAWSManagedPolicy, func(p identity.Page) (int, string, error) {
			return s.addPolicies(ctx, c, out, identity.PolicyScope{AWS: true}, p)
		}},
	}
	left := pageSize(in.MaxItems)
	begun := marker == ""
	for _, part := range parts {
		if !begun && string(part.of) != name {
			continue
		}
		begun = true
		if len(wanted) > 0 && !slices.Contains(wanted, part.of) {
			continue
		}
		if left == 0 {
			out.IsTruncated = true
			out.Marker, err = s.seal(c, filter, string(part.of)+"\x00")
			return err
		}
		n, next, err := part.add(identity.Page{Marker: after, Limit: left})
		if err != nil {
			return err
		}
		if next != "" {
			out.IsTruncated = true
			out.Marker, err = s.seal(c, filter, string(part.of)+"\x00"+next)
			return err
		}
		left, after = left-n, ""
	}
	if !begun {
		return errInvalidMarker()
	}
	return nil
}

func (s *Service) addUsers(ctx context.Context, c *call.Call, out *iamapi.GetAccountAuthorizationDetailsOutput, p identity.Page) (int, string, error) {
	users, next, err := s.dir.Users(ctx, c.Caller.Account, p)
	if err != nil {
		return 0, "", err
	}
	for i := range users {
		u := &users[i]
		d := iamapi.UserDetail{
			Path: u.Path, UserName: u.Name, UserID: u.ID, ARN: u.ARN, CreateDate: u.Created,
			AttachedManagedPolicies: apiAttached(u.Policies), PermissionsBoundary: apiBoundary(u.Boundary), Tags: apiTags(u.Tags),
		}
		d.UserPolicyList, err = s.inlineDetails(ctx, identity.Entity{Kind: identity.UserEntity, Account: u.Account, Name: u.Name})
		if errors.Is(err, identity.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return 0, "", err
		}
		groups, err := s.dir.UserGroups(ctx, u.Account, u.Name)
		if errors.Is(err, identity.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, "", err
		}
		for _, g := range groups {
			d.GroupList = append(d.GroupList, g.Name)
		}
		out.UserDetailList = append(out.UserDetailList, d)
	}
	return len(users), next, nil
}

func (s *Service) addGroups(ctx context.Context, c *call.Call, out *iamapi.GetAccountAuthorizationDetailsOutput, p identity.Page) (int, string, error) {
	groups, next, err := s.dir.Groups(ctx, c.Caller.Account, p)
	if err != nil {
		return 0, "", err
	}
	for i := range groups {
		g := &groups[i]
		of := identity.Entity{Kind: identity.GroupEntity, Account: g.Account, Name: g.Name}
		d := iamapi.GroupDetail{Path: g.Path, GroupName: g.Name, GroupID: g.ID, ARN: g.ARN, CreateDate: g.Created}
		d.GroupPolicyList, err = s.inlineDetails(ctx, of)
		if errors.Is(err, identity.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return 0, "", err
		}
		attached, err := s.dir.AttachedPolicies(ctx, of)
		if errors.Is(err, identity.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, "", err
		}
		for _, a := range attached {
			d.AttachedManagedPolicies = append(d.AttachedManagedPolicies, iamapi.AttachedPolicy{PolicyName: a.Name, PolicyARN: a.ARN})
		}
		out.GroupDetailList = append(out.GroupDetailList, d)
	}
	return len(groups), next, nil
}

func (s *Service) addRoles(ctx context.Context, c *call.Call, out *iamapi.GetAccountAuthorizationDetailsOutput, p identity.Page) (int, string, error) {
	roles, next, err := s.dir.Roles(ctx, c.Caller.Account, p)
	if err != nil {
		return 0, "", err
	}
	for i := range roles {
		r := &roles[i]
		d := iamapi.RoleDetail{
			Path: r.Path, RoleName: r.Name, RoleID: r.ID, ARN: r.ARN, CreateDate: r.Created, AssumeRolePolicyDocument: r.Trust,
			AttachedManagedPolicies: apiAttached(r.Policies), PermissionsBoundary: apiBoundary(r.Boundary), Tags: apiTags(r.Tags),
		}
		d.RolePolicyList, err = s.inlineDetails(ctx, identity.Entity{Kind: identity.RoleEntity, Account: r.Account, Name: r.Name})
		if errors.Is(err, identity.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return 0, "", err
		}
		if d.RoleLastUsed, err = s.roleLastUsed(ctx, r); err != nil {
			return 0, "", err
		}
		out.RoleDetailList = append(out.RoleDetailList, d)
	}
	return len(roles), next, nil
}

// addPolicies adds managed policies with all their versions. Of AWS's only
// those are of the account that it uses.
func (s *Service) addPolicies(ctx context.Context, c *call.Call, out *iamapi.GetAccountAuthorizationDetailsOutput, scope identity.PolicyScope, p identity.Page) (int, string, error) {
	policies, next, err := s.dir.ManagedPolicies(ctx, c.Caller.Account, scope, p)
	if err != nil {
		return 0, "", err
	}
	n := 0
	for i := range policies {
		p := &policies[i]
		if scope.AWS && p.Attachments+p.Boundaries == 0 {
			continue
		}
		v := apiPolicy(p)
		d := iamapi.ManagedPolicyDetail{
			PolicyName: v.PolicyName, PolicyID: v.PolicyID, ARN: v.ARN, Path: v.Path, DefaultVersionID: v.DefaultVersionID,
			AttachmentCount: v.AttachmentCount, PermissionsBoundaryUsageCount: v.PermissionsBoundaryUsageCount,
			IsAttachable: v.IsAttachable, Description: v.Description, CreateDate: v.CreateDate, UpdateDate: v.UpdateDate,
		}
		versions, err := s.dir.PolicyVersions(ctx, c.Caller.Account, p.ARN)
		if errors.Is(err, identity.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, "", err
		}
		for j := range versions {
			d.PolicyVersionList = append(d.PolicyVersionList, *apiVersion(&versions[j]))
		}
		out.Policies = append(out.Policies, d)
		n++
	}
	return n, next, nil
}

// inlineDetails returns the inline policies of a user, group or role in the
// API's terms.
func (s *Service) inlineDetails(ctx context.Context, of identity.Entity) ([]iamapi.PolicyDetail, error) {
	policies, err := s.dir.InlineDocuments(ctx, of)
	var list []iamapi.PolicyDetail
	for _, p := range policies {
		list = append(list, iamapi.PolicyDetail{PolicyName: p.Name, PolicyDocument: p.Document})
	}
	return list, err
}

// apiAttached returns managed policies by their ARNs in the API's terms.
func apiAttached(arns []string) []iamapi.AttachedPolicy {
	var list []iamapi.AttachedPolicy
	for _, a := range arns {
		list = append(list, iamapi.AttachedPolicy{PolicyName: a[strings.LastIndexByte(a, '/')+1:], PolicyARN: a})
	}
	return list
}
