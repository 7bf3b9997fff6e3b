package rolesanywhere_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/rolesanywhere"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// FuzzInput reads a query and a body as the input of CreateSession. What is
// taken has what a session needs, and can be recorded.
func FuzzInput(f *testing.F) {
	const all = `{"trustAnchorArn":"arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/a","profileArn":"p","roleArn":"r","roleSessionName":"ab","sessionName":"","durationSeconds":900,"instanceProperties":{"a":"b"}}`
	f.Add("", []byte(all))
	f.Add("profileArn=p&roleArn=r&trustAnchorArn=t&durationSeconds=43200", []byte(nil))
	f.Add("profileArn=p&roleArn=other", []byte(all))
	f.Add("profileArn=p&profileArn=p", []byte(`{}`))
	f.Add("durationSeconds=99999999999999999999&%zz", []byte(`{"durationSeconds":1e400,"roleArn":null}`))
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		in, err := rolesanywhere.Read(query, body)
		if err != nil {
			if code := wire.AsError(err).Code; code != "SerializationException" && code != "ValidationException" {
				t.Fatalf("%v", err)
			}
			return
		}
		record := in.AppendAudit(nil)
		var got struct {
			TrustAnchorARN, ProfileARN, RoleARN string
			DurationSeconds                     *int32
		}
		if err := json.Unmarshal(record, &got); err != nil || got.TrustAnchorARN == "" || got.ProfileARN == "" || got.RoleARN == "" ||
			got.DurationSeconds != nil && (*got.DurationSeconds < 900 || *got.DurationSeconds > 43200) {
			t.Fatalf("recorded as %s, %v", record, err)
		}
		// What was taken of both is taken of a body alone.
		if again, err := rolesanywhere.Read("", record); err != nil || !bytes.Equal(again.AppendAudit(nil), record) {
			t.Fatalf("%s: %v", record, err)
		}
	})
}

// FuzzList reads a revocation list. Only one that the issuer has signed is its
// own, whatever it says.
func FuzzList(f *testing.F) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	// The same key in every process that fuzzes.
	root := issue(nil, must(ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))), authority("Fleet", now))
	for _, list := range [][]byte{
		crl(root, now, now.Add(time.Hour)), crl(root, now, now.Add(time.Hour), 1, 127, 128, 1<<40),
		crl(issue(nil, newP256(), authority("Fleet", now)), now, now.Add(time.Hour), 7),
		crl(issue(nil, newP256(), authority("Other", now)), now.Add(-2*time.Hour), now.Add(-time.Hour), 7),
	} {
		b, _ := pem.Decode(list)
		f.Add(b.Bytes)
	}
	f.Add([]byte{0x30, 0x80, 0x30})
	f.Fuzz(func(t *testing.T, der []byte) {
		revoked, its, err := rolesanywhere.ReadList(der, root.cert)
		if its && err != nil || revoked > len(der) {
			t.Errorf("%d revoked, its own %t, %v", revoked, its, err)
		}
		l, parsed := x509.ParseRevocationList(der)
		if its && (parsed != nil || l.CheckSignatureFrom(root.cert) != nil || !bytes.Equal(l.RawIssuer, root.cert.RawSubject)) {
			t.Errorf("a list of somebody else is taken for the issuer's: %x", der)
		}
	})
}
