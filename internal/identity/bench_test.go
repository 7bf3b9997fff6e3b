package identity_test

import (
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/identity"
)

func BenchmarkCredential(b *testing.B) {
	f := open(b)
	in := f.bootstrap(b, identity.Bootstrap{Account: ours})
	p, _, err := f.Credential(b.Context(), in.AccessKeyID, "")
	if err != nil {
		b.Fatal(err)
	}
	s, err := f.NewSession(b.Context(), identity.SessionParams{Kind: identity.FederationSession, Caller: p, Name: "guest", Policy: allow("kms:*")})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name, id, token string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, _, err := f.Credential(b.Context(), id, token); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	run("access key", in.AccessKeyID, "")
	run("session", s.AccessKeyID, s.Token)
}

// BenchmarkRecompose is the first use of a credential after something in its
// account has changed: of a user in ten groups, each with ten policies.
func BenchmarkRecompose(b *testing.B) {
	f := open(b)
	ctx := b.Context()
	in := f.bootstrap(b, identity.Bootstrap{Account: ours})
	ok := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for i := range 10 {
		p, err := f.CreatePolicy(ctx, identity.ManagedPolicy{Account: ours, Name: fmt.Sprint("p", i)}, allow("kms:*"))
		ok(err)
		for j := range 10 {
			if i == 0 {
				_, err := f.CreateGroup(ctx, identity.Group{Account: ours, Name: fmt.Sprint("g", j)})
				ok(err)
				ok(f.AddUserToGroup(ctx, ours, fmt.Sprint("g", j), identity.AdministratorName))
			}
			ok(f.AttachPolicy(ctx, aGroup(fmt.Sprint("g", j)), p.ARN))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		f.Changed("v1/user/" + ours + "/somebody")
		if err := f.works(in.AccessKeyID); err != nil {
			b.Fatal(err)
		}
	}
}
