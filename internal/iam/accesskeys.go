package iam

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// useOwn decides the call's own action on the user whose access keys it is
// about: the caller's own, if the request names none. It returns the user's
// name, which is empty for the root user.
func (s *Service) useOwn(ctx context.Context, c *call.Call, name string) (string, error) {
	name, err := ownName(c, name)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", s.decide(ctx, c, c.Operation.Name, rootTarget(c), &conditions{})
	}
	f, err := s.use(ctx, c, aUser, name, conditions{})
	if err != nil {
		return "", err
	}
	return f.name, nil
}

// ownKey returns an access key's id if it is a key of the user.
func (s *Service) ownKey(ctx context.Context, c *call.Call, user, id string) (string, error) {
	k, err := s.dir.AccessKey(ctx, id)
	if err != nil {
		return "", instead(err, errNoSuchAccessKey(id))
	}
	k.Secret.Wipe()
	if k.Account != c.Caller.Account || !strings.EqualFold(k.User, user) {
		return "", errNoSuchAccessKey(id)
	}
	return k.ID, nil
}

// CreateAccessKey implements [iamapi.Handler]. No other operation tells a secret
// access key.
func (s *Service) CreateAccessKey(ctx context.Context, c *call.Call, in *iamapi.CreateAccessKeyInput, out *iamapi.CreateAccessKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createAccessKey)
}

func (s *Service) createAccessKey(ctx context.Context, c *call.Call, in *iamapi.CreateAccessKeyInput, out *iamapi.CreateAccessKeyOutput) error {
	user, err := s.useOwn(ctx, c, in.UserName)
	if err != nil {
		return err
	}
	k, err := s.dir.CreateAccessKey(ctx, c.Caller.Account, user, "", secret.Bytes{})
	if err != nil {
		return err
	}
	out.AccessKey = &iamapi.AccessKey{
		UserName:        k.User,
		AccessKeyID:     k.ID,
		Status:          status(&k),
		SecretAccessKey: k.Secret, // wiped once it is encoded
		CreateDate:      k.Created,
	}
	return nil
}

// UpdateAccessKey implements [iamapi.Handler].
func (s *Service) UpdateAccessKey(ctx context.Context, c *call.Call, in *iamapi.UpdateAccessKeyInput, out *iamapi.UpdateAccessKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateAccessKey)
}

func (s *Service) updateAccessKey(ctx context.Context, c *call.Call, in *iamapi.UpdateAccessKeyInput, _ *iamapi.UpdateAccessKeyOutput) error {
	user, err := s.useOwn(ctx, c, in.UserName)
	if err != nil {
		return err
	}
	id, err := s.ownKey(ctx, c, user, in.AccessKeyID)
	if err != nil {
		return err
	}
	return instead(s.dir.SetAccessKeyActive(ctx, id, in.Status == iamapi.StatusTypeActive), errNoSuchAccessKey(id))
}

// ListAccessKeys implements [iamapi.Handler].
func (s *Service) ListAccessKeys(ctx context.Context, c *call.Call, in *iamapi.ListAccessKeysInput, out *iamapi.ListAccessKeysOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listAccessKeys)
}

func (s *Service) listAccessKeys(ctx context.Context, c *call.Call, in *iamapi.ListAccessKeysInput, out *iamapi.ListAccessKeysOutput) error {
	user, err := s.useOwn(ctx, c, in.UserName)
	if err != nil {
		return err
	}
	keys, err := s.dir.AccessKeys(ctx, c.Caller.Account, user)
	if err != nil {
		return err
	}
	byID := func(k identity.AccessKey) string { return k.ID }
	keys, out.IsTruncated, out.Marker, err = page(s, c, user, in.Marker, in.MaxItems, keys, byID, strings.Compare)
	if err != nil {
		return err
	}
	out.AccessKeyMetadata = make([]iamapi.AccessKeyMetadata, len(keys))
	for i := range keys {
		out.AccessKeyMetadata[i] = iamapi.AccessKeyMetadata{
			UserName: keys[i].User, AccessKeyID: keys[i].ID, Status: status(&keys[i]), CreateDate: keys[i].Created,
		}
	}
	return nil
}

// DeleteAccessKey implements [iamapi.Handler].
func (s *Service) DeleteAccessKey(ctx context.Context, c *call.Call, in *iamapi.DeleteAccessKeyInput, out *iamapi.DeleteAccessKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteAccessKey)
}

func (s *Service) deleteAccessKey(ctx context.Context, c *call.Call, in *iamapi.DeleteAccessKeyInput, _ *iamapi.DeleteAccessKeyOutput) error {
	user, err := s.useOwn(ctx, c, in.UserName)
	if err != nil {
		return err
	}
	id, err := s.ownKey(ctx, c, user, in.AccessKeyID)
	if err != nil {
		return err
	}
	return instead(s.dir.DeleteAccessKey(ctx, id), errNoSuchAccessKey(id))
}

func status(k *identity.AccessKey) iamapi.StatusType {
	if k.Active {
		return iamapi.StatusTypeActive
	}
	return iamapi.StatusTypeInactive
}
