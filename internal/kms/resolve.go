package kms

import (
	"context"
	"errors"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// access is what an operation does to a key, and how it lets the key be named.
type access struct {
	action string

	// shared: the key may be another account's, and be named by an alias.
	// Otherwise only key ids and key ARNs of the caller's account will do.
	shared bool

	// foreign: the key may be another account's, but is named by no alias.
	foreign bool

	// arnErrors: the operation has InvalidArnException among its errors.
	// Otherwise what is wrong with an ARN is a NotFoundException.
	arnErrors bool
}

// A found key has a subject, or it is not there and nobody may learn so.
type found struct {
	subject        *keyring.Subject
	alias          string // by which the caller named it, with the prefix; empty if not by one
	fromCiphertext bool   // named by a ciphertext, not by the caller
}

// is reports whether f and g are the same key.
func (f found) is(g found) bool {
	return f.subject != nil && g.subject != nil && f.subject.ARN() == g.subject.ARN()
}

// find returns the key that the caller's text names. A key or alias that is not
// there is a NotFoundException in the caller's account and Region; elsewhere it
// is a found without a subject, which nobody is allowed anything on.
func (s *Service) find(ctx context.Context, c *call.Call, a *access, text string) (found, error) {
	switch {
	case arn.Is(text):
		return s.findARN(ctx, c, a, text)
	case strings.HasPrefix(text, aliasPrefix):
		switch {
		case a.shared:
			return s.findAlias(ctx, c, c.Caller.Account, text)
		case a.arnErrors:
			return found{}, noAliases()
		}
		return found{}, invalidKeyID(text)
	}
	return s.findID(ctx, c, c.Caller.Account, text, text)
}

func (s *Service) findARN(ctx context.Context, c *call.Call, a *access, text string) (found, error) {
	name, err := arn.Parse(text)
	isAlias := strings.HasPrefix(name.Resource, aliasPrefix)
	id, isKey := strings.CutPrefix(name.Resource, "key/")
	switch {
	case err != nil || name.Service != "kms" || name.Region == "" || name.Account == "" ||
		name.Partition != arn.Partition(name.Region) || !isAlias && !isKey:
		if a.arnErrors {
			return found{}, kmsapi.InvalidArnException("Invalid arn " + text)
		}
		return found{}, invalidKeyID(text)
	case name.Region != c.Region:
		return found{}, kmsapi.NotFoundException("Invalid arn " + name.Region)
	case name.Account != c.Caller.Account && !a.shared && !a.foreign:
		return found{}, nil
	case isKey:
		return s.findID(ctx, c, name.Account, id, text)
	case a.shared:
		return s.findAlias(ctx, c, name.Account, name.Resource)
	case a.arnErrors:
		return found{}, noAliases()
	}
	return found{}, invalidKeyID(text)
}

// findID finds a key by its id; text is what the caller called it.
func (s *Service) findID(ctx context.Context, c *call.Call, account, id, text string) (found, error) {
	own := account == c.Caller.Account
	if !keyring.IsKeyID(id) {
		if own {
			return found{}, invalidKeyID(text)
		}
		return found{}, nil
	}
	subject, err := s.ring.Find(ctx, account, c.Region, id)
	switch {
	case err == nil:
		return found{subject: subject}, nil
	case !errors.Is(err, keyring.ErrNotFound):
		return found{}, err
	case own:
		return found{}, noSuchKey(arn.Key(c.Region, account, id))
	}
	return found{}, nil
}

// findAlias finds the key behind an alias.
func (s *Service) findAlias(ctx context.Context, c *call.Call, account, name string) (found, error) {
	own := account == c.Caller.Account
	err := keyring.ErrNotFound
	var subject *keyring.Subject
	if isAliasName(name) {
		subject, err = s.ring.FindAlias(ctx, account, c.Region, name)
	}
	switch {
	case err == nil:
		return found{subject: subject, alias: name}, nil
	case !errors.Is(err, keyring.ErrNotFound):
		return found{}, err
	case own:
		return found{}, noSuchAlias(arn.Alias(c.Region, account, name))
	}
	return found{}, nil
}

// findCiphertext finds the key that a ciphertext names.
func (s *Service) findCiphertext(ctx context.Context, c *call.Call, h keyring.Header) (found, error) {
	subject, err := s.ring.Find(ctx, h.Account, c.Region, h.KeyID)
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return found{}, err
	}
	return found{subject: subject, fromCiphertext: true}, nil
}

// open opens the key that a permit was given for.
func (s *Service) open(ctx context.Context, c *call.Call, f found, p authz.Permit) (keyring.Key, error) {
	c.AddKey(f.subject.ARN(), f.subject.Account())
	key, err := s.ring.Open(ctx, c, p)
	if errors.Is(err, keyring.ErrNotFound) {
		return key, noSuchKey(f.subject.ARN()) // destroyed a moment ago
	}
	if err == nil && s.quotas != nil {
		err = s.countKey(c, key.Metadata().Spec)
	}
	return key, err
}

// use finds the key that the caller's text names, decides, and opens it.
func (s *Service) use(ctx context.Context, c *call.Call, a *access, text string, q *asked) (keyring.Key, error) {
	f, err := s.find(ctx, c, a, text)
	if err != nil {
		return keyring.Key{}, err
	}
	return s.useFound(ctx, c, a, f, q)
}

// useFound decides on a found key, and opens it.
func (s *Service) useFound(ctx context.Context, c *call.Call, a *access, f found, q *asked) (keyring.Key, error) {
	p, err := s.decide(ctx, c, a.action, f, q)
	if err != nil {
		return keyring.Key{}, err
	}
	return s.open(ctx, c, f, p)
}

// noAliases refuses an alias where only keys are accepted.
func noAliases() *wire.Error {
	return kmsapi.InvalidArnException("Key Aliases are not supported for this operation.")
}

func invalidKeyID(text string) *wire.Error {
	return kmsapi.NotFoundException("Invalid keyId '" + text + "'")
}

func noSuchKey(keyARN string) *wire.Error {
	return kmsapi.NotFoundException("Key '" + keyARN + "' does not exist")
}

func noSuchAlias(aliasARN string) *wire.Error {
	return kmsapi.NotFoundException("Alias " + aliasARN + " is not found.")
}

const (
	aliasPrefix    = "alias/"
	aliasPrefixAWS = "alias/aws/"
	maxAliasName   = 256
)

// isAliasName reports whether an alias could have the name s.
func isAliasName(s string) bool {
	if len(s) <= len(aliasPrefix) || len(s) > maxAliasName || !strings.HasPrefix(s, aliasPrefix) {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '/', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}
