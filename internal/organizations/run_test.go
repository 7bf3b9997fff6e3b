package organizations_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/identity"
)

// TestRun asks for accounts, some with the same e-mail address, at the same time
// while they are made.
func TestRun(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	if a := e.call(alice, "CreateOrganization", "{}"); a.err != nil {
		t.Fatal(a.err)
	}
	alice = e.who("alice")
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { e.service.Run(ctx) })
	const addresses = 4
	ids := make([]string, 2*addresses)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			a := e.call(alice, "CreateAccount", fmt.Sprintf(`{"Email": "a%d@example.com", "AccountName": "n"}`, i%addresses))
			var out struct{ CreateAccountStatus struct{ ID, State string } }
			if a.err != nil || json.Unmarshal(a.body, &out) != nil || out.CreateAccountStatus.State != "IN_PROGRESS" {
				t.Errorf("CreateAccount: %s, %s", a.text(), a.body)
			}
			ids[i] = out.CreateAccountStatus.ID
		})
	}
	all.Wait()
	states := make(map[string]int)
	deadline := time.Now().Add(2 * time.Minute)
	for _, id := range ids {
		for {
			a := e.call(alice, "DescribeCreateAccountStatus", `{"CreateAccountRequestId": "`+id+`"}`)
			var out struct {
				CreateAccountStatus struct{ State, FailureReason string }
			}
			if a.err != nil || json.Unmarshal(a.body, &out) != nil {
				t.Fatalf("DescribeCreateAccountStatus: %s, %s", a.text(), a.body)
			}
			if s := out.CreateAccountStatus; s.State != "IN_PROGRESS" {
				states[s.State+s.FailureReason]++
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("request %s is not settled", id)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	stop()
	running.Wait()
	if states["SUCCEEDED"] != addresses || states["FAILEDEMAIL_ALREADY_EXISTS"] != addresses {
		t.Errorf("the requests ended as %v", states)
	}
}

// TestPages goes through long lists page by page.
func TestPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := context.Background()
	o, err := e.dir.CreateOrganization(ctx, identity.Organization{Master: ours, Types: []identity.OrganizationPolicyType{identity.ServiceControlPolicy}})
	if err != nil {
		t.Fatal(err)
	}
	const n = 45
	for i := range n {
		if _, err := e.dir.CreateUnit(ctx, identity.Unit{Organization: o.ID, Parent: o.Root, Name: fmt.Sprint("u", i)}); err != nil {
			t.Fatal(err)
		}
		a, err := e.dir.CreateAccount(ctx, identity.Account{Name: "n"})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.dir.PlaceAccount(ctx, a.ID, o.ID, o.Root); err != nil {
			t.Fatal(err)
		}
	}
	alice := e.who("alice")
	for _, tt := range []struct {
		operation, request, list, id string
		want                         int
	}{
		{"ListAccounts", "", "Accounts", "Id", n + 1},
		{"ListAccountsForParent", `"ParentId": "` + o.Root + `",`, "Accounts", "Id", n + 1},
		{"ListOrganizationalUnitsForParent", `"ParentId": "` + o.Root + `",`, "OrganizationalUnits", "Id", n},
		{"ListChildren", `"ChildType": "ACCOUNT", "ParentId": "` + o.Root + `",`, "Children", "Id", n + 1},
		{"ListTargetsForPolicy", `"PolicyId": "p-FullAWSAccess",`, "Targets", "TargetId", 2*n + 2},
	} {
		for _, size := range []int{1, 7, 20} {
			seen := make(map[string]bool)
			token := ""
			for {
				request := fmt.Sprintf(`{%s "MaxResults": %d}`, tt.request, size)
				if token != "" {
					request = fmt.Sprintf(`{%s "MaxResults": %d, "NextToken": %q}`, tt.request, size, token)
				}
				a := e.call(alice, tt.operation, request)
				var out map[string]json.RawMessage
				if a.err != nil || json.Unmarshal(a.body, &out) != nil {
					t.Fatalf("%s(%s): %s, %s", tt.operation, request, a.text(), a.body)
				}
				var items []map[string]any
				if err := json.Unmarshal(out[tt.list], &items); err != nil || len(items) > size {
					t.Fatalf("%s: %d items, %v", tt.operation, len(items), err)
				}
				for _, item := range items {
					id, _ := item[tt.id].(string)
					if id == "" || seen[id] {
						t.Errorf("%s: %q again", tt.operation, id)
					}
					seen[id] = true
				}
				if out["NextToken"] == nil {
					break
				}
				if err := json.Unmarshal(out["NextToken"], &token); err != nil {
					t.Fatal(err)
				}
			}
			if len(seen) != tt.want {
				t.Errorf("%s by %d: %d items, want %d", tt.operation, size, len(seen), tt.want)
			}
		}
	}
}
