package trail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/smithy-go"
)

// rest keeps all from waiting for a sink that does not answer one after the
// other: after it has kept one waiting in vain, others get the same error for a
// while, at once. Its zero value but for its length is ready.
type rest struct {
	length time.Duration // how long a sink is left in peace

	mu    sync.Mutex
	until time.Time // guarded by mu
	cause error     // guarded by mu
}

// refuses returns the error of the one that tried last, if it is too early to
// try again.
func (r *rest) refuses() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause == nil || time.Now().After(r.until) {
		return nil
	}
	return fmt.Errorf("not tried, since a moment ago: %w", r.cause)
}

// note notes how an attempt has ended. A server that answers, if only with an
// error, may answer another one otherwise.
func (r *rest) note(ctx context.Context, err error) {
	var api smithy.APIError
	if errors.As(err, &api) || ctx.Err() != nil {
		err = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cause, r.until = err, time.Now().Add(r.length)
}
