package archive_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
)

func TestNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 23, 4, 5, 0, time.FixedZone("", -3600))
	for _, tt := range []struct {
		scope archive.Scope
		log   string
		dig   string
	}{
		{
			archive.Scope{Account: accountA, Region: region},
			"AWSLogs/111122223333/CloudTrail/eu-central-1/2026/01/03/111122223333_CloudTrail_eu-central-1_20260103T0004Z_0123456789abcdef.json.gz",
			"AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/01/03/111122223333_CloudTrail-Digest_eu-central-1_my_trail_us-east-1_20260103T000405Z.json.gz",
		},
		{
			archive.Scope{Prefix: "a/AWSLogs", Organization: "o-abc", Account: accountA, Region: region},
			"a/AWSLogs/AWSLogs/o-abc/111122223333/CloudTrail/eu-central-1/2026/01/03/111122223333_CloudTrail_eu-central-1_20260103T0004Z_0123456789abcdef.json.gz",
			"a/AWSLogs/AWSLogs/o-abc/111122223333/CloudTrail-Digest/eu-central-1/2026/01/03/111122223333_CloudTrail-Digest_eu-central-1_my_trail_us-east-1_20260103T000405Z.json.gz",
		},
	} {
		if got := tt.scope.LogObject(at, "0123456789abcdef"); got != tt.log {
			t.Errorf("LogObject = %s, want %s", got, tt.log)
		}
		if got := tt.scope.DigestObject("my_trail", other, at); got != tt.dig {
			t.Errorf("DigestObject = %s, want %s", got, tt.dig)
		}
		for _, object := range []string{tt.log, tt.dig} {
			if again, _, ok := archive.ParseObject(object); !ok || again != object {
				t.Errorf("%s is parsed as %s, %v", object, again, ok)
			}
		}
	}
}

func FuzzObjectName(f *testing.F) {
	f.Add("AWSLogs/111122223333/CloudTrail/eu-central-1/2026/01/03/111122223333_CloudTrail_eu-central-1_20260103T0004Z_0123456789abcdef.json.gz")
	f.Add("p/AWSLogs/o-abc/111122223333/CloudTrail-Digest/eu-central-1/2026/01/03/111122223333_CloudTrail-Digest_eu-central-1_a_b_us-east-1_20260103T000405Z.json.gz")
	f.Add("AWSLogs//////AWSLogs/")
	f.Fuzz(func(t *testing.T, object string) {
		if again, _, ok := archive.ParseObject(object); ok && again != object {
			t.Errorf("%q is parsed as the name %q", object, again)
		}
	})
}

// record returns a record of about that many bytes.
func aRecord(i, size int) []byte {
	return fmt.Appendf(nil, `{"n":%d,"text":"%s\"}]}"}`, i, strings.Repeat("ab", size/2))
}

