package kms_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyreeve/keyreeve/internal/store"
)

// faultyStore is a store whose commits can fail, and fail without saying
// whether they happened.
type faultyStore struct {
	store.Store
	mode    atomic.Int32
	commits atomic.Int32           // that failed
	between atomic.Pointer[func()] // runs once, before the next commit
}

const (
	healthy int32 = iota
	failing
	failingButStored
)

var errDisk = errors.New("the disk is on fire")

func (s *faultyStore) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if f := s.between.Swap(nil); f != nil {
		(*f)()
	}
	mode := s.mode.Load()
	if mode == healthy {
		return s.Store.Commit(ctx, conds, ops)
	}
	s.commits.Add(1)
	if mode == failingButStored {
		if _, ok, err := s.Store.Commit(ctx, conds, ops); !ok || err != nil {
			return 0, ok, err
		}
	}
	return 0, false, errDisk
}

// fixture is two keys, and a grant on the first if the test wants one.
type fixture struct {
	id, other string
	grant     *string
}

func namedGrant(id string) object {
	return object{"KeyId": id, "GranteePrincipal": dave.ARN, "RetiringPrincipal": carol.ARN, "Operations": []string{"Encrypt"}, "Name": "x"}
}

// grantsOf counts the grants of a key, and fails unless every way to ask gives
// the same answer.
func grantsOf(e *env, f fixture) string {
	e.t.Helper()
	n := len(e.must(alice, "ListGrants", object{"KeyId": f.id}).list("Grants"))
	if of := len(e.must(alice, "ListGrants", object{"KeyId": f.id, "GranteePrincipal": dave.ARN}).list("Grants")); of != n {
		e.t.Errorf("%d grants, %d of the grantee", n, of)
	}
	if retirable := len(e.must(alice, "ListRetirableGrants", object{"RetiringPrincipal": carol.ARN}).list("Grants")); retirable != n {
		e.t.Errorf("%d grants, %d are retirable", n, retirable)
	}
	a := e.call(dave, "Encrypt", encode(e.t, object{"KeyId": keyARN(f.id), "Plaintext": blob(1)}))
	if (a.err == nil) != (n > 0) {
		e.t.Errorf("%d grants, and the grantee gets %s", n, or(a.text(), "success"))
	}
	return fmt.Sprint(n)
}

