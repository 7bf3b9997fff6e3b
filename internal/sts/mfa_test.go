package sts_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/sts"
)

func TestMFA(t *testing.T) {
	const phone = "arn:aws:iam::111122223333:mfa/phone"
	never := newDirectory(t, allow("arn:aws:iam::111122223333:user/alice", `,"Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"NumericLessThan":{"aws:MultiFactorAuthAge":"60"}}`))
	alice := user(t, ours, "alice", identityAllow("sts:*", "*"))
	if _, _, err := assume(t, never, alice); !strings.HasPrefix(text(err), "AccessDenied: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: sts:AssumeRole") {
		t.Errorf("without a code: %s", text(err))
	}
	mfa := func(serial, code string) []string { return []string{"SerialNumber", serial, "TokenCode", code} }
	if _, _, err := assume(t, never, alice, mfa(phone, "123456")...); err != nil {
		t.Errorf("with a code: %s", text(err))
	}
	// The role's session has no MFA of its own.
	if asked := never.asked[len(never.asked)-1]; !asked.MFATime.IsZero() {
		t.Errorf("the session of the role has MFA of %v", asked.MFATime)
	}
	const (
		wrong   = "AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code. "
		unknown = "AccessDenied: MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user."
		half    = "AccessDenied: MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
		tried   = "AccessDenied: MultiFactorAuthentication failed, too many codes were wrong lately. Please wait and try again."
	)
	open := newDirectory(t, allow("*", ""))
	for _, c := range []struct {
		caller *call.Principal
		form   []string
		want   string
	}{
		{alice, mfa(phone, "654321"), wrong},
		{alice, mfa(phone+"2", "123456"), unknown},
		{alice, mfa("GAHT12345678", "123456"), unknown},
		{alice, mfa("arn:aws:iam::111122223333:mfa/tried", "123456"), tried},
		{alice, []string{"SerialNumber", phone}, half},
		{alice, []string{"TokenCode", "123456"}, half},
		{alice, mfa("arn:aws:iam::111122223333:mfa/broken", "123456"), "KMSInternalException: "},
		{root(ours), mfa(phone, "123456"), unknown},
	} {
		if _, _, err := invoke(t, open, c.caller, "GetSessionToken", c.form...); text(err) != c.want {
			t.Errorf("GetSessionToken with %v: %q, want %q", c.form, text(err), c.want)
		}
		if c.caller.Kind == call.Root {
			continue
		}
		if _, k, err := assume(t, open, c.caller, c.form...); text(err) != c.want || !k.MFA.IsZero() {
			t.Errorf("AssumeRole with %v: %q, want %q", c.form, text(err), c.want)
		}
	}
	if _, _, err := assume(t, open, session(t, ours, identityAllow("*", "*"), call.Session{}), mfa(phone, "123456")...); text(err) != unknown {
		t.Errorf("the session of a role: %q", text(err))
	}
	_, k, err := invoke(t, open, alice, "GetSessionToken", mfa(phone, "123456")...)
	if err != nil || !k.MFA.Equal(start) {
		t.Fatalf("GetSessionToken: %s, MFA of %v", text(err), k.MFA)
	}
	if want := (identity.SessionParams{Kind: identity.UserSession, Caller: alice, Duration: 12 * time.Hour, MFATime: start}); !reflect.DeepEqual(open.asked[len(open.asked)-1], want) {
		t.Errorf("asked for %+v, want %+v", open.asked[len(open.asked)-1], want)
	}
	if got := string(k.Parameters.AppendAudit(nil)); got != `{"serialNumber":"`+phone+`"}` {
		t.Errorf("requestParameters = %s", got)
	}
}

// TestMFASessions: MFA with a real device, through the door.
func TestMFASessions(t *testing.T) {
	d, alice, bob := newDoor(t)
	ctx := context.Background()
	device, seed, err := d.dir.CreateMFADevice(ctx, identity.MFADevice{Account: ours, Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	code := func(steps int64) string {
		mac := hmac.New(sha1.New, seed.Reveal())
		_ = binary.Write(mac, binary.BigEndian, d.clock().Unix()/30+steps)
		sum := mac.Sum(nil)
		return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1000000)
	}
	if err := d.dir.EnableMFADevice(ctx, ours, "alice", device.SerialNumber, code(-1), code(0)); err != nil {
		t.Fatal(err)
	}
	guarded, err := d.dir.CreateRole(ctx, identity.Role{
		Account: ours, Name: "guarded",
		Trust: allow("arn:aws:iam::111122223333:user/alice", `,"Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"NumericLessThanEquals":{"aws:MultiFactorAuthAge":"600"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	mfa := func(steps int64) []string {
		return []string{"SerialNumber", device.SerialNumber, "TokenCode", code(steps)}
	}
	const wrong = "AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code. "
	if _, problem := d.call(alice, "GetSessionToken", mfa(0)...); problem != wrong {
		t.Errorf("the code that it was enabled with: %s", problem)
	}
	plain := d.must(alice, "GetSessionToken").credentials()
	d.advance(time.Minute)
	strong := d.must(alice, "GetSessionToken", mfa(0)...).credentials()
	if _, problem := d.call(alice, "GetSessionToken", mfa(0)...); problem != wrong {
		t.Errorf("a code twice: %s", problem)
	}
	if _, problem := d.call(bob, "GetSessionToken", mfa(1)...); !strings.Contains(problem, "unable to validate MFA code") {
		t.Errorf("somebody else's device: %s", problem)
	}
	if err := sts.MayCallIAM(d.principal(strong)); err != nil {
		t.Errorf("IAM with MFA: %v", err)
	}
	if err := sts.MayCallIAM(d.principal(plain)); err == nil {
		t.Error("IAM without MFA")
	}
	if p := d.principal(strong); !p.Session.MFA || !p.Session.MFATime.Equal(d.clock()) {
		t.Errorf("the session is %+v", p.Session)
	}

	// A session has what its credentials were made with, or what it presents.
	d.must(strong, "AssumeRole", assuming(guarded.ARN, "s1")...)
	for _, who := range []struct {
		name string
		may  bool
		form []string
	}{
		{"long-term credentials without", false, nil},
		{"long-term credentials with", true, mfa(1)},
	} {
		if _, problem := d.call(alice, "AssumeRole", assuming(guarded.ARN, "s1", who.form...)...); (problem == "") != who.may {
			t.Errorf("%s: %s", who.name, problem)
		}
	}
	d.advance(time.Minute)
	if _, problem := d.call(plain, "AssumeRole", assuming(guarded.ARN, "s1")...); problem == "" {
		t.Error("a session without MFA assumes")
	}
	made := d.must(plain, "AssumeRole", assuming(guarded.ARN, "s1", mfa(0)...)...)
	if p := d.principal(made.credentials()); p.Session.MFA {
		t.Errorf("the session of the role is %+v", p.Session)
	}
	d.advance(10 * time.Minute)
	if _, problem := d.call(strong, "AssumeRole", assuming(guarded.ARN, "s1")...); problem == "" {
		t.Error("MFA of 11 minutes ago is of the last ten")
	}
	if audit := d.records.String(); strings.Contains(audit, "okenCode") || !strings.Contains(audit, device.SerialNumber) {
		t.Errorf("audit has %s", audit)
	}
}
