package iam

import (
	"context"
	"errors"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// useProvider finds an identity provider of the caller's account and decides the
// call's own action on it. It is there if there is no error; if there is none,
// the error is an errNoSuchProvider.
func (s *Service) useProvider(ctx context.Context, c *call.Call, providerARN string, q conditions) (*identity.OIDCProvider, error) {
	a, err := arn.Parse(providerARN)
	if err != nil || a.Service != "iam" || !strings.HasPrefix(a.Resource, "oidc-provider/") {
		return nil, wire.QueryValidation("ARN " + providerARN + " is not valid.")
	}
	t := &target{arn: providerARN, account: c.Caller.Account}
	p, err := s.dir.OIDCProvider(ctx, providerARN)
	missing := errors.Is(err, identity.ErrNotFound) || err == nil && p.Account != c.Caller.Account
	switch {
	case err != nil && !missing:
		return nil, err
	case !missing:
		t.tags = p.Tags
	}
	if err := s.decide(ctx, c, c.Operation.Name, t, &q); err != nil {
		return nil, err
	}
	if missing {
		return nil, errNoSuchProvider(providerARN)
	}
	return &p, nil
}

func errNoSuchProvider(providerARN string) *wire.Error {
	return iamapi.NoSuchEntity("OpenIDConnect Provider not found for arn " + providerARN)
}

// providerError puts what is wrong with a provider's URL, client ids or
// thumbprints into the API's terms.
func providerError(err error) error {
	var told *identity.Error
	if errors.As(err, &told) && errors.Is(err, identity.ErrInvalid) && strings.HasSuffix(told.Message, ".") {
		return iamapi.InvalidInput(told.Message)
	}
	return err
}

// CreateOpenIDConnectProvider implements [iamapi.Handler]. The issuer is not
// asked for anything.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.CreateOpenIDConnectProviderInput, out *iamapi.CreateOpenIDConnectProviderOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createOpenIDConnectProvider)
}

func (s *Service) createOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.CreateOpenIDConnectProviderInput, out *iamapi.CreateOpenIDConnectProviderOutput) error {
	q, err := checkTags(in.Tags, textDuplicateTags)
	if err != nil {
		return err
	}
	url, err := identity.CheckIssuer(in.Url)
	if err != nil {
		return providerError(err)
	}
	t := &target{arn: identity.OIDCProviderARN(c.Caller.Account, url), account: c.Caller.Account}
	if err := s.decideNew(ctx, c, "TagOpenIDConnectProvider", t, &q); err != nil {
		return err
	}
	p, err := s.dir.CreateOIDCProvider(ctx, identity.OIDCProvider{
		Account: c.Caller.Account, URL: url, ClientIDs: in.ClientIDList, Thumbprints: in.ThumbprintList, Tags: q.tags,
	})
	if err != nil {
		return providerError(err)
	}
	out.OpenIDConnectProviderARN, out.Tags = p.ARN, apiTags(p.Tags)
	return nil
}

// GetOpenIDConnectProvider implements [iamapi.Handler].
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.GetOpenIDConnectProviderInput, out *iamapi.GetOpenIDConnectProviderOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getOpenIDConnectProvider)
}

func (s *Service) getOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.GetOpenIDConnectProviderInput, out *iamapi.GetOpenIDConnectProviderOutput) error {
	p, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, conditions{})
	if err != nil {
		return err
	}
	*out = iamapi.GetOpenIDConnectProviderOutput{
		Url: p.URL, ClientIDList: p.ClientIDs, ThumbprintList: p.Thumbprints, CreateDate: p.Created, Tags: apiTags(p.Tags),
	}
	return nil
}

// ListOpenIDConnectProviders implements [iamapi.Handler].
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, c *call.Call, in *iamapi.ListOpenIDConnectProvidersInput, out *iamapi.ListOpenIDConnectProvidersOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listOpenIDConnectProviders)
}

func (s *Service) listOpenIDConnectProviders(ctx context.Context, c *call.Call, _ *iamapi.ListOpenIDConnectProvidersInput, out *iamapi.ListOpenIDConnectProvidersOutput) error {
	if err := s.decideAll(ctx, c, arnOf("oidc-provider", c.Caller.Account, "/", "*")); err != nil {
		return err
	}
	list, err := s.dir.OIDCProviders(ctx, c.Caller.Account)
	if err != nil {
		return err
	}
	out.OpenIDConnectProviderList = make([]iamapi.OpenIDConnectProviderListEntry, len(list))
	for i := range list {
		out.OpenIDConnectProviderList[i].ARN = list[i].ARN
	}
	return nil
}

// DeleteOpenIDConnectProvider implements [iamapi.Handler]. It is no error if
// there is no such provider.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.DeleteOpenIDConnectProviderInput, out *iamapi.DeleteOpenIDConnectProviderOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteOpenIDConnectProvider)
}

