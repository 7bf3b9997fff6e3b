package kms_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/kms"
)

// becomes waits until a key of ours in a Region is in a state.
func (e *env) becomes(region, id, state string) {
	e.t.Helper()
	for range 30_000 {
		a := e.callIn(region, alice, "DescribeKey", encode(e.t, object{"KeyId": id}))
		if a.err == nil && decode(e.t, a.body).object("KeyMetadata").str("KeyState") == state {
			return
		}
		time.Sleep(time.Millisecond)
	}
	e.t.Fatalf("%s in %s is not %s", id, region, state)
}

// createSet makes a multi-Region key with replicas.
func (e *env) createSet(replicas ...string) (id string) {
	e.t.Helper()
	id = e.must(alice, "CreateKey", object{"MultiRegion": true}).object("KeyMetadata").str("KeyId")
	for _, region := range replicas {
		e.must(alice, "ReplicateKey", object{"KeyId": id, "ReplicaRegion": region})
		e.becomes(region, id, "Enabled")
	}
	return id
}

const noAction = "because no identity-based policy allows the "

// A replica takes a permission on the primary key, and one to make a key in the
// Region of the replica.
func TestReplicateKeyPermissions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createSet()
	for _, test := range []struct {
		name, replicate, create, tag string // conditions; "no" for none of the kind
		with                         object
		want                         string // of the denial; empty for a success
	}{
		{"all", ``, ``, ``, object{}, ""},
		{"not to replicate", `no`, ``, ``, object{}, "kms:ReplicateKey"},
		{"not to make keys", ``, `no`, ``, object{}, "kms:CreateKey"},
		{"not to make keys there", ``, `"StringEquals": {"aws:RequestedRegion": "` + testRegion + `"}`, ``, object{}, "kms:CreateKey"},
		{"to make keys there", `"StringEquals": {"aws:RequestedRegion": "` + testRegion + `"}`, `"StringNotEquals": {"aws:RequestedRegion": "` + testRegion + `"}`, ``, object{}, ""},
		{"to replicate to Regions", `"StringLike": {"kms:ReplicaRegion": "*-east-*"}`, ``, ``, object{}, ""},
		{"to replicate to other Regions", `"StringEquals": {"kms:ReplicaRegion": "us-west-2"}`, ``, ``, object{}, "kms:ReplicateKey"},
		{"to replicate primary keys", `"StringEquals": {"kms:MultiRegionKeyType": "PRIMARY"}, "Bool": {"kms:MultiRegion": "true"}`, ``, ``, object{}, ""},
		{"to make single-Region keys", ``, `"Bool": {"kms:MultiRegion": "false"}`, ``, object{}, "kms:CreateKey"},
		{"to make primary keys", ``, `"StringEquals": {"kms:MultiRegionKeyType": "PRIMARY"}`, ``, object{}, "kms:CreateKey"},
		{"to make replicas", ``, `"StringEquals": {"kms:MultiRegionKeyType": "REPLICA", "kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:KeyOrigin": "AWS_KMS"}`, ``, object{}, ""},
		{"the Region of the replica is not the creation's", ``, `"Null": {"kms:ReplicaRegion": "false"}`, ``, object{}, "kms:CreateKey"},
		{"tags", ``, ``, `"StringEquals": {"aws:RequestTag/a": "b"}`, object{"Tags": []object{{"TagKey": "a", "TagValue": "b"}}}, ""},
		{"other tags", ``, ``, `"StringEquals": {"aws:RequestTag/a": "c"}`, object{"Tags": []object{{"TagKey": "a", "TagValue": "b"}}}, "kms:TagResource"},
		{"no tags", ``, ``, `no`, object{"Tags": []object{{"TagKey": "a", "TagValue": "b"}}}, "kms:TagResource"},
	} {
		var statements []string
		for action, condition := range map[string]string{"ReplicateKey": test.replicate, "CreateKey": test.create, "TagResource": test.tag} {
			if condition != "no" {
				statements = append(statements, `{"Effect": "Allow", "Action": "kms:`+action+`", "Resource": "*", "Condition": {`+condition+`}}`)
			}
		}
		who := principal(ours, "tester", `{"Version": "2012-10-17", "Statement": [`+strings.Join(statements, ", ")+`]}`)
		a := e.call(who, "ReplicateKey", encode(t, object{"KeyId": id, "ReplicaRegion": "us-east-1"}.with(test.with)))
		if test.want == "" {
			if a.err != nil {
				t.Errorf("%s: %s", test.name, a.text())
				continue
			}
			e.becomes("us-east-1", id, "Enabled")
			e.destroyIn("us-east-1", id)
			continue
		}
		if a.code() != "AccessDeniedException" || !strings.Contains(a.text(), noAction+test.want+" action") {
			t.Errorf("%s: %s", test.name, or(a.text(), "success"))
		}
		if len(a.call.Onward) != 0 || a.call.Denial == nil {
			t.Errorf("%s: led to %v, denied by %v", test.name, a.call.Onward, a.call.Denial)
		}
	}
	// Neither the account of another, nor a Region that there is not, or that the
	// account has not enabled.
	e.fails(bob, "ReplicateKey", object{"KeyId": keyARN(id), "ReplicaRegion": "us-east-1"}, "AccessDeniedException: User: "+bob.ARN+
		" is not authorized to perform: kms:ReplicateKey on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access")
	closed := *alice
	closed.Closed = []string{"us-east-1"}
	const disabled = "UnsupportedOperationException: Region us-east-1 is not enabled for account " + ours + "."
	e.fails(&closed, "ReplicateKey", object{"KeyId": id, "ReplicaRegion": "us-east-1"}, disabled)
	e.fails(&closed, "UpdatePrimaryRegion", object{"KeyId": e.createSet("us-east-1"), "PrimaryRegion": "us-east-1"}, disabled)
	e.ops = kmsapi.Operations(kms.New(e.ring, authz.New(nil), kms.Options{Box: e.box, Principals: e.people, Regions: []string{testRegion, "us-west-2"}}))
	e.fails(alice, "ReplicateKey", object{"KeyId": id, "ReplicaRegion": "us-east-1"},
		"ValidationException: Region us-east-1 is not a valid Region or multi-Region keys are not supported in Region us-east-1.")
	e.fails(alice, "UpdatePrimaryRegion", object{"KeyId": id, "PrimaryRegion": "us-east-1"},
		"ValidationException: "+id+" does not have a replica key in the specified Region.")
}

