package iam_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/store"
)

// meddled is a store in which something happens once a key was read.
type meddled struct {
	store.Store
	suffix string // of the key
	after  int    // so many reads of it
	meddle func()
}

func (m *meddled) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	kv, head, err := m.Store.Get(ctx, key)
	if m.meddle != nil && strings.HasSuffix(key, m.suffix) {
		if m.after--; m.after == 0 {
			meddle := m.meddle
			m.meddle = nil
			meddle()
		}
	}
	return kv, head, err
}

// TestDoneToWhatWasDecidedOn: between a decision and the change, a user is moved
// out of reach, or gives way to a namesake; a role and a policy get other tags.
// Nothing is done to them.
func TestDoneToWhatWasDecidedOn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const policyARN = "arn:aws:iam::111122223333:policy/dev/Plan"
	move := func(e *env) { e.check(e.dir.UpdateUser(ctx, ours, "carol", "", "/")) }
	namesake := func(e *env) {
		e.check(e.dir.DeleteUser(ctx, ours, "carol"))
		_, err := e.dir.CreateUser(ctx, identity.User{Account: ours, Name: "carol"})
		e.check(err)
	}
	closed := []identity.Tag{{Name: "open", Value: "no"}}
	role := func(e *env) {
		e.check(e.dir.TagEntity(ctx, identity.Entity{Kind: identity.RoleEntity, Account: ours, Name: "Worker"}, closed))
	}
	plan := func(e *env) { e.check(e.dir.TagPolicy(ctx, ours, policyARN, closed)) }
	device := func(e *env) { e.check(e.dir.TagMFADevice(ctx, deviceD, closed)) }
	issuer := func(e *env) { e.check(e.dir.TagOIDCProvider(ctx, issuerX, closed)) }
	for _, tt := range []struct {
		operation, request, of string
		meddle                 []func(*env)
	}{
		{"CreateAccessKey", `{"UserName": "carol"}`, "carol", []func(*env){move, namesake}},
		{"PutUserPolicy", `{"UserName": "carol", "PolicyName": "p", "PolicyDocument": ` + quote(allowAll) + `}`, "carol", []func(*env){move, namesake}},
		{"AttachUserPolicy", `{"UserName": "carol", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}`, "carol", []func(*env){move, namesake}},
		{"TagUser", `{"UserName": "carol", "Tags": [{"Key": "a", "Value": "b"}]}`, "carol", []func(*env){move, namesake}},
		{"UpdateUser", `{"UserName": "carol", "NewUserName": "dora"}`, "carol", []func(*env){move, namesake}},
		{"DeleteUser", `{"UserName": "carol"}`, "carol", []func(*env){move, namesake}},
		{"UpdateAssumeRolePolicy", `{"RoleName": "Worker", "PolicyDocument": ` + quote(trustOurs) + `}`, "worker", []func(*env){role}},
		{"DeleteRole", `{"RoleName": "Worker"}`, "worker", []func(*env){role}},
		{"CreatePolicyVersion", `{"PolicyArn": "` + policyARN + `", "PolicyDocument": ` + quote(allowAll) + `, "SetAsDefault": true}`, "plan", []func(*env){plan}},
		{"DeletePolicy", `{"PolicyArn": "` + policyARN + `"}`, "plan", []func(*env){plan}},
		{"DeleteVirtualMFADevice", `{"SerialNumber": "` + deviceD + `"}`, "p/d", []func(*env){device}},
		{"TagOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `", "Tags": [{"Key": "a", "Value": "b"}]}`, "issuer.example/x", []func(*env){issuer}},
		{"DeleteOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `"}`, "issuer.example/x", []func(*env){issuer}},
	} {
		for i, meddle := range tt.meddle {
			for after := 1; after <= 2; after++ {
				t.Run(fmt.Sprint(tt.operation, i, after), func(t *testing.T) {
					e := newEnv(t)
					alice := e.who("alice")
					e.must(alice, "CreateUser", `{"UserName": "limited"}`)
					e.must(alice, "PutUserPolicy", `{"UserName": "limited", "PolicyName": "p", "PolicyDocument": `+quote(
						`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::111122223333:user/dev/*"},`+
							`{"Effect":"Allow","Action":"iam:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/open":"yes"}}}]}`)+`}`)
					limited := e.who("limited")
					e.must(alice, "CreateUser", `{"UserName": "carol", "Path": "/dev/"}`)
					e.must(alice, "CreateRole", `{"RoleName": "Worker", "AssumeRolePolicyDocument": `+quote(trustOurs)+`, "Tags": [{"Key": "open", "Value": "yes"}]}`)
					e.must(alice, "CreatePolicy", `{"PolicyName": "Plan", "Path": "/dev/", "PolicyDocument": `+quote(allowAll)+`, "Tags": [{"Key": "open", "Value": "yes"}]}`)
					e.must(alice, "CreateVirtualMFADevice", `{"VirtualMFADeviceName": "d", "Path": "/p/", "Tags": [{"Key": "open", "Value": "yes"}]}`)
					e.must(alice, "CreateOpenIDConnectProvider", `{"Url": "https://issuer.example/x", "Tags": [{"Key": "open", "Value": "yes"}]}`)
					met := false
					e.store.suffix, e.store.after = "/"+ours+"/"+tt.of, after
					e.store.meddle = func() { met = true; meddle(e) }
					got := e.call(limited, tt.operation, tt.request).text()
					if !met || !strings.HasPrefix(got, "AccessDenied 403: ") {
						t.Errorf("%s, met %v: %q", tt.operation, met, got)
					}
				})
			}
		}
	}
}

func (e *env) check(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}
