package account_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/account"
	"github.com/keyreeve/keyreeve/internal/api/accountapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const (
	management = "111122223333"
	member     = "444455556666"
	stranger   = "777788889999"
)

// world has an organization of two accounts, and an account that is in none;
// the installation has four Regions, of which two need opt-in.
type world struct {
	t   *testing.T
	dir *identity.Directory
	s   *account.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := t.Context()
	st := store.NewMem()
	box, err := seal.Open(ctx, st, seal.Options{Provider: seal.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	records, err := record.Open(ctx, st, box, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = records.Close() })
	w := &world{t: t, dir: identity.Open(records, identity.Options{OptIn: []string{"ap-east-1", "me-south-1"}, Home: "me-south-1"})}
	w.s = account.New(w.dir, authz.New(w.dir), []string{"us-east-1", "me-south-1", "eu-central-1", "ap-east-1"}, box)
	for _, id := range []string{management, member, stranger} {
		_, err := w.dir.CreateAccount(ctx, identity.Account{ID: id})
		w.ok(err)
	}
	_, err = w.dir.CreateOrganization(ctx, identity.Organization{ID: "o-0123456789", Root: "r-root", Master: management})
	w.ok(err)
	w.ok(w.dir.PlaceAccount(ctx, member, "o-0123456789", "r-root"))
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// caller is a user of an account with an inline policy; an administrator if
// there is none.
func (w *world) caller(id, name, policy string) *call.Principal {
	w.t.Helper()
	ctx := w.t.Context()
	u := identity.User{Account: id, Name: name}
	if policy == "" {
		u.Policies = []string{call.AdministratorAccess}
	}
	_, err := w.dir.CreateUser(ctx, u)
	w.ok(err)
	if policy != "" {
		w.ok(w.dir.PutInlinePolicy(ctx, identity.Entity{Kind: identity.UserEntity, Account: id, Name: name}, "p", policy))
	}
	k, err := w.dir.CreateAccessKey(ctx, id, name, "", secret.Bytes{})
	w.ok(err)
	p, _, err := w.dir.Credential(ctx, k.ID, "")
	w.ok(err)
	return p
}

func callOf(p *call.Principal) *call.Call {
	return &call.Call{Caller: p, Time: time.Now(), Region: "us-east-1", Service: "account"}
}

// run calls an operation as the node does.
func (w *world) run(p *call.Principal, operation, body string) (string, error) {
	w.t.Helper()
	op := accountapi.Operations(w.s)[operation]
	c := callOf(p)
	c.Operation = op
	out, err := op.Invoke(context.Background(), c, []byte(body), nil)
	return string(out), err
}

func (w *world) wants(what string, p *call.Principal, operation, body, want string) {
	w.t.Helper()
	out, err := w.run(p, operation, body)
	if err != nil || out != want {
		w.t.Errorf("%s: %s, %v, want %s", what, out, err, want)
	}
}

// fails checks the code and a part of the message or reason.
func (w *world) fails(what string, p *call.Principal, operation, body, code, part string) {
	w.t.Helper()
	out, err := w.run(p, operation, body)
	var e *wire.Error
	var denied *authz.Denied
	switch {
	case errors.As(err, &denied):
		e = wire.AccessDenied(denied.Text)
	case !errors.As(err, &e):
		w.t.Errorf("%s: %q, %v, want %s", what, out, err, code)
		return
	}
	if e.Code != code || !strings.Contains(e.Message+" "+e.Reason, part) {
		w.t.Errorf("%s: %v (%s), want %s with %q", what, e, e.Reason, code, part)
	}
}

func TestOwnRegions(t *testing.T) {
	w := newWorld(t)
	p := w.caller(stranger, "ann", "")
	status := func(region, want string) {
		t.Helper()
		w.wants("status", p, "GetRegionOptStatus", `{"RegionName":"`+region+`"}`, `{"RegionName":"`+region+`","RegionOptStatus":"`+want+`"}`)
	}
	status("us-east-1", "ENABLED_BY_DEFAULT")
	status("ap-east-1", "DISABLED")
	status("me-south-1", "DISABLED")
	w.wants("enabling", p, "EnableRegion", `{"RegionName":"ap-east-1"}`, "")
	w.wants("enabling again", p, "EnableRegion", `{"RegionName":"ap-east-1"}`, "")
	status("ap-east-1", "ENABLED")
	status("me-south-1", "DISABLED")
	w.wants("disabling", p, "DisableRegion", `{"RegionName":"ap-east-1"}`, "")
	status("ap-east-1", "DISABLED")

	w.fails("one that is always on", p, "EnableRegion", `{"RegionName":"us-east-1"}`, "ValidationException", "invalidRegionOptTarget")
	w.fails("one that is always on", p, "DisableRegion", `{"RegionName":"us-east-1"}`, "ValidationException", "invalidRegionOptTarget")
	w.fails("one that is not there", p, "EnableRegion", `{"RegionName":"af-south-1"}`, "ValidationException", "invalidRegionOptTarget")
	w.fails("one that is not there", p, "GetRegionOptStatus", `{"RegionName":"af-south-1"}`, "ValidationException", "invalidRegionOptTarget")
	w.fails("no Region", p, "EnableRegion", `{}`, "ValidationException", "Value null at 'regionName'")
	w.fails("no account id", p, "EnableRegion", `{"RegionName":"ap-east-1","AccountId":"x"}`, "ValidationException", "fieldValidationFailed")
}

func TestListRegions(t *testing.T) {
	w := newWorld(t)
	p := w.caller(stranger, "ann", "")
	w.ok(w.dir.EnableRegion(t.Context(), stranger, "me-south-1"))
	p2, err := w.dir.Account(t.Context(), stranger)
	w.ok(err)
	if !slices.Equal(p2.Regions, []string{"me-south-1"}) {
		t.Fatal(p2.Regions)
	}
	w.wants("all", p, "ListRegions", `{}`, `{"Regions":[{"RegionName":"ap-east-1","RegionOptStatus":"DISABLED"},`+
		`{"RegionName":"eu-central-1","RegionOptStatus":"ENABLED_BY_DEFAULT"},{"RegionName":"me-south-1","RegionOptStatus":"ENABLED"},`+
		`{"RegionName":"us-east-1","RegionOptStatus":"ENABLED_BY_DEFAULT"}]}`)
	w.wants("some", p, "ListRegions", `{"RegionOptStatusContains":["ENABLED","DISABLED"]}`, `{"Regions":[{"RegionName":"ap-east-1","RegionOptStatus":"DISABLED"},`+
		`{"RegionName":"me-south-1","RegionOptStatus":"ENABLED"}]}`)
	w.wants("none", p, "ListRegions", `{"RegionOptStatusContains":["ENABLING"]}`, `{"Regions":[]}`)
	w.fails("another token", p, "ListRegions", `{"NextToken":"eA"}`, "ValidationException", "NextToken")
	w.fails("no token", p, "ListRegions", `{"NextToken":"*"}`, "ValidationException", "NextToken")
	w.fails("no status", p, "ListRegions", `{"RegionOptStatusContains":["ON"]}`, "ValidationException", "regionOptStatusContains")
	w.fails("too many", p, "ListRegions", `{"MaxResults":51}`, "ValidationException", "maxResults")

	other := w.caller(member, "bob", "")
	var seen []string
	for token, pages := "", 0; pages < 10; pages++ {
		var in accountapi.ListRegionsInput
		var out accountapi.ListRegionsOutput
		three := int32(3)
		in.MaxResults, in.NextToken = &three, token
		w.ok(w.s.ListRegions(t.Context(), callOf(p), &in, &out))
		for _, r := range out.Regions {
			seen = append(seen, r.RegionName)
		}
		if token = out.NextToken; token == "" {
			break
		}
		body := func(more string) string { return `{"NextToken":"` + token + `"` + more + `}` }
		w.fails("the token of another filter", p, "ListRegions", body(`,"RegionOptStatusContains":["DISABLED"]`), "ValidationException", "NextToken")
		w.fails("the token of another account", other, "ListRegions", body(""), "ValidationException", "NextToken")
		w.fails("a token with a letter more", p, "ListRegions", `{"NextToken":"A`+token+`"}`, "ValidationException", "NextToken")
		if strings.Contains(token, "bWUtc291dGgtMQ") {
			t.Errorf("the token tells what is in it: %s", token)
		}
	}
	if want := []string{"ap-east-1", "eu-central-1", "me-south-1", "us-east-1"}; !slices.Equal(seen, want) {
		t.Errorf("by pages: %v", seen)
	}
}

// TestMembers: the management account acts for members, and for nobody else.
func TestMembers(t *testing.T) {
	w := newWorld(t)
	boss, ann, other := w.caller(management, "boss", ""), w.caller(member, "ann", ""), w.caller(stranger, "zoe", "")
	body := func(id string) string { return `{"RegionName":"ap-east-1","AccountId":"` + id + `"}` }
	w.wants("for a member", boss, "EnableRegion", body(member), "")
	w.wants("the member", ann, "GetRegionOptStatus", `{"RegionName":"ap-east-1"}`, `{"RegionName":"ap-east-1","RegionOptStatus":"ENABLED"}`)
	w.wants("not itself", boss, "GetRegionOptStatus", `{"RegionName":"ap-east-1"}`, `{"RegionName":"ap-east-1","RegionOptStatus":"DISABLED"}`)

	denied := "is not authorized to perform: account:EnableRegion ("
	w.fails("for itself", boss, "EnableRegion", body(management), "AccessDeniedException",
		boss.ARN+" "+denied+"The management account can only be managed using the standalone context from the management account.)")
	for what, id := range map[string]string{"of another organization": stranger, "that is not there": "000000000000"} {
		w.fails("for an account "+what, boss, "EnableRegion", body(id), "AccessDeniedException", denied)
	}
	for what, p := range map[string]*call.Principal{"a member": ann, "an account in none": other} {
		for _, id := range []string{management, member, stranger} {
			w.fails(what+" for "+id, p, "EnableRegion", body(id), "AccessDeniedException", denied)
		}
	}
}

// TestDecisions: the actions are decided on the ARNs and condition keys that AWS
// has for them.
func TestDecisions(t *testing.T) {
	w := newWorld(t)
	allow := func(resource, condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"account:*","Resource":"` + resource + `"` + condition + `}]}`
	}
	own := "arn:aws:account::" + management + ":account"
	ofMember := own + "/o-0123456789/" + member
	onlyEast := `,"Condition":{"StringEquals":{"account:TargetRegion":"ap-east-1"}}`
	const (
		mine   = `{"RegionName":"ap-east-1"}`
		theirs = `{"RegionName":"ap-east-1","AccountId":"` + member + `"}`
	)
	for i, test := range []struct {
		policy, operation, body string
		on                      string // what is denied; empty for nothing
	}{
		{allow("*", ""), "EnableRegion", mine, ""},
		{allow(own, ""), "EnableRegion", mine, ""},
		{allow(own, ""), "EnableRegion", theirs, ofMember},
		{allow(ofMember, ""), "EnableRegion", theirs, ""},
		{allow(ofMember, ""), "DisableRegion", mine, own},
		{allow(own+"/*", ""), "GetRegionOptStatus", theirs, ""},
		{allow("*", onlyEast), "GetRegionOptStatus", mine, ""},
		{allow("*", onlyEast), "GetRegionOptStatus", `{"RegionName":"us-east-1"}`, own},
		{allow("*", onlyEast), "ListRegions", `{}`, own},
		{allow("*", ""), "ListRegions", `{}`, ""},
	} {
		p := w.caller(management, "user"+string(rune('a'+i)), test.policy)
		if test.on != "" {
			w.fails(test.operation+test.body, p, test.operation, test.body, "AccessDeniedException",
				"is not authorized to perform: account:"+test.operation+" on resource: "+test.on+" because no identity-based policy allows")
		} else if _, err := w.run(p, test.operation, test.body); err != nil {
			t.Errorf("%s %s: %v", test.operation, test.body, err)
		}
	}
	// Where policies deny, they do so before it is told who is a member.
	nobody := w.caller(management, "nobody", allow("arn:aws:account::"+management+":nothing", ""))
	w.fails("a stranger's", nobody, "EnableRegion", `{"RegionName":"nowhere-1","AccountId":"`+stranger+`"}`, "AccessDeniedException", "because no identity-based policy")
}