// A change whose commit fails happened or did not, and everything that is seen
// afterwards agrees on it.
func TestFailedCommits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		operation string
		request   func(f fixture) object
		prepare   func(e *env, f fixture)
		// state shows what the change changes.
		state func(e *env, f fixture) string
		// before and after are what it shows without and with the change.
		before, after string
	}{
		{
			"DisableKey", func(f fixture) object { return object{"KeyId": f.id} }, nil, keyState, "Enabled", "Disabled",
		},
		{
			"EnableKey", func(f fixture) object { return object{"KeyId": f.id} },
			func(e *env, f fixture) { e.must(alice, "DisableKey", object{"KeyId": f.id}) }, keyState, "Disabled", "Enabled",
		},
		{
			"ScheduleKeyDeletion", func(f fixture) object { return object{"KeyId": f.id} }, nil, keyState, "Enabled", "PendingDeletion",
		},
		{
			"CancelKeyDeletion", func(f fixture) object { return object{"KeyId": f.id} },
			func(e *env, f fixture) { e.must(alice, "ScheduleKeyDeletion", object{"KeyId": f.id}) }, keyState, "PendingDeletion", "Disabled",
		},
		{
			"UpdateKeyDescription", func(f fixture) object { return object{"KeyId": f.id, "Description": "new"} }, nil,
			func(e *env, f fixture) string {
				return e.must(alice, "DescribeKey", object{"KeyId": f.id}).object("KeyMetadata").str("Description")
			}, "", "new",
		},
		{
			"TagResource", func(f fixture) object {
				return object{"KeyId": f.id, "Tags": []object{{"TagKey": "a", "TagValue": "b"}}}
			}, nil, tagList, "[]", "[map[TagKey:a TagValue:b]]",
		},
		{
			"UntagResource", func(f fixture) object { return object{"KeyId": f.id, "TagKeys": []string{"a"}} },
			func(e *env, f fixture) {
				e.must(alice, "TagResource", object{"KeyId": f.id, "Tags": []object{{"TagKey": "a", "TagValue": "b"}}})
			}, tagList, "[map[TagKey:a TagValue:b]]", "[]",
		},
		{
			"CreateAlias", func(f fixture) object { return object{"AliasName": "alias/x", "TargetKeyId": f.id} }, nil, aliasTarget, "none", "id",
		},
		{
			"UpdateAlias", func(f fixture) object { return object{"AliasName": "alias/x", "TargetKeyId": f.other} },
			func(e *env, f fixture) {
				e.must(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": f.id})
			},
			aliasTarget, "id", "other",
		},
		{
			"DeleteAlias", func(fixture) object { return object{"AliasName": "alias/x"} },
			func(e *env, f fixture) {
				e.must(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": f.id})
			},
			aliasTarget, "id", "none",
		},
		{
			"PutKeyPolicy", func(f fixture) object { return object{"KeyId": f.id, "Policy": delegation} }, nil,
			func(e *env, f fixture) string {
				text := e.must(alice, "GetKeyPolicy", object{"KeyId": f.id}).str("Policy")
				return fmt.Sprint(strings.Contains(text, "key-default-1"))
			}, "true", "false",
		},
		{
			"CreateGrant", func(f fixture) object { return namedGrant(f.id) }, nil, grantsOf, "0", "1",
		},
		{
			// The key has had grants.
			"CreateGrant", func(f fixture) object { return namedGrant(f.id) },
			func(e *env, f fixture) {
				made := e.must(alice, "CreateGrant", namedGrant(f.id))
				e.must(alice, "RevokeGrant", object{"KeyId": f.id, "GrantId": made["GrantId"]})
			}, grantsOf, "0", "1",
		},
		{
			"RevokeGrant", func(f fixture) object { return object{"KeyId": f.id, "GrantId": *f.grant} },
			func(e *env, f fixture) { *f.grant = e.must(alice, "CreateGrant", namedGrant(f.id)).str("GrantId") }, grantsOf, "1", "0",
		},
		{
			"RetireGrant", func(f fixture) object { return object{"KeyId": keyARN(f.id), "GrantId": *f.grant} },
			func(e *env, f fixture) { *f.grant = e.must(alice, "CreateGrant", namedGrant(f.id)).str("GrantId") }, grantsOf, "1", "0",
		},
	} {
		for mode, name := range map[int32]string{failing: "failed", failingButStored: "failed but stored"} {
			t.Run(test.operation+"/"+name, func(t *testing.T) {
				t.Parallel()
				st := &faultyStore{Store: store.NewMem()}
				e := newEnvOn(t, st)
				f := fixture{e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), new(string)}
				if test.prepare != nil {
					test.prepare(e, f)
				}
				see := func() string {
					return strings.NewReplacer(f.id, "id", f.other, "other").Replace(test.state(e, f))
				}
				if got := see(); got != test.before {
					t.Fatalf("before: %q, want %q", got, test.before)
				}
				st.mode.Store(mode)
				a := e.call(alice, test.operation, encode(t, test.request(f)))
				st.mode.Store(healthy)
				if st.commits.Load() == 0 {
					t.Fatal("no commit was tried")
				}
				want := test.before
				if mode == failingButStored {
					want = test.after
				}
				if got := see(); got != want {
					t.Errorf("afterwards: %q, want %q", got, want)
				}
				if a.err == nil && mode == failing {
					t.Error("a change that was not stored was acknowledged")
				}
				if a.err != nil && (a.code() != "KMSInternalException" || a.err.Status != 500 || a.err.Message != "") {
					t.Errorf("answered %v, want a KMSInternalException without a message", a.err)
				}
				// The service goes on.
				if a := e.call(alice, test.operation, encode(t, test.request(f))); a.err != nil && a.err.Status != 400 {
					t.Errorf("again: %v", a.err)
				}
				if got := see(); got != test.after {
					t.Errorf("after another try: %q, want %q", got, test.after)
				}
			})
		}
	}
}

