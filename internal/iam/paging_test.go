package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const invalidMarker = "ValidationError 400: Invalid Marker."

// names returns a member of each item of a list.
func names(o object, list, member string) []string {
	var all []string
	for _, item := range o.list(list) {
		if s, ok := item.(string); ok {
			all = append(all, s)
			continue
		}
		m, _ := item.(map[string]any)
		all = append(all, object(m).str(member))
	}
	return all
}

// TestPages reads lists page by page, while items come and go.
func TestPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	policies := make([]string, 5)
	for i := range 5 {
		name := fmt.Sprintf("item%d", i)
		e.must(alice, "CreateUser", `{"UserName": "`+name+`", "Path": "/p/"}`)
		e.must(alice, "CreateGroup", `{"GroupName": "`+name+`", "Path": "/p/"}`)
		e.must(alice, "CreateRole", `{"RoleName": "`+name+`", "Path": "/p/", "AssumeRolePolicyDocument": `+quote(trustOurs)+`}`)
		made := e.must(alice, "CreatePolicy", `{"PolicyName": "`+name+`", "Path": "/p/", "PolicyDocument": `+quote(allowAll)+`}`)
		policies[i] = made.object("Policy").str("Arn")
		e.must(alice, "TagUser", `{"UserName": "alice", "Tags": [{"Key": "`+name+`", "Value": ""}]}`)
		e.must(alice, "PutGroupPolicy", `{"GroupName": "item0", "PolicyName": "`+name+`", "PolicyDocument": `+quote(allowAll)+`}`)
		e.must(alice, "AddUserToGroup", `{"GroupName": "item0", "UserName": "`+name+`"}`)
		e.must(alice, "AddUserToGroup", `{"GroupName": "`+name+`", "UserName": "alice"}`)
		e.must(alice, "AttachRolePolicy", `{"RoleName": "item0", "PolicyArn": "`+policies[i]+`"}`)
		e.must(alice, "AttachUserPolicy", `{"UserName": "`+name+`", "PolicyArn": "`+policies[0]+`"}`)
		if i > 0 {
			e.must(alice, "CreatePolicyVersion", `{"PolicyArn": "`+policies[0]+`", "PolicyDocument": `+quote(allowAll)+`}`)
		}
	}
	items := []string{"item0", "item1", "item2", "item3", "item4"}
	for _, tt := range []struct {
		operation, filter, list, member string
		want                            []string
	}{
		{"ListUsers", `"PathPrefix": "/p/"`, "Users", "UserName", items},
		{"ListGroups", ``, "Groups", "GroupName", items},
		{"ListRoles", `"PathPrefix": "/p/"`, "Roles", "RoleName", items},
		{"ListPolicies", `"Scope": "Local"`, "Policies", "PolicyName", items},
		{"ListUserTags", `"UserName": "alice"`, "Tags", "Key", items},
		{"ListGroupPolicies", `"GroupName": "item0"`, "PolicyNames", "", items},
		{"GetGroup", `"GroupName": "item0"`, "Users", "UserName", []string{"alice", "item0", "item1", "item2", "item3", "item4"}},
		{"ListGroupsForUser", `"UserName": "alice"`, "Groups", "GroupName", items},
		{"ListAttachedRolePolicies", `"RoleName": "item0"`, "AttachedPolicies", "PolicyName", items},
		{"ListEntitiesForPolicy", `"PolicyArn": "` + policies[0] + `", "EntityFilter": "User"`, "PolicyUsers", "UserName", items},
		{"ListPolicyVersions", `"PolicyArn": "` + policies[0] + `"`, "Versions", "VersionId", []string{"v5", "v4", "v3", "v2", "v1"}},
	} {
		for _, size := range []int{1, 2, 3, 100} {
			var got []string
			marker := ""
			for {
				request := fmt.Sprintf(`{"MaxItems": %d`, size)
				for _, member := range []string{tt.filter, marker} {
					if member != "" {
						request += ", " + member
					}
				}
				o := e.must(alice, tt.operation, request+"}")
				part := names(o, tt.list, tt.member)
				if got = append(got, part...); len(part) > size {
					t.Errorf("%s: a page of %d, wanted %d", tt.operation, len(part), size)
				}
				truncated := o.str("IsTruncated") == "true"
				if truncated != (o.str("Marker") != "") {
					t.Errorf("%s: IsTruncated %v, marker %q", tt.operation, truncated, o.str("Marker"))
				}
				if !truncated || len(got) > 10 {
					break
				}
				marker = `"Marker": "` + o.str("Marker") + `"`
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s in pages of %d: %v, want %v", tt.operation, size, got, tt.want)
			}
		}
	}

	// What the last page ended with has gone; something came before it.
	first := e.must(alice, "ListUserTags", `{"UserName": "alice", "MaxItems": 3}`)
	e.must(alice, "UntagUser", `{"UserName": "alice", "TagKeys": ["item2", "item4"]}`)
	e.must(alice, "TagUser", `{"UserName": "alice", "Tags": [{"Key": "a", "Value": ""}, {"Key": "z", "Value": ""}]}`)
	next := e.must(alice, "ListUserTags", `{"UserName": "alice", "Marker": "`+first.str("Marker")+`"}`)
	if got := names(next, "Tags", "Key"); !slices.Equal(got, []string{"item3", "z"}) {
		t.Errorf("the page after a tag that has gone: %v", got)
	}
	first = e.must(alice, "ListUsers", `{"PathPrefix": "/p/", "MaxItems": 2}`)
	e.must(alice, "UpdateUser", `{"UserName": "item1", "NewUserName": "moved"}`)
	next = e.must(alice, "ListUsers", `{"PathPrefix": "/p/", "Marker": "`+first.str("Marker")+`"}`)
	if got := names(next, "Users", "UserName"); !slices.Equal(got, []string{"item2", "item3", "item4", "moved"}) {
		t.Errorf("the page after a user who has another name: %v", got)
	}
}

