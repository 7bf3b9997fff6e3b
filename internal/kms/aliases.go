package kms

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var (
	toCreateAlias = access{action: "kms:CreateAlias"}
	toUpdateAlias = access{action: "kms:UpdateAlias"}
	toDeleteAlias = access{action: "kms:DeleteAlias"}
	toListAliases = access{action: "kms:ListAliases", arnErrors: true}
)

// CreateAlias implements [kmsapi.Handler].
func (s *Service) CreateAlias(ctx context.Context, c *call.Call, in *kmsapi.CreateAliasInput, out *kmsapi.CreateAliasOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createAlias)
}

func (s *Service) createAlias(ctx context.Context, c *call.Call, in *kmsapi.CreateAliasInput, _ *kmsapi.CreateAliasOutput) error {
	if err := checkAliasPrefix(in.AliasName); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(in.AliasName, aliasPrefixAWS):
		return kmsapi.InvalidAliasNameException("Aliases beginning with " + aliasPrefixAWS + " are reserved")
	case !isAliasName(in.AliasName):
		return kmsapi.InvalidAliasNameException(in.AliasName + " contains invalid characters for an alias")
	}
	target, err := s.findTarget(ctx, c, &toCreateAlias, in.TargetKeyID)
	if err != nil {
		return err
	}
	alias, err := s.decideAlias(ctx, c, toCreateAlias.action, in.AliasName)
	if err != nil {
		return err
	}
	key, err := s.useFound(ctx, c, &toCreateAlias, target, nil)
	if err != nil {
		return err
	}
	c.AddKey(alias.Resource(), c.Caller.Account)
	switch err := key.CreateAlias(ctx, alias, in.AliasName); {
	case errors.Is(err, keyring.ErrExists):
		return kmsapi.AlreadyExistsException("An alias with the name " + alias.Resource() + " already exists")
	case errors.Is(err, keyring.ErrLimit):
		return tooManyAliases(key)
	default:
		return err
	}
}

// UpdateAlias implements [kmsapi.Handler].
func (s *Service) UpdateAlias(ctx context.Context, c *call.Call, in *kmsapi.UpdateAliasInput, out *kmsapi.UpdateAliasOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateAlias)
}

func (s *Service) updateAlias(ctx context.Context, c *call.Call, in *kmsapi.UpdateAliasInput, _ *kmsapi.UpdateAliasOutput) error {
	if err := checkAliasPrefix(in.AliasName); err != nil {
		return err
	}
	current, err := s.findAlias(ctx, c, c.Caller.Account, in.AliasName)
	if err != nil {
		return err
	}
	target, err := s.findTarget(ctx, c, &toUpdateAlias, in.TargetKeyID)
	if err != nil {
		return err
	}
	alias, err := s.decideAlias(ctx, c, toUpdateAlias.action, in.AliasName)
	if err != nil {
		return err
	}
	permitCurrent, err := s.decide(ctx, c, toUpdateAlias.action, current, nil)
	if err != nil {
		return err
	}
	permitTarget, err := s.decide(ctx, c, toUpdateAlias.action, target, nil)
	if err != nil {
		return err
	}
	// The record lists the alias, then the key that it will point to.
	c.AddKey(alias.Resource(), c.Caller.Account)
	to, err := s.open(ctx, c, target, permitTarget)
	if err != nil {
		return err
	}
	from, err := s.ring.Open(ctx, c, permitCurrent)
	if err != nil {
		return stale(err)
	}
	switch err := from.UpdateAlias(ctx, alias, in.AliasName, to); {
	case errors.Is(err, keyring.ErrNotFound):
		return noSuchAlias(alias.Resource())
	case errors.Is(err, keyring.ErrIncompatible):
		return wire.Validation("Alias " + alias.Resource() + " cannot be moved to a key of another type or usage: " + to.Metadata().ARN)
	case errors.Is(err, keyring.ErrLimit):
		return tooManyAliases(to)
	default:
		return err
	}
}

// DeleteAlias implements [kmsapi.Handler].
func (s *Service) DeleteAlias(ctx context.Context, c *call.Call, in *kmsapi.DeleteAliasInput, out *kmsapi.DeleteAliasOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteAlias)
}

