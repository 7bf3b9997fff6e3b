package keyring_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

// waits begins n calls of an account that wait, and returns when they do.
func waits(t *testing.T, turns keyring.Turns, account string, n int, then func()) {
	t.Helper()
	before := turns.Waiting()
	for i := range n {
		go func() {
			if err := turns.Take(t.Context(), account); err != nil {
				t.Error(err)
				return
			}
			then()
		}()
		for turns.Waiting() <= before+i {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// An account that wants much is in nobody's way but its own.
func TestTurnsGoRound(t *testing.T) {
	turns := keyring.NewTurns(1)
	if err := turns.Take(t.Context(), "greedy"); err != nil {
		t.Fatal(err)
	}
	var order []string // one at a time
	var all sync.WaitGroup
	enter := func(account string, n int) {
		all.Add(n)
		waits(t, turns, account, n, func() {
			order = append(order, account)
			turns.Give()
			all.Done()
		})
	}
	enter("greedy", keyring.MaxWaiting)
	if err := turns.Take(t.Context(), "greedy"); !errors.Is(err, keyring.ErrBusy) {
		t.Errorf("one too many: %v, want ErrBusy", err)
	}
	enter("modest", 2)
	enter("third", 1)
	turns.Give()
	all.Wait()
	for i, want := range []string{"greedy", "modest", "third", "greedy", "modest", "greedy"} {
		if order[i] != want {
			t.Errorf("turn %d is %s's, want %s's", i, order[i], want)
		}
	}
	if len(order) != keyring.MaxWaiting+3 || turns.Waiting() != 0 {
		t.Errorf("%d turns, and %d wait", len(order), turns.Waiting())
	}
}

// Who gives up takes no turn from others, whenever that is.
func TestTurnsGivenUp(t *testing.T) {
	const slots = 2
	turns := keyring.NewTurns(slots)
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			if i%2 == 0 {
				go giveUp()
			}
			err := turns.Take(ctx, string('a'+rune(i%8)))
			switch {
			case err == nil:
				turns.Give()
			case !errors.Is(err, context.Canceled) && !errors.Is(err, keyring.ErrBusy):
				t.Error(err)
			}
		})
	}
	all.Wait()
	for range slots {
		if err := turns.Take(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	if err := turns.Take(ctx, "a"); !errors.Is(err, context.Canceled) || turns.Waiting() != 0 {
		t.Errorf("a turn too many: %v; %d wait", err, turns.Waiting())
	}
}