// destroyIn ends a key of ours in a Region.
func (e *env) destroyIn(region, id string) {
	e.t.Helper()
	if a := e.callIn(region, alice, "ScheduleKeyDeletion", encode(e.t, object{"KeyId": id, "PendingWindowInDays": 7})); a.err != nil {
		e.t.Fatal(a.text())
	}
	e.advance(8 * 24 * time.Hour)
	if err := e.ring.RunDue(e.t.Context(), e.clock()); err != nil {
		e.t.Fatal(err)
	}
}

// A replica that is made with a policy has it, and the caller must be able to
// change it there.
func TestReplicaPolicy(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createSet()
	statement := func(condition string) string {
		return `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "` + alice.ARN + `"}, "Action": "kms:*", "Resource": "*", "Condition": {` + condition + `}}]}`
	}
	const lockout = "MalformedPolicyDocumentException: The new key policy will not allow you to update the key policy in the future."
	only := principal(ours, "alice", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["kms:ReplicateKey", "kms:CreateKey"], "Resource": "*"}}`)
	for _, condition := range []string{
		`"StringEquals": {"aws:RequestedRegion": "` + testRegion + `"}`, `"StringEquals": {"kms:MultiRegionKeyType": "PRIMARY"}`,
		`"StringLike": {"aws:ResourceTag/a": "b"}`, `"Bool": {"kms:MultiRegion": "false"}`,
	} {
		e.fails(only, "ReplicateKey", object{"KeyId": id, "ReplicaRegion": "us-east-1", "Policy": statement(condition)}, lockout)
	}
	text := statement(`"StringEquals": {"aws:RequestedRegion": "us-east-1", "kms:MultiRegionKeyType": "REPLICA"}`)
	made := e.must(only, "ReplicateKey", object{"KeyId": id, "ReplicaRegion": "us-east-1", "Policy": text})
	a := e.callIn("us-east-1", only, "GetKeyPolicy", encode(t, object{"KeyId": id}))
	if a.err != nil || decode(t, a.body).str("Policy") != made.str("ReplicaPolicy") || !strings.Contains(made.str("ReplicaPolicy"), "REPLICA") {
		t.Errorf("%v\n%s", a.text(), made.str("ReplicaPolicy"))
	}
	e.must(only, "ReplicateKey", object{"KeyId": id, "ReplicaRegion": "us-west-2", "Policy": statement(`"Bool": {"kms:MultiRegion": "false"}`), "BypassPolicyLockoutSafetyCheck": true})
}

// Another primary takes the permission on both keys, each in its Region.
func TestUpdatePrimaryRegionPermissions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createSet("us-east-1")
	there := strings.Replace(keyARN(id), testRegion, "us-east-1", 1)
	for _, test := range []struct{ name, condition, resource, want string }{
		{"the replica alone", ``, there, keyARN(id)},
		{"the primary alone", ``, keyARN(id), there},
		{"one Region", `"StringEquals": {"aws:RequestedRegion": "` + testRegion + `"}`, "*", there},
		{"the type", `"StringEquals": {"kms:MultiRegionKeyType": "PRIMARY"}`, "*", there},
		{"the other Region", `"StringEquals": {"kms:PrimaryRegion": "us-west-2"}`, "*", keyARN(id)},
		{"both", `"StringEquals": {"kms:PrimaryRegion": "us-east-1"}`, "*", ""},
	} {
		who := principal(ours, "tester", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:UpdatePrimaryRegion", "Resource": "`+test.resource+`", "Condition": {`+test.condition+`}}}`)
		a := e.call(who, "UpdatePrimaryRegion", encode(t, object{"KeyId": id, "PrimaryRegion": "us-east-1"}))
		if test.want == "" && a.err != nil ||
			test.want != "" && a.text() != "AccessDeniedException: User: "+who.ARN+" is not authorized to perform: kms:UpdatePrimaryRegion on resource: "+test.want+" "+noAction+"kms:UpdatePrimaryRegion action" {
			t.Errorf("%s: %s", test.name, or(a.text(), "success"))
		}
	}
}