func TestLogWriter(t *testing.T) {
	for name, sizes := range map[string][]int{
		"none":           {},
		"one":            {100},
		"several blocks": slices.Repeat([]int{700, 9000, 20}, 100),
		"long records":   {200_000, 10, 300_000, 131_072, 131_000, 60},
	} {
		t.Run(name, func(t *testing.T) {
			var first []byte
			w := archive.NewLogWriter(io.Discard)
			for range 2 { // a writer is used again, and makes the same bytes
				var file bytes.Buffer
				w.Reset(&file)
				var records [][]byte
				var places []archive.Place
				for i, size := range sizes {
					r := aRecord(i, size)
					p, err := w.Add(r)
					if err != nil {
						t.Fatal(err)
					}
					records, places = append(records, r), append(places, p)
				}
				if w.Records() != len(sizes) {
					t.Errorf("Records = %d", w.Records())
				}
				size, hash, err := w.Close()
				if err != nil || size != int64(file.Len()) {
					t.Fatalf("Close: %d, %v; %d bytes were written", size, err, file.Len())
				}
				if first == nil {
					first = slices.Clone(file.Bytes())
				} else if !bytes.Equal(first, file.Bytes()) {
					t.Error("the same records make other bytes the second time")
				}
				want := `{"Records":[` + string(bytes.Join(records, []byte(","))) + `]}`
				text := unzip(t, file.Bytes())
				if string(text) != want {
					t.Errorf("the file holds %.200s, want %.200s", text, want)
				}
				if hash != sha256.Sum256(text) {
					t.Error("the hash is not that of what the file holds")
				}
				i := 0
				for r, err := range archive.Records(&file) {
					if err != nil || !bytes.Equal(r, records[i]) {
						t.Fatalf("record %d is read as %.100s, %v", i, r, err)
					}
					i++
				}
				if i != len(records) {
					t.Errorf("%d records are read, want %d", i, len(records))
				}
				for i, p := range places {
					z := flate.NewReader(bytes.NewReader(first[p.Block:]))
					if _, err := io.CopyN(io.Discard, z, int64(p.Start)); err != nil {
						t.Fatalf("record %d at %+v: %v", i, p, err)
					}
					got := make([]byte, len(records[i]))
					if _, err := io.ReadFull(z, got); err != nil || !bytes.Equal(got, records[i]) {
						t.Fatalf("record %d at %+v is %.100s, %v", i, p, got, err)
					}
					if p.Start > 128<<10 {
						t.Errorf("%d bytes have to be read before record %d", p.Start, i)
					}
				}
			}
		})
	}
}

// failing is a writer that fails after some bytes.
type failing struct{ left int }

var errFull = errors.New("no space")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestLogWriterFails(t *testing.T) {
	for _, left := range []int{0, 10, 200} {
		w := archive.NewLogWriter(&failing{left})
		for i := range 1000 {
			if _, err := w.Add(aRecord(i, 1000)); err != nil {
				break
			}
		}
		if _, _, err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("Close with room for %d bytes: %v", left, err)
		}
	}
	w := archive.NewLogWriter(io.Discard)
	if _, _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(aRecord(1, 10)); err == nil {
		t.Error("a record was added to a file that is closed")
	}
}

