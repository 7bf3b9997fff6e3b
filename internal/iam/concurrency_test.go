package iam_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestAtOnce: those who change one user at once all get through, or are told
// that they have not; and a quota holds.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	e.must(alice, "CreateUser", `{"UserName": "carol"}`)
	const all = 8
	var (
		wg       sync.WaitGroup
		tagged   [all]answer
		keys     [all]answer
		policies [all]answer
	)
	for i := range all {
		wg.Go(func() {
			tagged[i] = e.call(alice, "TagUser", fmt.Sprintf(`{"UserName": "carol", "Tags": [{"Key": "%d", "Value": ""}]}`, i))
		})
		wg.Go(func() { keys[i] = e.call(alice, "CreateAccessKey", `{"UserName": "carol"}`) })
		wg.Go(func() {
			policies[i] = e.call(alice, "CreatePolicy", `{"PolicyName": "One", "PolicyDocument": `+quote(allowAll)+`}`)
		})
	}
	wg.Wait()
	const gaveUp = "ConcurrentModification 409: Others are changing the same at the same time. Try again."
	wantTags := 0
	for i, a := range tagged {
		switch a.text() {
		case "":
			wantTags++
		case gaveUp:
		default:
			t.Errorf("TagUser %d: %s", i, a.text())
		}
	}
	if got := e.must(alice, "ListUserTags", `{"UserName": "carol"}`).list("Tags"); len(got) != wantTags {
		t.Errorf("%d calls of TagUser succeeded, there are %v", wantTags, got)
	}
	made := 0
	for i, a := range keys {
		switch a.text() {
		case "":
			made++
		case gaveUp, "LimitExceeded 409: Cannot exceed quota for AccessKeysPerUser: 2":
		default:
			t.Errorf("CreateAccessKey %d: %s", i, a.text())
		}
	}
	if got := e.must(alice, "ListAccessKeys", `{"UserName": "carol"}`).list("AccessKeyMetadata"); len(got) != made || made > 2 {
		t.Errorf("%d access keys were made, there are %v", made, got)
	}
	made = 0
	for i, a := range policies {
		switch {
		case a.err == nil:
			made++
		case !strings.HasPrefix(a.text(), "EntityAlreadyExists 409: "):
			t.Errorf("CreatePolicy %d: %s", i, a.text())
		}
	}
	if made != 1 {
		t.Errorf("one policy was made %d times", made)
	}
}

// TestFault: what is wrong on our side is not told.
func TestFault(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	if err := e.store.Close(); err != nil {
		t.Fatal(err)
	}
	op := e.ops["GetUser"]
	c := e.callOf(alice, op)
	_, err := op.Invoke(t.Context(), c, []byte(e.form("GetUser", `{"UserName": "nobody"}`)), nil)
	if err == nil || strings.Contains(err.Error(), "cannot be found") {
		t.Errorf("GetUser without a store: %v", err)
	}
}