// What a call leads to in the other Region is on record there, as a call by the
// same caller.
func TestOnwardCalls(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createSet()
	there := strings.Replace(keyARN(id), testRegion, "us-east-1", 1)
	show := func(a call.Auditable) (o object) {
		t.Helper()
		if err := json.Unmarshal(a.AppendAudit(nil), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	onward := func(operation string, request object) *call.Call {
		t.Helper()
		a := e.call(alice, operation, encode(t, request))
		if a.err != nil || len(a.call.Onward) != 1 {
			t.Fatalf("%s: %s, led to %v", operation, a.text(), a.call.Onward)
		}
		o := a.call.Onward[0]
		if o.Region != "us-east-1" || o.Caller != alice || o.ID != a.call.ID || !o.Time.Equal(a.call.Time) {
			t.Errorf("%s led to %+v", operation, o)
		}
		return o
	}
	o := onward("ReplicateKey", object{"KeyId": id, "ReplicaRegion": "us-east-1", "Description": "d"})
	if in, out := show(o.Parameters), show(o.Elements).object("keyMetadata"); o.Operation.Name != "CreateKey" || in["multiRegion"] != true ||
		in.str("description") != "d" || out.str("arn") != there || out.str("keyState") != "Creating" || len(o.Resources) != 1 || o.Resources[0].ARN != there {
		t.Errorf("%v %v %v", in, out, o.Resources)
	}
	e.becomes("us-east-1", id, "Enabled")
	o = onward("UpdatePrimaryRegion", object{"KeyId": id, "PrimaryRegion": "us-east-1"})
	if in, out := show(o.Parameters), show(o.Elements); o.Operation.Name != "UpdatePrimaryRegion" || in.str("keyId") != there || in.str("primaryRegion") != "us-east-1" ||
		out.str("keyId") != there || len(o.Resources) != 0 {
		t.Errorf("%v %v %v", in, out, o.Resources)
	}
}