func (s *Service) deleteOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.DeleteOpenIDConnectProviderInput, _ *iamapi.DeleteOpenIDConnectProviderOutput) error {
	_, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, conditions{})
	if err == nil {
		err = s.dir.DeleteOIDCProvider(ctx, in.OpenIDConnectProviderARN)
	}
	missing := errNoSuchProvider(in.OpenIDConnectProviderARN)
	if told := (*wire.Error)(nil); errors.Is(err, identity.ErrNotFound) || errors.As(err, &told) && told.Code == missing.Code {
		return nil
	}
	return err
}

// AddClientIDToOpenIDConnectProvider implements [iamapi.Handler].
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.AddClientIDToOpenIDConnectProviderInput, out *iamapi.AddClientIDToOpenIDConnectProviderOutput) error {
	return serve(ctx, s, c, in, out, (*Service).addClientID)
}

func (s *Service) addClientID(ctx context.Context, c *call.Call, in *iamapi.AddClientIDToOpenIDConnectProviderInput, _ *iamapi.AddClientIDToOpenIDConnectProviderOutput) error {
	if _, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, conditions{}); err != nil {
		return err
	}
	return providerError(s.dir.AddOIDCClient(ctx, in.OpenIDConnectProviderARN, in.ClientID))
}

// RemoveClientIDFromOpenIDConnectProvider implements [iamapi.Handler].
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.RemoveClientIDFromOpenIDConnectProviderInput, out *iamapi.RemoveClientIDFromOpenIDConnectProviderOutput) error {
	return serve(ctx, s, c, in, out, (*Service).removeClientID)
}

func (s *Service) removeClientID(ctx context.Context, c *call.Call, in *iamapi.RemoveClientIDFromOpenIDConnectProviderInput, _ *iamapi.RemoveClientIDFromOpenIDConnectProviderOutput) error {
	if _, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, conditions{}); err != nil {
		return err
	}
	return s.dir.RemoveOIDCClient(ctx, in.OpenIDConnectProviderARN, in.ClientID)
}

// UpdateOpenIDConnectProviderThumbprint implements [iamapi.Handler].
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, c *call.Call, in *iamapi.UpdateOpenIDConnectProviderThumbprintInput, out *iamapi.UpdateOpenIDConnectProviderThumbprintOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateThumbprints)
}

func (s *Service) updateThumbprints(ctx context.Context, c *call.Call, in *iamapi.UpdateOpenIDConnectProviderThumbprintInput, _ *iamapi.UpdateOpenIDConnectProviderThumbprintOutput) error {
	if _, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, conditions{}); err != nil {
		return err
	}
	return providerError(s.dir.SetOIDCThumbprints(ctx, in.OpenIDConnectProviderARN, in.ThumbprintList))
}

// TagOpenIDConnectProvider implements [iamapi.Handler].
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.TagOpenIDConnectProviderInput, out *iamapi.TagOpenIDConnectProviderOutput) error {
	return serve(ctx, s, c, in, out, (*Service).tagOpenIDConnectProvider)
}

func (s *Service) tagOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.TagOpenIDConnectProviderInput, _ *iamapi.TagOpenIDConnectProviderOutput) error {
	q, err := checkTags(in.Tags, textDuplicateTags)
	if err != nil {
		return err
	}
	if _, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, q); err != nil {
		return err
	}
	return s.dir.TagOIDCProvider(ctx, in.OpenIDConnectProviderARN, q.tags)
}

// UntagOpenIDConnectProvider implements [iamapi.Handler].
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.UntagOpenIDConnectProviderInput, out *iamapi.UntagOpenIDConnectProviderOutput) error {
	return serve(ctx, s, c, in, out, (*Service).untagOpenIDConnectProvider)
}

func (s *Service) untagOpenIDConnectProvider(ctx context.Context, c *call.Call, in *iamapi.UntagOpenIDConnectProviderInput, _ *iamapi.UntagOpenIDConnectProviderOutput) error {
	if _, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, conditions{tagKeys: in.TagKeys}); err != nil {
		return err
	}
	return s.dir.UntagOIDCProvider(ctx, in.OpenIDConnectProviderARN, in.TagKeys)
}

// ListOpenIDConnectProviderTags implements [iamapi.Handler].
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, c *call.Call, in *iamapi.ListOpenIDConnectProviderTagsInput, out *iamapi.ListOpenIDConnectProviderTagsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listOpenIDConnectProviderTags)
}

func (s *Service) listOpenIDConnectProviderTags(ctx context.Context, c *call.Call, in *iamapi.ListOpenIDConnectProviderTagsInput, out *iamapi.ListOpenIDConnectProviderTagsOutput) error {
	p, err := s.useProvider(ctx, c, in.OpenIDConnectProviderARN, conditions{})
	if err != nil {
		return err
	}
	out.Tags, out.IsTruncated, out.Marker, err = s.tagPage(c, p.ARN, in.Marker, in.MaxItems, p.Tags, byKey)
	return err
}
