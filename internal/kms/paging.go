package kms

import (
	"encoding/base64"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// A marker is where a list goes on: the last item that was given out, sealed
// for the operation, account, Region and filter, so that it is opaque and good
// for nothing else. It is not for one caller or one size of page.

var markerEncoding = base64.RawURLEncoding.Strict()

// markerScope is what a marker is bound to. No part of it holds a zero byte.
func markerScope(c *call.Call, filter string) []byte {
	return []byte("marker\x00" + c.Operation.Name + "\x00" + c.Caller.Account + "\x00" + c.Region + "\x00" + filter)
}

// marker returns the marker for what comes after last.
func (s *Service) marker(c *call.Call, filter, last string) (string, error) {
	sealed, err := s.box.Seal(seal.Tokens, markerScope(c, filter), []byte(last))
	if err != nil {
		return "", err
	}
	return markerEncoding.EncodeToString(sealed), nil
}

// resume returns the last item that was given out before the marker, and
// nothing without a marker.
func (s *Service) resume(c *call.Call, filter, marker string) (string, error) {
	if marker == "" {
		return "", nil
	}
	sealed, err := markerEncoding.DecodeString(marker)
	if err != nil {
		return "", errInvalidMarker()
	}
	last, err := s.box.Open(seal.Tokens, markerScope(c, filter), sealed)
	if errors.Is(err, seal.ErrSealed) {
		return "", err
	}
	if err != nil {
		return "", errInvalidMarker()
	}
	return string(last), nil
}

func errInvalidMarker() error {
	return kmsapi.InvalidMarkerException("The marker is not valid.")
}

// pageSize returns how many items a page may have.
func pageSize(limit *int32, normal, most int32) (int, error) {
	if limit == nil {
		return int(normal), nil
	}
	var v wire.Violations
	v.Range("limit", *limit, 1, most)
	return int(*limit), v.Err()
}
