package main

import (
	"fmt"

	"github.com/keyreeve/keyreeve/internal/operator"
)

type clockCommand struct {
	Accept clockAcceptCommand `cmd:"" help:"Say that the service's clock is right although it has jumped ahead."`
}

type clockAcceptCommand struct{ dataDirectory }

func (c *clockAcceptCommand) Run(e *env) error {
	ctx, cancel := withTimeout(e)
	defer cancel()
	if err := operator.NewClient(c.Data).AcceptClock(ctx); err != nil {
		return adviseClient(err, c.Data)
	}
	fmt.Fprintln(e.stdout, "the clock is accepted")
	return nil
}
