package keyring_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/policy"
)

// among is how many keys and grants there are at most: with a million it takes
// some minutes to make them, and 5 GB of memory.
var among = flag.Int("among", 10_000, "most keys and grants of BenchmarkDecideAmong")

// BenchmarkDecideAmong is Find and Decide, by policy, by a grant and against
// somebody who has none, among n keys and n grants of others: on the same key,
// as many as it may have, and on the other keys. It costs the same for every n.
func BenchmarkDecideAmong(b *testing.B) {
	allow, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`, policy.Options{Type: policy.Identity})
	if err != nil {
		b.Fatal(err)
	}
	caller := func(name string, policies ...call.Attached) *call.Call {
		p := &call.Principal{Kind: call.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, EntityID: "AIDA" + name}
		p.Names = policy.Principal{Account: account, ARN: p.ARN, ID: p.EntityID}
		p.Policies.Identity = policies
		return &call.Call{Caller: p, Time: start, Region: region}
	}
	for n := 1; n <= *among; n *= 100 {
		g := newRig(b, nil, keyring.Options{})
		id := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
		for i := range n {
			on := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
			if i < keyring.MaxGrants-1 {
				on = id
			}
			with := someGrant()
			with.Grantee = fmt.Sprintf("AIDAOTHER%06d", i)
			g.grant(b, on, with)
		}
		with := someGrant()
		with.Grantee, with.Operations = "AIDACAROL", []string{"Decrypt"}
		g.grant(b, id, with)
		for _, who := range []struct {
			name string
			c    *call.Call
			ok   bool
		}{
			{"Policy", caller("ALICE", call.Attached{Name: "all", Policy: allow}), true},
			{"Grant", caller("CAROL"), true},
			{"None", caller("BOB"), false},
		} {
			b.Run(fmt.Sprintf("%s/%d", who.name, n), func(b *testing.B) {
				a := authz.New(nil)
				b.ReportAllocs()
				for b.Loop() {
					s, err := g.ring.Find(background, account, region, id)
					if err != nil {
						b.Fatal(err)
					}
					r := s.Resource()
					if _, err := a.Decide(background, who.c, "kms:Decrypt", &r, nil); (err == nil) != who.ok {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
