package identity_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// FuzzRecords decodes records that this program, or a later one, could have
// sealed: what is taken of the newest version encodes to the same bytes.
func FuzzRecords(f *testing.F) {
	kinds := []struct {
		kind    record.Kind
		key     string
		version byte
		seed    []byte
	}{
		{record.KindAccount, "v1/acct/111122223333", 4, nil},
		{record.KindUser, "v1/user/111122223333/alice", 2, nil},
		{record.KindGroup, "v1/group/111122223333/staff", 2, nil},
		{record.KindRole, "v1/role/111122223333/worker", 2, nil},
		{record.KindPolicy, "v1/policy/111122223333/p", 1, nil},
		{record.KindUnique, "v1/uid/AIDA", 1, []byte{1, 1, 1, 'a', 1, 'b'}},
		{record.KindAccessKey, "v1/akid/AKIAIOSFODNN7EXAMPLE", 1, nil},
		{record.KindOrganization, "v1/org/o-0123456789", 2, nil},
		{record.KindUnit, "v1/ou/o-0123456789/ou-root-01234567", 2, nil},
		{record.KindAccountRequest, "v1/newacct/o-0123456789/car-0123456789", 1, identity.AccountRequestSeed()},
		{record.KindOIDCProvider, "v1/oidc/111122223333/issuer.example/x", 1, nil},
		{record.KindMFADevice, "v1/mfa/111122223333/phone", 1, nil},
		{record.KindMFAOwner, "v1/mfaof/AIDA", 1, []byte{1, 1, 1, 'a'}},
		{record.KindSystem, "v1/sys/identity", 2, nil},
		{record.KindSystem, "v1/sys/seeded", 1, nil},
		{record.KindLastUse, "v1/used/111122223333/AKIAIOSFODNN7EXAMPLE", 1, []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x01\x09eu-west-1\x03kms")},
	}
	h := open(f)
	ctx := f.Context()
	ok := func(_ any, err error) {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
	}
	h.bootstrap(f, identity.Bootstrap{Account: ours, AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: secret.New([]byte("s"))})
	p, err := h.CreatePolicy(ctx, identity.ManagedPolicy{Account: ours, Name: "p", Tags: []identity.Tag{{Name: "k", Value: "v"}}}, allow("kms:*"))
	ok(p, err)
	ok(h.CreateUser(ctx, identity.User{Account: ours, Name: "alice", Policies: []string{p.ARN}, Boundary: p.ARN, Tags: []identity.Tag{{Name: "k", Value: "v"}}}))
	ok(h.CreateGroup(ctx, identity.Group{Account: ours, Name: "staff"}))
	ok(nil, h.AddUserToGroup(ctx, ours, "staff", "alice"))
	ok(h.CreateRole(ctx, identity.Role{Account: ours, Name: "worker", Trust: trusting("arn:aws:iam::" + ours + ":user/alice")}))
	ok(h.CreateOrganization(ctx, identity.Organization{ID: "o-0123456789", Root: "r-root", Master: ours, Types: []identity.OrganizationPolicyType{identity.ServiceControlPolicy}}))
	ok(h.CreateUnit(ctx, identity.Unit{Organization: "o-0123456789", ID: "ou-root-01234567", Name: "u", Parent: "r-root"}))
	ok(h.CreateOIDCProvider(ctx, identity.OIDCProvider{
		Account: ours, URL: "issuer.example/x", ClientIDs: []string{"c"}, Thumbprints: []string{"6938fd4d98bab03faadb97b34396831e3780aea1"}, Tags: []identity.Tag{{Name: "k", Value: "v"}},
	}))
	_, _, err = h.CreateMFADevice(ctx, identity.MFADevice{Account: ours, Name: "phone", Tags: []identity.Tag{{Name: "k", Value: "v"}}})
	ok(nil, err)
	ok(nil, h.AddSeeded(ctx, []string{"a", "b"}))
	for i, k := range kinds {
		value := k.seed
		if value == nil {
			rec, err := h.rs.Get(ctx, k.kind, k.key)
			ok(rec, err)
			value = rec.Value
		}
		again, err := identity.Recode(record.Record{Kind: k.kind, Key: k.key, Value: bytes.Clone(value)})
		if err != nil || !bytes.Equal(again, value) {
			f.Errorf("%s: %x encodes to %x, %v", k.key, value, again, err)
		}
		f.Add(uint8(i), value)
		f.Add(uint8(i), []byte{k.version, 0xff, 0xff, 0xff, 0xff, 0x0f})
		f.Add(uint8(i), []byte{1, 0})
	}
	f.Fuzz(func(t *testing.T, i uint8, value []byte) {
		k := kinds[int(i)%len(kinds)]
		again, err := identity.Recode(record.Record{Kind: k.kind, Key: k.key, Value: bytes.Clone(value)})
		if err == nil && value[0] == k.version && !bytes.Equal(again, value) {
			t.Errorf("%s: %x was taken, and encodes to %x", k.key, value, again)
		}
	})
}

// FuzzTicket decodes the contents of session tokens that this program, another
// version of it, or somebody with its keys could have sealed. What was taken is
// the same after it was encoded again; not bit by bit, as session policies are
// compressed.
func FuzzTicket(f *testing.F) {
	for i, content := range identity.TicketSeeds() {
		again, err := identity.RecodeTicket(content)
		if err != nil || !bytes.Equal(again, content) {
			f.Errorf("%d: %x encodes to %x, %v", i, content, again, err)
		}
		f.Add(content)
		if i == 0 {
			continue // the first version could not say as much
		}
		old, err := identity.TicketVersion1(content)
		if err != nil || len(old) != len(content)-2 {
			f.Fatalf("%d: %x as version 1: %x, %v", i, content, old, err)
		}
		if again, err := identity.RecodeTicket(old); err != nil || !bytes.Equal(again, content) {
			f.Errorf("%d: version 1, %x, encodes to %x, %v", i, old, again, err)
		}
		f.Add(old)
	}
	f.Add([]byte{2, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{3, 1})
	f.Fuzz(func(t *testing.T, content []byte) {
		once, err := identity.RecodeTicket(content)
		if err != nil {
			return
		}
		twice, err := identity.RecodeTicket(once)
		if err != nil || !bytes.Equal(twice, once) {
			t.Errorf("%x was taken, and encodes to %x, then to %x, %v", content, once, twice, err)
		}
		if content[0] == 0 || content[0] > once[0] {
			t.Errorf("version %d was taken", content[0])
		}
	})
}

// version1 encodes what records of version 1 held.
type version1 struct{ b []byte }

func (v *version1) flag(b byte) *version1 { v.b = append(v.b, b); return v }
func (v *version1) text(s string) *version1 {
	v.b = append(binary.AppendUvarint(v.b, uint64(len(s))), s...)
	return v
}

func (v *version1) list(list ...string) *version1 {
	v.b = binary.AppendUvarint(v.b, uint64(len(list)))
	for _, s := range list {
		v.text(s)
	}
	return v
}

func (v *version1) time(t time.Time) *version1 {
	v.b = binary.BigEndian.AppendUint64(v.b, uint64(t.UnixMilli()))
	return v
}

// TestVersion1 begins with the records that the first version of this package
// left.
func TestVersion1(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	made := time.Date(2026, 11, 1, 2, 3, 4, 5e6, time.UTC)
	begin := func() *version1 { return &version1{b: []byte{1}} }
	tx := f.rs.Begin()
	tx.Create(record.KindSystem, "v1/sys/identity", begin().text(ours).text("administrator").text("AKIAIOSFODNN7EXAMPLE").b)
	tx.Create(record.KindSystem, "v1/sys/seeded", []byte{1})
	tx.Create(record.KindAccount, "v1/acct/"+ours, begin().flag(1).text("management").time(made).b)
	tx.Create(record.KindUser, "v1/user/"+ours+"/administrator",
		begin().text("administrator").text("/").text("AIDAADMINISTRATORAAAA").list(call.AdministratorAccess).list("AKIAIOSFODNN7EXAMPLE").time(made).b)
	tx.Create(record.KindUser, "v1/user/"+ours+"/bob", begin().text("Bob").text("/a/").text("AIDABOBBOBBOBBOBBOBBO").list().list().time(made).b)
	tx.Create(record.KindAccessKey, "v1/akid/AKIAIOSFODNN7EXAMPLE",
		begin().flag(1).text(ours).text("administrator").text("AIDAADMINISTRATORAAAA").time(made).text("the-secret").b)
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.works("AKIAIOSFODNN7EXAMPLE"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		in := f.bootstrap(t, identity.Bootstrap{})
		if in.New || in.Account != ours || in.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" {
			t.Errorf("Bootstrap = %+v", in)
		}
	}
	p, _, err := f.Credential(ctx, "AKIAIOSFODNN7EXAMPLE", "")
	if err != nil || may(p, "kms:Decrypt") != "allowed" || p.ID != "AIDAADMINISTRATORAAAA" {
		t.Errorf("Credential = %+v, %v", p, err)
	}
	bob, err := f.User(ctx, ours, "bob")
	if err != nil || bob.Name != "Bob" || bob.Path != "/a/" || !bob.Created.Equal(made) || !bob.NotBefore.IsZero() {
		t.Errorf("User = %+v, %v", bob, err)
	}
	if arn, err := f.ARNOf(ctx, bob.ID); err != nil || arn != bob.ARN {
		t.Errorf("ARNOf = %s, %v", arn, err)
	}
	if a, err := f.Account(ctx, ours); err != nil || !a.Management || !a.Created.Equal(made) || a.Organization != "" || !a.NotBefore.IsZero() {
		t.Errorf("Account = %+v, %v", a, err)
	}
	if err := f.UpdateUser(ctx, ours, "bob", "robert", ""); err != nil {
		t.Error(err)
	}
	if got, err := f.UserByID(ctx, bob.ID); err != nil || got.Name != "robert" || fmt.Sprint(got.Created) != fmt.Sprint(made) {
		t.Errorf("UserByID = %+v, %v", got, err)
	}
	if err := f.DetachPolicy(ctx, identity.Entity{Kind: identity.UserEntity, Account: ours, Name: "administrator"}, call.AdministratorAccess); err != nil {
		t.Error(err)
	}
}

// TestOrganizationVersion1 reads the records of organizations that were made
// before they had tags.
func TestOrganizationVersion1(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	made := time.Date(2026, 11, 1, 2, 3, 4, 5e6, time.UTC)
	begin := func(version byte) *version1 { return &version1{b: []byte{version}} }
	tx := f.rs.Begin()
	tx.Create(record.KindAccount, "v1/acct/"+ours, begin(2).flag(1).text("management").time(made).list().time(time.Time{}).text(org).text(root).list(identity.FullAWSAccess).b)
	tx.Create(record.KindAccount, "v1/acct/"+theirs, begin(2).flag(0).text("theirs").time(made).list().time(time.Time{}).text(org).text(unitOne).list(identity.FullAWSAccess, "p-denykms1").b)
	tx.Create(record.KindOrganization, "v1/org/"+org, begin(1).text(root).text(ours).list(string(identity.ServiceControlPolicy)).time(made).list(identity.FullAWSAccess).b)
	tx.Create(record.KindUnit, "v1/ou/"+org+"/"+unitOne, begin(1).text("one").text(root).time(made).list(identity.FullAWSAccess).b)
	tx.Create(record.KindOrgPolicy, "v1/orgpolicy/"+org+"/p-denykms1", begin(1).text(string(identity.ServiceControlPolicy)).text("p").text("").text(deny("kms:*")).text(ours).b)
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	o, err := f.Organization(ctx, theirs)
	if err != nil || o.Broken != "" || len(o.ServiceControl) != 3 || len(o.ServiceControl[2]) != 2 {
		t.Fatalf("Organization = %+v, %v", o, err)
	}
	a, err := f.Account(ctx, theirs)
	if err != nil || !a.Closed.IsZero() || a.Made || a.Email != "" || !a.NotBefore.IsZero() {
		t.Errorf("Account = %+v, %v", a, err)
	}
	for _, id := range []string{root, unitOne, theirs, "p-denykms1"} {
		if err := f.TagOrganization(ctx, org, id, []identity.Tag{{Name: "k", Value: "v"}}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if tags, err := f.OrganizationTags(ctx, org, id); err != nil || len(tags) != 1 {
			t.Errorf("%s: %v, %v", id, tags, err)
		}
	}
	if err := f.MoveAccount(ctx, org, theirs, unitOne, root); err != nil {
		t.Error(err)
	}
	if err := f.DeleteUnit(ctx, org, unitOne); err != nil {
		t.Error(err)
	}
}
