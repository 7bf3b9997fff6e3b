// Package hint is an error with advice for a person.
//
// What went wrong is the error's text; what to do about it is its hint, which
// commands print on a line of its own. A hint survives wrapping.
package hint

import "errors"

// Hinter is an error with advice. Error types of their own may have the method
// as well.
type Hinter interface {
	error
	// Hint returns what to do about the error: a phrase or a command, without
	// anything secret.
	Hint() string
}

type hinted struct {
	error
	advice string
}

func (h *hinted) Hint() string  { return h.advice }
func (h *hinted) Unwrap() error { return h.error }

// Add returns err with advice; nil if err is nil.
func Add(err error, advice string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, advice}
}

// Of returns the outermost advice that comes with err, or "".
func Of(err error) string {
	var h Hinter
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
