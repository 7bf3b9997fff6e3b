package operator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/identity"
)

const (
	aUser = "arn:aws:iam::444455556666:user/team/alice"
	aRole = "arn:aws:iam::444455556666:role/Worker"
)

// sessions knows a user, a role and an account.
type sessions map[string]time.Time

func (sessions) Account(_ context.Context, id string) (identity.Account, error) {
	if id != "444455556666" {
		return identity.Account{}, identity.ErrNotFound
	}
	return identity.Account{ID: id}, nil
}

func (sessions) Resolve(_ context.Context, principal string) (string, bool, error) {
	switch principal {
	case aUser, "AIDAALICEALICEALICEAL":
		return "AIDAALICEALICEALICEAL", true, nil
	case aRole:
		return "AROAWORKERWORKERWORKE", true, nil
	case "arn:aws:iam::444455556666:root":
		return "", true, nil
	}
	return "", false, nil
}

func (sessions) ARNOf(_ context.Context, id string) (string, error) {
	if id == "AIDAALICEALICEALICEAL" {
		return aUser, nil
	}
	return aRole, nil
}

func (s sessions) RevokeSessions(_ context.Context, e identity.Entity, t time.Time) error {
	kind := "user"
	if e.Kind == identity.RoleEntity {
		kind = "role"
	}
	s[kind+" "+e.Account+" "+e.Name] = t
	return nil
}

func (s sessions) RevokeAccountSessions(_ context.Context, id string, t time.Time) error {
	if id == "444455556666" {
		s[id] = t
		return nil
	}
	return errors.New("no such account")
}

func TestRevokeSessions(t *testing.T) {
	p := newPlane(t)
	now := time.Unix(1e9, 0)
	for _, tt := range []struct {
		body, want, whose string
		at                time.Time
	}{
		{`{"Account":"444455556666"}`, `{"Account":"444455556666","Before":1000000000}`, "444455556666", now},
		{`{"Account":"444455556666","Before":999999999.5}`, `{"Account":"444455556666","Before":999999999.5}`, "444455556666", now.Add(-500 * time.Millisecond)},
		{`{"Principal":"` + aUser + `"}`, `{"Principal":"` + aUser + `","Account":"444455556666","Before":1000000000}`, "user 444455556666 alice", now},
		{`{"Principal":"AIDAALICEALICEALICEAL"}`, `{"Principal":"` + aUser + `","Account":"444455556666","Before":1000000000}`, "user 444455556666 alice", now},
		{`{"Principal":"` + aRole + `"}`, `{"Principal":"` + aRole + `","Account":"444455556666","Before":1000000000}`, "role 444455556666 Worker", now},
		{`{"Principal":"arn:aws:iam::444455556666:root"}`, "NotFoundException: ", "", now},
		{`{"Principal":"arn:aws:iam::444455556666:user/bob"}`, "NotFoundException: There is no user or role ", "", now},
		{`{"Account":"999988887777"}`, "NotFoundException: There is no account 999988887777.", "", now},
		{`{"Account":"4444-5555-66"}`, "ValidationException: An account is 12 digits.", "", now},
		{`{"Account":"444455556666","Principal":"` + aRole + `"}`, "ValidationException: Specify either", "", now},
		{`{"Account":"444455556666","Before":1000000001}`, "ValidationException: Sessions of the future", "", now},
		{`{}`, "ValidationException: ", "", now},
		{`{"Account":"444455556666","After":1}`, "SerializationException: ", "", now},
	} {
		clear(p.sessions)
		got, c := p.invoke(t, admin, "RevokeSessions", tt.body)
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.body, got, tt.want)
		}
		if at, ok := p.sessions[tt.whose]; tt.whose != "" && (!ok || !at.Equal(tt.at) || len(p.sessions) != 1) || tt.whose == "" && len(p.sessions) > 0 {
			t.Errorf("%s: revoked %v", tt.body, p.sessions)
		}
		if tt.whose != "" && (c.Operation.ReadOnly || len(c.Resources) != 1 || c.Resources[0].Account != "444455556666" || !strings.Contains(audited(c.Elements), `"account":"444455556666"`)) {
			t.Errorf("%s: audited as %s, %s, %v", tt.body, audited(c.Parameters), audited(c.Elements), c.Resources)
		}
	}
}
