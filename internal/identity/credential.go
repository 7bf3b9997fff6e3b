package identity

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// accessKey is an access key as it is cached.
type accessKey struct {
	AccessKey
	account []byte // storage keys of what the access key depends on
	user    []byte
	signs   *sigv4.Key

	// bound is the principal of the access key, for the user as it was when it
	// was last asked for.
	bound atomic.Pointer[bound]
}

type bound struct {
	user      *User
	principal *call.Principal
}

func cacheAccessKey(rec record.Record) (*accessKey, error) {
	k, err := decodeAccessKey(rec)
	if err != nil {
		return nil, err
	}
	return &accessKey{
		AccessKey: *k,
		account:   []byte(accountKey(k.Account)),
		user:      []byte(userKey(k.Account, k.User)),
		signs:     sigv4.NewKey(k.Secret),
	}, nil
}

// Credential returns who signs with an access key, and the key it signs with.
// Both are shared and not changed. [sigv4.ErrUnrecognizedClient]: there is no
// such access key, it is inactive, its user or account has gone, or it comes
// with a session token, which long-term keys do not have. Other errors are
// those of the store.
//
// An access key in use costs no read of the store and no allocation. An unknown
// one costs a read of the store, if it has the form of an id at all.
func (d *Directory) Credential(ctx context.Context, accessKeyID, token string) (*call.Principal, *sigv4.Key, error) {
	if !isAccessKeyID(accessKeyID) || token != "" {
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	var buf [len(accessKeyPrefix) + 128]byte
	k, err := d.keys.Get(ctx, append(append(buf[:0], accessKeyPrefix...), accessKeyID...))
	if err != nil {
		return nil, nil, unrecognized(err)
	}
	if !k.Active {
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	u, err := d.users.Get(ctx, k.user)
	if err != nil {
		return nil, nil, unrecognized(err)
	}
	if b := k.bound.Load(); b != nil && b.user == u {
		if _, err := d.accounts.Get(ctx, k.account); err != nil {
			return nil, nil, unrecognized(err)
		}
		return b.principal, k.signs, nil
	}
	if !k.belongsTo(u) {
		d.log.Warn("an access key was refused: its user is gone, and another has the name", "accessKeyId", k.ID, "user", u.ARN)
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	if _, err := d.accounts.Get(ctx, k.account); err != nil {
		return nil, nil, unrecognized(err)
	}
	p := &call.Principal{
		Kind:        call.User,
		Account:     u.Account,
		ARN:         u.ARN,
		ID:          u.ID,
		Name:        u.Name,
		AccessKeyID: k.ID,
	}
	for _, arn := range u.Policies {
		p.Policies.Identity = append(p.Policies.Identity, call.Attached{ARN: arn})
	}
	k.bound.Store(&bound{u, p})
	return p, k.signs, nil
}

// unrecognized turns the absence of a record into the one answer for all that
// is wrong with an access key.
func unrecognized(err error) error {
	if errors.Is(err, record.ErrNotFound) {
		return sigv4.ErrUnrecognizedClient
	}
	return err
}