func keyState(e *env, f fixture) string {
	return e.must(alice, "DescribeKey", object{"KeyId": f.id}).object("KeyMetadata").str("KeyState")
}

func tagList(e *env, f fixture) string {
	return fmt.Sprint(e.must(alice, "ListResourceTags", object{"KeyId": f.id}).list("Tags"))
}

// aliasTarget says where alias/x points, and fails unless every way to ask
// gives the same answer.
func aliasTarget(e *env, f fixture) string {
	e.t.Helper()
	target := "none"
	if a := e.call(alice, "DescribeKey", `{"KeyId": "alias/x"}`); a.err == nil {
		target = decode(e.t, a.body).object("KeyMetadata").str("KeyId")
	}
	listed := "none"
	for _, item := range e.must(alice, "ListAliases", object{}).list("Aliases") {
		listed = object(item.(map[string]any)).str("TargetKeyId")
	}
	if listed != target {
		e.t.Errorf("alias/x points to %s, but is listed as of %s", target, listed)
	}
	for _, id := range []string{f.id, f.other} {
		n := len(e.must(alice, "ListAliases", object{"KeyId": id}).list("Aliases"))
		if (n == 1) != (id == target) {
			e.t.Errorf("%d aliases of %s while alias/x points to %s", n, id, target)
		}
	}
	return target
}

// A key that could not be stored is not there, or is there whole.
func TestFailedCreateKey(t *testing.T) {
	t.Parallel()
	for mode, name := range map[int32]string{failing: "failed", failingButStored: "failed but stored"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := &faultyStore{Store: store.NewMem()}
			e := newEnvOn(t, st)
			st.mode.Store(mode)
			a := e.call(alice, "CreateKey", `{"Tags": [{"TagKey": "a", "TagValue": "b"}]}`)
			st.mode.Store(healthy)
			keys := e.must(alice, "ListKeys", object{}).list("Keys")
			if mode == failing && (a.err == nil || len(keys) != 0) {
				t.Fatalf("answered %s; %d keys are there, want none", or(a.text(), "success"), len(keys))
			}
			if a.err != nil && a.err.Status != 500 {
				t.Errorf("answered %v, want a fault", a.err)
			}
			for _, k := range keys {
				id := object(k.(map[string]any)).str("KeyId")
				source := ciphertext(e, id)
				e.must(alice, "Decrypt", object{"CiphertextBlob": source})
				if got := tagList(e, fixture{id: id}); got != "[map[TagKey:a TagValue:b]]" {
					t.Errorf("the key has the tags %s", got)
				}
			}
		})
	}
}

// Changes of one key at the same time are all kept.
func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	source := ciphertext(e, id)
	const n = 8
	var work sync.WaitGroup
	var acknowledged sync.Map
	for i := range n {
		work.Go(func() {
			for j := range 3 {
				tag := fmt.Sprintf("%d-%d", i, j)
				a := e.call(alice, "TagResource", fmt.Sprintf(`{"KeyId": %q, "Tags": [{"TagKey": %q, "TagValue": ""}]}`, id, tag))
				if a.err != nil {
					t.Errorf("TagResource: %v", a.err)
				}
				acknowledged.Store(tag, true)
				if a := e.call(alice, "Decrypt", `{"CiphertextBlob": "`+source+`"}`); a.err != nil {
					t.Errorf("Decrypt while the key is changed: %v", a.err)
				}
			}
		})
	}
	work.Wait()
	var have []string
	for _, item := range e.must(alice, "ListResourceTags", object{"KeyId": id}).list("Tags") {
		have = append(have, object(item.(map[string]any)).str("TagKey"))
	}
	count := 0
	acknowledged.Range(func(tag, _ any) bool {
		count++
		if !slices.Contains(have, tag.(string)) {
			t.Errorf("the acknowledged tag %s is lost", tag)
		}
		return true
	})
	if count != 3*n {
		t.Errorf("%d of %d changes were made", count, 3*n)
	}
}

