package organizations

import (
	"errors"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// A token is where a list goes on: the last item that was given out, sealed for
// the operation, organization and filter, so that it is opaque and good for
// nothing else. It is not for one caller or one size of page.

// defaultPage is how many items a page has if the caller does not say, which is
// also the most.
const defaultPage = 20

// sealToken returns the token for what comes after last; none if that is empty.
func (v *visit) sealToken(filter, last string) (string, error) {
	return v.s.box.Marker(last, "organizations", v.c.Operation.Name, v.o.ID, filter)
}

// openToken returns the last item that was given out before the token, and
// nothing without one.
func (v *visit) openToken(filter, token string) (string, error) {
	last, err := v.s.box.Resume(token, "organizations", v.c.Operation.Name, v.o.ID, filter)
	if errors.Is(err, seal.ErrMarker) {
		return "", invalid("INVALID_NEXT_TOKEN", "You specified an invalid value.")
	}
	return last, err
}

// pageSize returns how many items a page has at most. The range was checked
// with the rest of the request.
func pageSize(maxResults *int32) int {
	if maxResults == nil {
		return defaultPage
	}
	return int(*maxResults)
}

// stored gets a page of a list that the directory pages by itself.
func stored[T any](v *visit, filter, token string, maxResults *int32, get func(identity.Page) ([]T, string, error)) (items []T, next string, err error) {
	after, err := v.openToken(filter, token)
	if err != nil {
		return nil, "", err
	}
	items, last, err := get(identity.Page{Marker: after, Limit: pageSize(maxResults)})
	if err != nil {
		return nil, "", err
	}
	next, err = v.sealToken(filter, last)
	return items, next, err
}

// page cuts a page out of a whole list, which it puts into the order of the
// items' ids, or of what else tells them apart, first.
func page[T any](v *visit, filter, token string, maxResults *int32, list []T, id func(T) string) (items []T, next string, err error) {
	after, err := v.openToken(filter, token)
	if err != nil {
		return nil, "", err
	}
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(id(a), id(b)) })
	if token != "" {
		list = slices.DeleteFunc(list, func(item T) bool { return id(item) <= after })
	}
	if limit := pageSize(maxResults); len(list) > limit {
		list = list[:limit]
		next, err = v.sealToken(filter, id(list[limit-1]))
	}
	return list, next, err
}
