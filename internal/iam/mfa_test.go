package iam_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image/png"
	"strings"
	"testing"
	"time"
)

// totp is the code of a seed some steps from now, by RFC 6238.
func (e *env) totp(seed []byte, steps int64) string {
	mac := hmac.New(sha1.New, seed)
	_ = binary.Write(mac, binary.BigEndian, e.clock().Unix()/30+steps)
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1000000)
}

// seedOf returns the seed that a device's Base32StringSeed tells.
func seedOf(t *testing.T, device object) []byte {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(device.str("Base32StringSeed"))
	if err != nil || len(text) != 64 {
		t.Fatalf("the seed is %q, %v", text, err)
	}
	seed, err := base32.StdEncoding.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

func TestMFADevices(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	e.must(alice, "CreateUser", `{"UserName": "carol", "Path": "/team/"}`)
	made := e.call(alice, "CreateVirtualMFADevice", `{"VirtualMFADeviceName": "carol"}`)
	if made.err != nil {
		t.Fatal(made.err)
	}
	device := object(e.result(made.body).(map[string]any)).object("VirtualMFADevice")
	seed := seedOf(t, device)
	picture, err := base64.StdEncoding.DecodeString(device.str("QRCodePNG"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := png.Decode(bytes.NewReader(picture)); err != nil || p.Bounds().Dx() < 100 {
		t.Errorf("the picture: %v", err)
	}
	serial := device.str("SerialNumber")

	// Nothing but the answer tells the seed.
	audit := string(made.call.Parameters.AppendAudit(nil)) + string(made.call.Elements.AppendAudit(nil))
	if !strings.Contains(audit, `{"virtualMFADevice":{"serialNumber":"`+serial+`"`) {
		t.Errorf("audit has %s", audit)
	}
	everywhere := audit + e.log.String() + e.dump()
	for _, secret := range []string{base32.StdEncoding.EncodeToString(seed), string(seed), device.str("Base32StringSeed"), device.str("QRCodePNG"), fmt.Sprintf("%q", seed)} {
		if strings.Contains(everywhere, secret) {
			t.Error("the seed is in the audit record, the log or the store")
		}
	}

	codes := func(first, second int64) string {
		return `{"UserName": "carol", "SerialNumber": "` + serial + `", "AuthenticationCode1": "` + e.totp(seed, first) + `", "AuthenticationCode2": "` + e.totp(seed, second) + `"}`
	}
	const wrong = "InvalidAuthenticationCode 403: Authentication code for device is not valid."
	e.fails(alice, "EnableMFADevice", codes(0, 0), wrong)
	enabled := e.call(alice, "EnableMFADevice", codes(-1, 0))
	if enabled.err != nil {
		t.Fatal(enabled.err)
	}
	if got := string(enabled.call.Parameters.AppendAudit(nil)); got != `{"userName":"carol","serialNumber":"`+serial+`"}` {
		t.Errorf("requestParameters = %s", got)
	}
	e.fails(alice, "EnableMFADevice", codes(0, 1), "EntityAlreadyExists 409: MFA Device is already in use.")
	e.advance(time.Minute)
	e.must(alice, "ResyncMFADevice", codes(-1, 0))
	e.fails(alice, "ResyncMFADevice", codes(-1, 0), wrong)

	at := "2026-11-21T09:30:00Z"
	if got := fmt.Sprint(e.must(alice, "ListMFADevices", `{"UserName": "CAROL"}`)); got != "map[IsTruncated:false MFADevices:[map[EnableDate:"+at+" SerialNumber:"+serial+" UserName:carol]]]" {
		t.Errorf("ListMFADevices: %s", got)
	}
	if got := fmt.Sprint(e.must(alice, "GetMFADevice", `{"UserName": "carol", "SerialNumber": "`+serial+`"}`)); got != "map[EnableDate:"+at+" SerialNumber:"+serial+" UserName:carol]" {
		t.Errorf("GetMFADevice: %s", got)
	}
	list := e.must(alice, "ListVirtualMFADevices", `{"AssignmentStatus": "Assigned"}`).list("VirtualMFADevices")
	if len(list) != 1 {
		t.Fatalf("ListVirtualMFADevices: %v", list)
	}
	listed := object(list[0].(map[string]any))
	if listed.object("User").str("Arn") != "arn:aws:iam::"+ours+":user/team/carol" || listed.str("EnableDate") != at || listed.str("Base32StringSeed")+listed.str("QRCodePNG") != "" {
		t.Errorf("listed %v", listed)
	}
	summary := e.call(alice, "GetAccountSummary", "{}")
	for _, want := range []string{"MFADevices</key><value>1<", "MFADevicesInUse</key><value>1<", "Providers</key><value>0<"} {
		if !bytes.Contains(summary.body, []byte(want)) {
			t.Errorf("the summary has no %s: %s", want, summary.body)
		}
	}
	e.fails(alice, "DeleteVirtualMFADevice", `{"SerialNumber": "`+serial+`"}`, "DeleteConflict 409: MFA VirtualDevice in use. Must deactivate first.")
	e.fails(alice, "DeleteUser", `{"UserName": "carol"}`, "DeleteConflict 409: Cannot delete entity, must delete MFA device first.")
	e.must(alice, "DeactivateMFADevice", `{"UserName": "carol", "SerialNumber": "`+serial+`"}`)
	e.must(alice, "DeleteUser", `{"UserName": "carol"}`)
	e.must(alice, "DeleteVirtualMFADevice", `{"SerialNumber": "`+serial+`"}`)
}