func TestRecords(t *testing.T) {
	long := `{"Records":[{"a":"` + strings.Repeat("x", archive.MaxRecord) + `"}]}`
	for _, tt := range []struct {
		text    string
		records []string
		ok      bool
	}{
		{`{"Records":[]}`, nil, true},
		{"\n { \"Records\" :\t[ {} , {\"a\":[1,{\"b\":\"]}\\\\\"}]} ] } \n", []string{"{}", `{"a":[1,{"b":"]}\\"}]}`}, true},
		{`{"Records":[{"a":1}]}`, []string{`{"a":1}`}, true},
		{`{"Records":[{}`, []string{"{}"}, false},
		{`{"Records":[{},`, []string{"{}"}, false},
		{`{"Records":[{},]}`, []string{"{}"}, false},
		{`{"Records":[{} {}]}`, []string{"{}"}, false},
		{`{"Records":[{}]}x`, []string{"{}"}, false},
		{`{"Records":[{}]`, []string{"{}"}, false},
		{`{"Records":[{}],"more":1}`, []string{"{}"}, false},
		{`{"Records":[1]}`, nil, false},
		{`{"Records":[{"a"]}]}`, nil, false},
		{`{"Records":[{"a":}]}`, nil, false},
		{`{"records":[]}`, nil, false},
		{`[]`, nil, false},
		{``, nil, false},
		{long, nil, false},
	} {
		var got []string
		var failed error
		for r, err := range archive.Records(bytes.NewReader(zip(t, []byte(tt.text)))) {
			if err != nil {
				failed = err
				continue
			}
			got = append(got, string(r))
		}
		if !slices.Equal(got, tt.records) || (failed == nil) != tt.ok {
			t.Errorf("Records(%.60s) = %q, %v", tt.text, got, failed)
		}
		if failed != nil && !errors.Is(failed, archive.ErrFormat) {
			t.Errorf("Records(%.60s): %v, which is no ErrFormat", tt.text, failed)
		}
	}
	for r, err := range archive.Records(strings.NewReader("no gzip")) {
		if !errors.Is(err, archive.ErrFormat) {
			t.Errorf("Records of what is no gzip: %s, %v", r, err)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"Records":[{"a":[1,{"b":"]}\\"}]},{}]}`), true)
	f.Add([]byte{0x1f, 0x8b}, false)
	f.Fuzz(func(t *testing.T, text []byte, zipped bool) {
		if zipped {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(text)
			_ = z.Close()
			text = b.Bytes()
		}
		var file struct{ Records []json.RawMessage }
		var got []string
		var failed error
		for r, err := range archive.Records(bytes.NewReader(text)) {
			if err != nil {
				failed = err
				continue
			}
			if !json.Valid(r) {
				t.Errorf("%q is yielded, and is no JSON", r)
			}
			got = append(got, string(r))
		}
		if failed != nil {
			return
		}
		// Whatever is taken, a JSON decoder reads the same from.
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(plain, &file); err != nil {
			t.Fatalf("what is taken is no JSON: %v: %q", err, plain)
		}
		if len(file.Records) != len(got) {
			t.Fatalf("%d records are read, and %d are there: %q", len(got), len(file.Records), plain)
		}
		for i, r := range file.Records {
			if string(r) != got[i] {
				t.Errorf("record %d is read as %q, and is %q", i, got[i], r)
			}
		}
	})
}

func aDigest() archive.Digest {
	return archive.Digest{
		Scope: archive.Scope{Prefix: "logs", Account: accountA, Region: region}, Bucket: "bucket", Trail: "mine", Home: other,
		Start: start, End: start.Add(time.Hour),
		Files: []archive.LogFile{
			{Bucket: "bucket", Object: "logs/b", Hash: "22", Oldest: start.Add(time.Minute), Newest: start.Add(9 * time.Minute)},
			{Bucket: "bucket", Object: "logs/a", Hash: "11", Oldest: start, Newest: start.Add(2 * time.Minute)},
		},
	}
}

// The signature is checked here by what AWS documents, and not by this
// program's own code.
func TestDigestFile(t *testing.T) {
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key := archive.Key{Fingerprint: archive.Fingerprint(x509.MarshalPKCS1PublicKey(&signer.PublicKey)), Signer: signer}
	check := func(s *archive.SignedDigest, previous, end string) {
		t.Helper()
		hash := sha256.Sum256(unzip(t, s.Body))
		toSign := sha256.Sum256([]byte(end + "\nbucket/" + s.Object + "\n" + hex.EncodeToString(hash[:]) + "\n" + previous))
		signature, err := hex.DecodeString(s.Signature)
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPKCS1v15(&signer.PublicKey, crypto.SHA256, toSign[:], signature); err != nil {
			t.Errorf("the signature: %v", err)
		}
		if s.Link != (archive.Link{Bucket: "bucket", Object: s.Object, Hash: hex.EncodeToString(hash[:]), Signature: s.Signature}) {
			t.Errorf("Link = %+v", s.Link)
		}
	}

	d := aDigest()
	first, err := d.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	const object = "logs/AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/11/22/111122223333_CloudTrail-Digest_eu-central-1_mine_us-east-1_20261122T112000Z.json.gz"
	const head = `{"awsAccountId":"111122223333","digestStartTime":"2026-11-22T10:20:00Z","digestEndTime":"2026-11-22T11:20:00Z",` +
		`"digestS3Bucket":"bucket","digestS3Object":"` + object + `","digestPublicKeyFingerprint":"%s","digestSignatureAlgorithm":"SHA256withRSA",`
	want := fmt.Sprintf(head, key.Fingerprint) +
		`"newestEventTime":"2026-11-22T10:29:00Z","oldestEventTime":"2026-11-22T10:20:00Z",` +
		`"previousDigestS3Bucket":null,"previousDigestS3Object":null,"previousDigestHashValue":null,"previousDigestHashAlgorithm":null,"previousDigestSignature":null,` +
		`"logFiles":[{"s3Bucket":"bucket","s3Object":"logs/b","hashValue":"22","hashAlgorithm":"SHA-256","newestEventTime":"2026-11-22T10:29:00Z","oldestEventTime":"2026-11-22T10:21:00Z"},` +
		`{"s3Bucket":"bucket","s3Object":"logs/a","hashValue":"11","hashAlgorithm":"SHA-256","newestEventTime":"2026-11-22T10:22:00Z","oldestEventTime":"2026-11-22T10:20:00Z"}]}`
	if got := string(unzip(t, first.Body)); got != want || first.Object != object || d.Object() != object {
		t.Errorf("the digest %s is\n%s\nwant\n%s", first.Object, got, want)
	}
	check(first, "null", "2026-11-22T11:20:00Z")
	if end, files, err := archive.ParseDigest(first.Body); err != nil || files != 2 || !end.Equal(d.End) {
		t.Errorf("it is read as one of %v with %d files, %v", end, files, err)
	}
	if again, err := d.Sign(key); err != nil || !bytes.Equal(again.Body, first.Body) || again.Signature != first.Signature {
		t.Errorf("the same digest is another one the second time: %v", err)
	}

	next := aDigest()
	next.Start, next.End, next.Previous, next.Files = d.End, d.End.Add(time.Hour), &first.Link, nil
	second, err := next.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	check(second, first.Signature, "2026-11-22T12:20:00Z")
	for _, member := range []string{
		`"newestEventTime":null,"oldestEventTime":null`, `"previousDigestS3Bucket":"bucket"`, `"previousDigestS3Object":"` + object + `"`,
		`"previousDigestHashValue":"` + first.Link.Hash + `"`, `"previousDigestHashAlgorithm":"SHA-256"`, `"previousDigestSignature":"` + first.Signature + `"`, `"logFiles":[]`,
	} {
		if text := string(unzip(t, second.Body)); !strings.Contains(text, member) {
			t.Errorf("the second digest does not say %s:\n%s", member, text)
		}
	}

	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Sign(archive.Key{Signer: curve}); err == nil {
		t.Error("a key that is no RSA key signs a digest")
	}
}

func TestMalformedDigests(t *testing.T) {
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	d := aDigest()
	signed, err := d.Sign(archive.Key{Fingerprint: "f", Signer: signer})
	if err != nil {
		t.Fatal(err)
	}
	text := string(unzip(t, signed.Body))
	for _, change := range [][2]string{
		{"SHA256withRSA", "MD5withRSA"},
		{`"hashAlgorithm":"SHA-256"`, `"hashAlgorithm":"MD5"`},
		{`"digestEndTime":"2026-11-22T11:20:00Z"`, `"digestEndTime":"now"`},
		{`"digestStartTime":"2026-11-22T10:20:00Z"`, `"digestStartTime":1`},
		{`"previousDigestS3Bucket":null`, `"previousDigestS3Bucket":"b"`},
		{`]}`, `]`},
		{`{"awsAccountId"`, `[`},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatalf("nothing was changed: %s", change[0])
		}
		if _, _, err := archive.ParseDigest(zip(t, []byte(changed))); !errors.Is(err, archive.ErrFormat) {
			t.Errorf("%s instead of %s: %v, want ErrFormat", change[1], change[0], err)
		}
	}
}

func FuzzDigest(f *testing.F) {
	f.Add([]byte(`{"awsAccountId":"111122223333","digestStartTime":"2026-11-22T10:20:00Z","digestEndTime":"2026-11-22T11:20:00Z","digestSignatureAlgorithm":"SHA256withRSA","logFiles":[{"hashAlgorithm":"SHA-256"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if end, _, err := archive.ParseDigest(zip(t, text)); err == nil && end.IsZero() && !bytes.Contains(text, []byte("0001-01-01")) {
			t.Errorf("a digest without an end is taken: %q", text)
		}
		if _, _, err := archive.ParseDigest(text); err != nil && !errors.Is(err, archive.ErrFormat) {
			t.Errorf("%v, which is no ErrFormat", err)
		}
	})
}
