package hint_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/keyreeve/keyreeve/internal/hint"
)

type own struct{}

func (own) Error() string { return "own" }
func (own) Hint() string  { return "of its own" }

func TestHint(t *testing.T) {
	err := fmt.Errorf("reading: %w", hint.Add(io.EOF, "bring more"))
	if err.Error() != "reading: EOF" || !errors.Is(err, io.EOF) {
		t.Errorf("the error is %v", err)
	}
	if hint.Add(nil, "nothing") != nil {
		t.Error("advice makes an error out of none")
	}
	for want, err := range map[string]error{
		"bring more":  err,
		"":            io.EOF,
		"of its own":  fmt.Errorf("x: %w", own{}),
		"the outer":   hint.Add(err, "the outer"),
		"of the join": errors.Join(io.EOF, hint.Add(io.EOF, "of the join")),
	} {
		if got := hint.Of(err); got != want {
			t.Errorf("Of(%v) = %q, want %q", err, got, want)
		}
	}
	if hint.Of(nil) != "" {
		t.Error("no error has a hint")
	}
}
