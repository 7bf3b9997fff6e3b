package keyring_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const (
	someID  = "1234abcd-12ab-34cd-56ef-1234567890ab"
	someKey = "v1/key/" + account + "/" + region + "/" + someID
)

func someMetadata() *keyring.Metadata {
	return &keyring.Metadata{
		Account: account, Region: region, ID: someID, ARN: "arn:aws:kms:" + region + ":" + account + ":key/" + someID,
		Spec: keyring.RSA2048, Usage: keyring.SignVerify, State: keyring.PendingDeletion,
		Description: "x", Tags: []keyring.Tag{{Key: "a", Value: "b"}, {Key: "c"}}, Policy: `{"Version":"2012-10-17"}`,
		Created: start, Deletion: start.Add(time.Hour), MaterialID: strings.Repeat("0a", 32),
		PublicKey: []byte{1, 2, 3}, Aliases: 300, Origin: keyring.AWSKMS,
	}
}

func TestKeyRecord(t *testing.T) {
	plain := someMetadata()
	plain.Spec, plain.Usage, plain.State = keyring.SymmetricDefault, keyring.EncryptDecrypt, keyring.Enabled
	plain.Tags, plain.Deletion, plain.PublicKey, plain.Description, plain.Aliases = nil, time.Time{}, nil, "", 0
	plain.Policy = keyring.DefaultPolicy(region, account)
	full := keyring.WithFinders(someMetadata(), 5, "alias/a", "alias/b")
	full.Aliases = 2
	full.Bindings = []keyring.Binding{{ARN: "arn:aws:iam::" + account + ":role/r", ID: "AROAR"}, {ARN: "arn:aws:iam::" + account + ":user/u", ID: "AIDAU"}}
	imported := someMetadata()
	imported.Spec, imported.Usage, imported.State, imported.PublicKey = keyring.SymmetricDefault, keyring.EncryptDecrypt, keyring.Updating, nil
	imported.Origin, imported.Rotation = keyring.External, keyring.Rotation{OnDemand: 1}
	imported.Materials = []keyring.Material{
		{ID: strings.Repeat("0b", 32), State: keyring.NonCurrent, Imported: true, Expires: start, Description: "first"},
		{ID: imported.MaterialID, State: keyring.Current, RotatedBy: keyring.OnDemand, Rotated: start},
		{ID: strings.Repeat("0c", 32), State: keyring.PendingMultiRegionImportAndRotation, Imported: true},
	}
	imported.MultiRegion = &keyring.MultiRegion{Primary: region, Regions: []string{"ap-south-1", region}, Resume: keyring.Disabled, Window: 30}
	empty := someMetadata()
	empty.State, empty.Origin, empty.MaterialID, empty.PublicKey = keyring.PendingImport, keyring.External, "", nil
	rotated := someMetadata()
	rotated.Rotation = keyring.Rotation{PeriodDays: 365, Next: start.Add(365 * 24 * time.Hour)}
	for _, m := range []*keyring.Metadata{someMetadata(), plain, full, imported, empty, rotated} {
		b, err := keyring.AppendKeyRecord(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := keyring.DecodeKeyRecord(someKey, b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("it comes back as %+v, %v", got, err)
		}
		for n := range b {
			if _, err := keyring.DecodeKeyRecord(someKey, b[:n]); err == nil {
				t.Errorf("the first %d of %d bytes decode", n, len(b))
			}
		}
		if _, err := keyring.DecodeKeyRecord(someKey, append(bytes.Clone(b), 0)); err == nil {
			t.Error("a byte after it is taken")
		}
		for _, key := range []string{"", "v1/key/", "v1/mat/" + someKey[7:], someKey[:len(someKey)-1], "v1/key/1/" + region + "/" + someID, "v1/key/" + account + "//" + someID, someKey + "/x"} {
			if _, err := keyring.DecodeKeyRecord(key, b); err == nil {
				t.Errorf("decodes under %q", key)
			}
		}
	}
	b, _ := keyring.AppendKeyRecord(nil, plain)
	if len(b) > 60 {
		t.Errorf("a plain key takes %d bytes", len(b))
	}
	for name, edit := range map[string]func(*keyring.Metadata){
		"state":       func(m *keyring.Metadata) { m.State = "Unavailable" },
		"spec":        func(m *keyring.Metadata) { m.Spec = "SM4" },
		"usage":       func(m *keyring.Metadata) { m.Usage = keyring.EncryptDecrypt; m.Spec = keyring.HMAC256 },
		"material id": func(m *keyring.Metadata) { m.MaterialID = strings.Repeat("0A", 32) },
		"tag":         func(m *keyring.Metadata) { m.Tags = []keyring.Tag{{Key: "\xff"}} },
		"policy":      func(m *keyring.Metadata) { m.Policy = "\xff" },
	} {
		m := someMetadata()
		edit(m)
		if _, err := keyring.AppendKeyRecord(nil, m); err == nil {
			t.Errorf("bad %s is encoded", name)
		}
	}
}

// Keys with the default policy share its text.
func TestDefaultPolicyIsShared(t *testing.T) {
	m := someMetadata()
	m.Policy = keyring.DefaultPolicy(region, account)
	b, err := keyring.AppendKeyRecord(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	one, err := keyring.DecodeKeyRecord(someKey, b)
	if err != nil {
		t.Fatal(err)
	}
	two, err := keyring.DecodeKeyRecord("v1/key/"+account+"/us-east-1/"+someID, b)
	if err != nil {
		t.Fatal(err)
	}
	if unsafe.StringData(one.Policy) != unsafe.StringData(two.Policy) {
		t.Error("two keys have a text each")
	}
}

func FuzzKeyRecord(f *testing.F) {
	b, err := keyring.AppendKeyRecord(nil, someMetadata())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	m := someMetadata()
	m.Policy, m.Tags = keyring.DefaultPolicy(region, account), nil
	if b, err = keyring.AppendKeyRecord(nil, m); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	m = keyring.WithFinders(someMetadata(), 3, "alias/a")
	m.Aliases, m.Bindings = 1, []keyring.Binding{{ARN: "a", ID: "b"}}
	if b, err = keyring.AppendKeyRecord(nil, m); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if one, page := keyring.DecodeGrantRecords(b); one != nil && !bytes.Equal(one, b) || page != nil && !bytes.Equal(page, b) {
			t.Fatalf("%x comes back as %x and %x", b, one, page)
		}
		if m, err := keyring.DecodeKeyRecord(someKey, b); err == nil {
			again, err := keyring.AppendKeyRecord(nil, m)
			if err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%x comes back as %x, %v", b, again, err)
			}
		}
		byName, ofKey := keyring.DecodeAliasRecords(b)
		if byName != nil && !bytes.Equal(byName, b) || ofKey != nil && !bytes.Equal(ofKey, b) {
			t.Fatalf("%x comes back as %x and %x", b, byName, ofKey)
		}
	})
}

