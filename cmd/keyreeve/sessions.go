package main

import (
	"context"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/operator"
)

type sessionsCommand struct {
	Revoke sessionsRevokeCommand `cmd:"" help:"Refuse the temporary credentials that a user, role or account has by now."`
}

type sessionsRevokeCommand struct {
	dataDirectory
	Principal string    `help:"ARN or unique id of the user or role." placeholder:"ARN" xor:"whose" required:""`
	Account   string    `help:"Account: sessions of all of its users and roles, and of its root user." placeholder:"ID" xor:"whose" required:""`
	Before    time.Time `help:"Only those made before this time (RFC 3339)." placeholder:"TIME"`
}

// Help is printed below the command's own help.
func (sessionsRevokeCommand) Help() string {
	return `Credentials of AssumeRole, GetSessionToken, GetFederationToken and the like that
were made before now answer ExpiredTokenException from now on, whenever they end.
Access keys go on working, and so do sessions that are made later: change the
policies, or what the sessions are made with, first. It cannot be taken back.`
}

func (c *sessionsRevokeCommand) Run(e *env) error {
	in := &keyreeveapi.RevokeSessionsInput{Principal: c.Principal, Account: c.Account, Before: c.Before}
	return withRemote(e, c.Data, func(ctx context.Context, r *operator.Remote) error {
		out, err := r.RevokeSessions(ctx, in)
		if err != nil {
			return err
		}
		whose := "account " + out.Account
		if out.Principal != "" {
			whose = out.Principal
		}
		fmt.Fprintf(e.stdout, "sessions of %s from before %s are refused\n", whose, out.Before.UTC().Format(time.RFC3339))
		return nil
	})
}