// Of many who want one alias, one gets it.
func TestAliasRace(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var ids []string
	for range 8 {
		ids = append(ids, e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"))
	}
	for round := range 5 {
		name := fmt.Sprintf("alias/%d", round)
		var won atomic.Int32
		var winner atomic.Value
		var work sync.WaitGroup
		for _, id := range ids {
			work.Go(func() {
				a := e.call(alice, "CreateAlias", fmt.Sprintf(`{"AliasName": %q, "TargetKeyId": %q}`, name, id))
				switch a.code() {
				case "":
					won.Add(1)
					winner.Store(id)
				case "AlreadyExistsException":
				default:
					t.Errorf("CreateAlias: %v", a.err)
				}
			})
		}
		work.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d created %s, want 1", won.Load(), name)
		}
		if got := e.first(name); got != winner.Load() {
			t.Errorf("%s points to %s, want %s", name, got, winner.Load())
		}
	}
}

// A key that changes between the decision and the commit is decided on again,
// as it is then.
func TestChangeUnderneath(t *testing.T) {
	t.Parallel()
	st := &faultyStore{Store: store.NewMem()}
	e := newEnvOn(t, st)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	other := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	between := func(operation string, request object) {
		f := func() { e.must(alice, operation, request) }
		st.between.Store(&f)
	}

	between("TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "a", "TagValue": "b"}}})
	e.must(alice, "UpdateKeyDescription", object{"KeyId": id, "Description": "new"})
	m := e.must(alice, "DescribeKey", object{"KeyId": id}).object("KeyMetadata")
	if got := tagList(e, fixture{id: id}); m.str("Description") != "new" || got != "[map[TagKey:a TagValue:b]]" {
		t.Errorf("of two changes are left: description %q, tags %s", m.str("Description"), got)
	}

	between("ScheduleKeyDeletion", object{"KeyId": id})
	e.fails(alice, "DisableKey", object{"KeyId": id}, "KMSInvalidStateException: "+keyARN(id)+" is pending deletion.")
	if got := keyState(e, fixture{id: id}); got != "PendingDeletion" {
		t.Errorf("a key that was scheduled for deletion is %s", got)
	}
	e.must(alice, "CancelKeyDeletion", object{"KeyId": id})

	between("ScheduleKeyDeletion", object{"KeyId": id})
	e.fails(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": id}, "KMSInvalidStateException: "+keyARN(id)+" is pending deletion.")
	e.must(alice, "CancelKeyDeletion", object{"KeyId": id})

	e.must(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": id})
	between("DeleteAlias", object{"AliasName": "alias/x"})
	e.fails(alice, "UpdateAlias", object{"AliasName": "alias/x", "TargetKeyId": other}, "NotFoundException: Alias "+aliasARN("alias/x")+" is not found.")

	e.must(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": id})
	between("UpdateAlias", object{"AliasName": "alias/x", "TargetKeyId": other})
	deleted := e.call(alice, "DeleteAlias", `{"AliasName":"alias/x"}`)
	if got := aliasTarget(e, fixture{id: id, other: other}); got != "none" || deleted.err != nil {
		t.Errorf("the deleted alias points to %s, %v", got, deleted.err)
	}
	// What the attempt that failed had noted is no part of the record.
	for _, r := range deleted.call.Resources {
		if r.ARN == keyARN(id) {
			t.Errorf("the record names a key that the alias did not point to any more: %v", deleted.call.Resources)
		}
	}
}