// FuzzGrantRecords decodes records of grants, and pages of them as decisions do:
// what is taken encodes to the same bytes.
func FuzzGrantRecords(f *testing.F) {
	small := &authz.Grant{
		ID: strings.Repeat("0a", 32), Grantee: "AIDAU", GranteeARN: "arn:aws:iam::" + account + ":user/u", Issuer: account,
		Operations: []string{"Decrypt"}, Created: start, Effective: start,
	}
	large := *small
	large.Name, large.Retiring, large.RetiringARN, large.SourceARN = "n", "AROAR", "arn:aws:iam::"+account+":role/r", "arn:aws:s3:::b"
	large.Operations, large.Effective = []string{"Encrypt", "Decrypt", "CreateGrant"}, start.Add(time.Minute)
	large.Equals = wire.StringMap{{Name: "a", Value: "b"}, {Name: "c"}}
	large.Subset = wire.StringMap{{Name: "a", Value: "\u00e9"}}
	for _, grants := range [][]*authz.Grant{{small}, {&large}, {small, &large, small}, nil} {
		one, page, err := keyring.GrantRecords(300, grants...)
		if err != nil {
			f.Fatal(err)
		}
		if again, _ := keyring.DecodeGrantRecords(one); one != nil && !bytes.Equal(again, one) {
			f.Fatalf("%x comes back as %x", one, again)
		}
		if bodies, cost, err := keyring.DecidingGrants(page); err != nil || len(bodies) != len(grants) || cost < len(page) {
			f.Fatalf("%x has %d grants, and costs %d: %v", page, len(bodies), cost, err)
		}
		f.Add(one)
		f.Add(page)
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		one, page := keyring.DecodeGrantRecords(b)
		if one != nil && !bytes.Equal(one, b) || page != nil && !bytes.Equal(page, b) {
			t.Fatalf("%x comes back as %x and %x", b, one, page)
		}
		bodies, cost, err := keyring.DecidingGrants(b)
		if err != nil {
			return
		}
		if page == nil {
			t.Fatalf("decisions take %x, and changes don't", b)
		}
		n := 0
		for _, body := range bodies {
			if !bytes.Contains(b, body) {
				t.Fatalf("the grant %x is not in %x", body, b)
			}
			n += len(body)
		}
		if n > len(b) || cost <= 0 {
			t.Fatalf("%x has %d bytes of grants, and costs %d", b, n, cost)
		}
	})
}

// Records from before key policies could name anybody are read as they were.
func TestOldKeyRecord(t *testing.T) {
	for _, tt := range []struct{ name, hex, policy string }{
		{"default policy", "01" + "01" + "01" + "01" + "01", keyring.DefaultPolicy(region, account)},
		{"another policy", "01" + "01" + "01" + "01" + "00", `{"Version":"2012-10-17"}`},
	} {
		b, err := hex.DecodeString(tt.hex + strings.Repeat("0a", 32) + "80e8e8ad8634" + "00" + "03" + "0178" + "00" + "00")
		if err != nil {
			t.Fatal(err)
		}
		if tt.name != "default policy" {
			b = append(append(b, byte(len(tt.policy))), tt.policy...)
		}
		m, err := keyring.DecodeKeyRecord(someKey, b)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if m.Policy != tt.policy || m.Bindings != nil || m.Aliases != 3 || m.Description != "x" || m.State != keyring.Enabled {
			t.Errorf("%s: %+v", tt.name, m)
		}
	}
}
