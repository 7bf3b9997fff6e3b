package iam

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// A marker is where a list goes on: the last item that was given out, sealed
// for the operation, account and filter, so that it is opaque and good for
// nothing else. It is not for one caller or one size of page; and as IAM is
// global, not for one Region.

// defaultPage is how many items a page has if the caller does not say.
const defaultPage = 100

// seal returns the marker for what comes after last; none if that is empty.
func (s *Service) seal(c *call.Call, filter, last string) (string, error) {
	return s.box.Marker(last, c.Operation.Name, c.Caller.Account, filter)
}

// open returns the last item that was given out before the marker, and nothing
// without a marker.
func (s *Service) open(c *call.Call, filter, marker string) (string, error) {
	last, err := s.box.Resume(marker, c.Operation.Name, c.Caller.Account, filter)
	if errors.Is(err, seal.ErrMarker) {
		return "", errInvalidMarker()
	}
	return last, err
}

// pageSize returns how many items a page has at most. The range was checked
// with the rest of the request.
func pageSize(maxItems *int32) int {
	if maxItems == nil {
		return defaultPage
	}
	return int(*maxItems)
}

// stored gets a page of a list that the directory pages by itself. What comes
// after is the directory's marker, sealed.
func stored[T any](s *Service, c *call.Call, filter, prefix, marker string, maxItems *int32, get func(identity.Page) ([]T, string, error)) (items []T, truncated bool, next string, err error) {
	after, err := s.open(c, filter+"\x00"+prefix, marker)
	if err != nil {
		return nil, false, "", err
	}
	items, last, err := get(identity.Page{PathPrefix: prefix, Marker: after, Limit: pageSize(maxItems)})
	if err != nil {
		return nil, false, "", err
	}
	next, err = s.seal(c, filter+"\x00"+prefix, last)
	return items, last != "", next, err
}

// page cuts a page out of a whole list, which it puts into the order of the
// items' keys first: so it goes on in the right place even if items came or went
// since the page before.
func page[T any](s *Service, c *call.Call, filter, marker string, maxItems *int32, list []T, key func(T) string, order func(a, b string) int) (items []T, truncated bool, next string, err error) {
	after, err := s.open(c, filter, marker)
	if err != nil {
		return nil, false, "", err
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b T) int { return order(key(a), key(b)) })
	if marker != "" {
		if i := slices.IndexFunc(list, func(item T) bool { return shorten(key(item)) == after }); i >= 0 {
			list = list[i+1:]
		} else {
			list = slices.DeleteFunc(list, func(item T) bool { return order(key(item), after) <= 0 })
		}
	}
	if limit := pageSize(maxItems); len(list) > limit {
		list = list[:limit]
		next, err = s.seal(c, filter, shorten(key(list[limit-1])))
		return list, true, next, err
	}
	return list, false, "", nil
}

// byName orders names as lists of IAM do: in any case.
func byName(a, b string) int {
	if n := strings.Compare(strings.ToLower(a), strings.ToLower(b)); n != 0 {
		return n
	}
	return strings.Compare(a, b)
}

// maxMarked is the largest length of what a marker holds, in bytes: so that the
// marker is none that the API refuses, which has up to 320 characters.
const maxMarked = 160

// shorten returns a key as markers hold it: its beginning and its hash, if it is
// long.
func shorten(key string) string {
	if len(key) <= maxMarked {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return key[:maxMarked-len(sum)] + string(sum[:])
}
