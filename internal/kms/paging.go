package kms

import (
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// A marker is where a list goes on: the last item that was given out, sealed
// for the operation, account, Region and filter, so that it is opaque and good
// for nothing else. It is not for one caller or one size of page.

// marker returns the marker for what comes after last.
func (s *Service) marker(c *call.Call, filter, last string) (string, error) {
	return s.box.Marker(last, c.Operation.Name, c.Caller.Account, c.Region, filter)
}

// resume returns the last item that was given out before the marker, and
// nothing without a marker.
func (s *Service) resume(c *call.Call, filter, marker string) (string, error) {
	last, err := s.box.Resume(marker, c.Operation.Name, c.Caller.Account, c.Region, filter)
	if errors.Is(err, seal.ErrMarker) {
		return "", errInvalidMarker()
	}
	return last, err
}

func errInvalidMarker() error {
	return kmsapi.InvalidMarkerException("")
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