// TestLongKeys: a marker is never longer than the API takes one.
func TestLongKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	var want []string
	for i := range 4 {
		key := strings.Repeat("ä", 126) + fmt.Sprint(i)
		want = append(want, key)
		e.must(alice, "TagUser", `{"UserName": "alice", "Tags": [{"Key": "`+key+`", "Value": ""}]}`)
	}
	path := "/" + strings.Repeat("p", 510) + "/"
	e.must(alice, "CreatePolicy", `{"PolicyName": "`+strings.Repeat("a", 128)+`", "Path": "`+path+`", "PolicyDocument": `+quote(allowAll)+`}`)
	e.must(alice, "CreatePolicy", `{"PolicyName": "`+strings.Repeat("b", 128)+`", "Path": "`+path+`", "PolicyDocument": `+quote(allowAll)+`}`)
	for _, name := range []string{"a", "b"} {
		e.must(alice, "AttachUserPolicy", `{"UserName": "alice", "PolicyArn": "arn:aws:iam::`+ours+`:policy`+path+strings.Repeat(name, 128)+`"}`)
	}
	var got []string
	marker := ""
	for range 10 {
		o := e.must(alice, "ListUserTags", `{"UserName": "alice", "MaxItems": 1`+marker+`}`)
		got = append(got, names(o, "Tags", "Key")...)
		if o.str("IsTruncated") == "false" {
			break
		}
		marker = `, "Marker": "` + o.str("Marker") + `"`
	}
	if !slices.Equal(got, want) {
		t.Errorf("tags with long keys: %v", got)
	}
	for operation, request := range map[string]string{
		"ListPolicies":             `"Scope": "Local", "PathPrefix": "` + path + `"`,
		"ListAttachedUserPolicies": `"UserName": "alice", "PathPrefix": "` + path + `"`,
	} {
		o := e.must(alice, operation, `{"MaxItems": 1, `+request+`}`)
		o = e.must(alice, operation, `{"Marker": "`+o.str("Marker")+`", `+request+`}`)
		if o.str("IsTruncated") != "false" {
			t.Errorf("%s: a third page", operation)
		}
	}
}

// TestMarkersAreBound: a marker is good for the list that it is of, and nobody
// makes one.
func TestMarkersAreBound(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice, bob := e.who("alice"), e.who("bob")
	for _, name := range []string{"x", "y"} {
		e.must(alice, "CreateUser", `{"UserName": "`+name+`", "Tags": [{"Key": "1", "Value": ""}, {"Key": "2", "Value": ""}]}`)
		e.must(bob, "CreateUser", `{"UserName": "`+name+`"}`)
		e.must(alice, "CreateRole", `{"RoleName": "`+name+`", "AssumeRolePolicyDocument": `+quote(trustOurs)+`}`)
	}
	users := e.must(alice, "ListUsers", `{"MaxItems": 1}`).str("Marker")
	tags := e.must(alice, "ListUserTags", `{"UserName": "x", "MaxItems": 1}`).str("Marker")
	e.must(alice, "ListUsers", `{"Marker": "`+users+`"}`)
	e.must(alice, "ListUsers", `{"Marker": "`+users+`", "PathPrefix": "/", "MaxItems": 1000}`)
	e.must(alice, "ListUserTags", `{"UserName": "x", "Marker": "`+tags+`"}`)
	flipped := []byte(users)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct {
		who                string
		operation, request string
	}{
		{"bob", "ListUsers", `"Marker": "` + users + `"`},
		{"alice", "ListRoles", `"Marker": "` + users + `"`},
		{"alice", "ListUsers", `"PathPrefix": "/p/", "Marker": "` + users + `"`},
		{"alice", "ListUsers", `"Marker": "` + users[1:] + `"`},
		{"alice", "ListUsers", `"Marker": "` + string(flipped) + `"`},
		{"alice", "ListUsers", `"Marker": "alice"`},
		{"alice", "ListUserTags", `"UserName": "y", "Marker": "` + tags + `"`},
		{"alice", "ListUserTags", `"UserName": "x", "Marker": "` + users + `"`},
		{"alice", "ListInstanceProfilesForRole", `"RoleName": "x", "Marker": "` + users + `"`},
	} {
		e.fails(e.who(tt.who), tt.operation, "{"+tt.request+"}", invalidMarker)
	}
	if strings.Contains(users, "alice") {
		t.Errorf("a marker that shows what it holds: %s", users)
	}
}