func (s *Service) deleteAlias(ctx context.Context, c *call.Call, in *kmsapi.DeleteAliasInput, _ *kmsapi.DeleteAliasOutput) error {
	if err := checkAliasPrefix(in.AliasName); err != nil {
		return err
	}
	current, err := s.findAlias(ctx, c, c.Caller.Account, in.AliasName)
	if err != nil {
		return err
	}
	alias, err := s.decideAlias(ctx, c, toDeleteAlias.action, in.AliasName)
	if err != nil {
		return err
	}
	permit, err := s.decide(ctx, c, toDeleteAlias.action, current, nil)
	if err != nil {
		return err
	}
	c.AddKey(alias.Resource(), c.Caller.Account)
	c.AddKey(current.subject.ARN(), current.subject.Account())
	key, err := s.ring.Open(ctx, c, permit)
	if err != nil {
		return stale(err)
	}
	err = key.DeleteAlias(ctx, alias, in.AliasName)
	if errors.Is(err, keyring.ErrNotFound) {
		return noSuchAlias(alias.Resource())
	}
	return err
}

// ListAliases implements [kmsapi.Handler].
func (s *Service) ListAliases(ctx context.Context, c *call.Call, in *kmsapi.ListAliasesInput, out *kmsapi.ListAliasesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listAliases)
}

func (s *Service) listAliases(ctx context.Context, c *call.Call, in *kmsapi.ListAliasesInput, out *kmsapi.ListAliasesOutput) error {
	limit, err := pageSize(in.Limit, 50, 100)
	if err != nil {
		return err
	}
	var keyID string
	if in.KeyID != "" {
		f, err := s.find(ctx, c, &toListAliases, in.KeyID)
		if err != nil {
			return err
		}
		if f.subject == nil {
			return authz.DenyUnknown(c, toListAliases.action, false)
		}
		keyID = f.subject.ID()
	}
	permit, err := s.decideAll(ctx, c, toListAliases.action, nil)
	if err != nil {
		return err
	}
	after, err := s.resume(c, keyID, in.Marker)
	if err != nil {
		return err
	}
	aliases, more, err := s.ring.Aliases(ctx, c, permit, c.Caller.Account, c.Region, keyID, after, limit)
	if err != nil {
		return err
	}
	out.Aliases = make([]kmsapi.AliasListEntry, len(aliases))
	for i := range aliases {
		a := &aliases[i]
		out.Aliases[i] = kmsapi.AliasListEntry{
			AliasName:       a.Name,
			AliasARN:        a.ARN,
			TargetKeyID:     a.TargetID,
			CreationDate:    a.Created,
			LastUpdatedDate: a.Updated,
		}
	}
	if more {
		out.Truncated = true
		out.NextMarker, err = s.marker(c, keyID, aliases[len(aliases)-1].Name)
	}
	return err
}

// checkAliasPrefix refuses what is not the name of an alias at all.
func checkAliasPrefix(name string) error {
	if strings.HasPrefix(name, aliasPrefix) {
		return nil
	}
	return wire.Validation(`Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
}

// findTarget finds the key that an alias shall point to.
func (s *Service) findTarget(ctx context.Context, c *call.Call, a *access, text string) (found, error) {
	resource := text
	if name, err := arn.Parse(text); err == nil {
		resource = name.Resource
	}
	if strings.HasPrefix(resource, aliasPrefix) {
		return found{}, wire.Validation("Aliases must refer to keys. Not aliases")
	}
	return s.find(ctx, c, a, text)
}

// stale turns a key that vanished between its decision and its use into one
// that changed, so that the operation starts anew and finds its alias gone too.
func stale(err error) error {
	if errors.Is(err, keyring.ErrNotFound) {
		return keyring.ErrStale
	}
	return err
}

func tooManyAliases(key keyring.Key) error {
	return kmsapi.LimitExceededException("The limit of " + strconv.Itoa(keyring.MaxAliases) + " aliases has been reached for the key " + key.Metadata().ARN + ".")
}
