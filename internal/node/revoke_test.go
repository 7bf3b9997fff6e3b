package node_test

import (
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/operator"
)

// An operator ends sessions, of a user and of an account; later ones work, and
// so do access keys.
func TestRevokeSessions(t *testing.T) {
	r := run(t, configure(t.TempDir()))
	administrator := r.creds
	e, err := r.control().Environment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	remote, err := operator.NewRemote(e, r.now)
	if err != nil {
		t.Fatal(err)
	}
	node, err := remote.DescribeNode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []keyreeveapi.RevokeSessionsInput{
		{Principal: "arn:aws:iam::" + node.AccountID + ":user/administrator"},
		{Account: node.AccountID},
	} {
		session := r.session(t)
		r.creds = session
		r.must(t, "ListKeys", nil)
		time.Sleep(3 * time.Millisecond) // times are kept in milliseconds
		if _, err := remote.RevokeSessions(t.Context(), &in); err != nil {
			t.Fatal(err)
		}
		r.refused(t, "ListKeys", nil, "ExpiredTokenException")
		r.creds = administrator
		r.must(t, "ListKeys", nil)
		time.Sleep(3 * time.Millisecond) // times are kept in milliseconds
		r.creds = r.session(t)
		r.must(t, "ListKeys", nil)
		r.creds = administrator
	}
}
