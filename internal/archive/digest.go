package archive

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// SignatureAlgorithm is how digests are signed: RSASSA-PKCS1-v1_5 with
// SHA-256 (RFC 8017). On S3 it stands in the metadata "signature-algorithm" of
// a digest file, beside "signature".
const SignatureAlgorithm = "SHA256withRSA"

const hashAlgorithm = "SHA-256"

// Digest is what a digest file says: which log files one account and Region
// got in a time, and what the digest before it was.
//
// Source: CloudTrail User Guide, "CloudTrail digest file structure" and
// "Custom implementations of CloudTrail log file integrity validation"; and
// what the AWS CLI's validate-logs takes.
type Digest struct {
	Scope    Scope
	Bucket   string
	Trail    string // the trail's name
	Home     string // the trail's home Region
	Start    time.Time
	End      time.Time // in whole seconds
	Previous *Link     // nil in the first digest of a chain
	Files    []LogFile
}

// LogFile is a log file, as a digest lists it.
type LogFile struct {
	Bucket string
	Object string
	Hash   string    // SHA-256 of what it holds, uncompressed, in hex
	Oldest time.Time // event times, in whole seconds
	Newest time.Time
}

// Link is what the next digest of a chain says of a digest.
type Link struct {
	Bucket    string `json:"bucket"`
	Object    string `json:"object"`
	Hash      string `json:"hash"`      // SHA-256 of the digest, uncompressed, in hex
	Signature string `json:"signature"` // in hex
}

// SignedDigest is a digest file.
type SignedDigest struct {
	Object    string // its name
	Body      []byte // its bytes, compressed
	Signature string // in hex; see [SignatureAlgorithm]
	Link      Link   // for the digest after it
}

// Key signs digests. Its public key is an RSA key.
type Key struct {
	Fingerprint string // see [Fingerprint]
	Signer      crypto.Signer
}

// Fingerprint returns how digests name a public key, which is given as
// PKCS #1 in DER: 32 hex digits. AWS does not say what its own are made of; these
// are the first half of the SHA-256.
func Fingerprint(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:16])
}

// digestJSON is a digest as it is written.
type digestJSON struct {
	Account           string        `json:"awsAccountId"`
	Start             string        `json:"digestStartTime"`
	End               string        `json:"digestEndTime"`
	Bucket            string        `json:"digestS3Bucket"`
	Object            string        `json:"digestS3Object"`
	Fingerprint       string        `json:"digestPublicKeyFingerprint"`
	Algorithm         string        `json:"digestSignatureAlgorithm"`
	Newest            *string       `json:"newestEventTime"`
	Oldest            *string       `json:"oldestEventTime"`
	PreviousBucket    *string       `json:"previousDigestS3Bucket"`
	PreviousObject    *string       `json:"previousDigestS3Object"`
	PreviousHash      *string       `json:"previousDigestHashValue"`
	PreviousAlgorithm *string       `json:"previousDigestHashAlgorithm"`
	PreviousSignature *string       `json:"previousDigestSignature"`
	Files             []logFileJSON `json:"logFiles"`
}

type logFileJSON struct {
	Bucket    string `json:"s3Bucket"`
	Object    string `json:"s3Object"`
	Hash      string `json:"hashValue"`
	Algorithm string `json:"hashAlgorithm"`
	Newest    string `json:"newestEventTime"`
	Oldest    string `json:"oldestEventTime"`
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Object returns the name of the digest file.
func (d *Digest) Object() string { return d.Scope.DigestObject(d.Trail, d.Home, d.End) }

// Sign makes the digest file. The same digest and key make the same bytes.
func (d *Digest) Sign(key Key) (*SignedDigest, error) {
	if _, ok := key.Signer.Public().(*rsa.PublicKey); !ok {
		return nil, errors.New("archive: digests are signed with RSA keys only")
	}
	object := d.Object()
	j := digestJSON{
		Account: d.Scope.Account, Start: stamp(d.Start), End: stamp(d.End), Bucket: d.Bucket, Object: object,
		Fingerprint: key.Fingerprint, Algorithm: SignatureAlgorithm, Files: make([]logFileJSON, len(d.Files)),
	}
	var oldest, newest time.Time
	for i, f := range d.Files {
		j.Files[i] = logFileJSON{Bucket: f.Bucket, Object: f.Object, Hash: f.Hash, Algorithm: hashAlgorithm, Newest: stamp(f.Newest), Oldest: stamp(f.Oldest)}
		if i == 0 || f.Oldest.Before(oldest) {
			oldest = f.Oldest
		}
		if i == 0 || f.Newest.After(newest) {
			newest = f.Newest
		}
	}
	if len(d.Files) > 0 {
		o, n := stamp(oldest), stamp(newest)
		j.Oldest, j.Newest = &o, &n
	}
	if p := d.Previous; p != nil {
		algorithm := hashAlgorithm
		j.PreviousBucket, j.PreviousObject, j.PreviousHash, j.PreviousAlgorithm, j.PreviousSignature = &p.Bucket, &p.Object, &p.Hash, &algorithm, &p.Signature
	}
	text, err := json.Marshal(&j)
	if err != nil {
		return nil, fmt.Errorf("archive: encoding a digest: %w", err)
	}
	hash := sha256.Sum256(text)
	toSign := sha256.Sum256(stringToSign(&j, hash))
	// This kind of signature draws no randomness, but a device may want some.
	signature, err := key.Signer.Sign(rand.Reader, toSign[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("archive: signing a digest: %w", err)
	}
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, err = z.Write(text)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("archive: compressing a digest: %w", err)
	}
	s := &SignedDigest{Object: object, Body: body.Bytes(), Signature: hex.EncodeToString(signature)}
	s.Link = Link{Bucket: d.Bucket, Object: object, Hash: hex.EncodeToString(hash[:]), Signature: s.Signature}
	return s, nil
}

// stringToSign returns what is signed of a digest that has this hash.
func stringToSign(j *digestJSON, hash [sha256.Size]byte) []byte {
	previous := "null" // as the first implementation, in Java, printed it
	if j.PreviousSignature != nil {
		previous = *j.PreviousSignature
	}
	return []byte(j.End + "\n" + j.Bucket + "/" + j.Object + "\n" + hex.EncodeToString(hash[:]) + "\n" + previous)
}

// maxDigest bounds a digest file, in bytes before compression: some 250,000
// log files.
const maxDigest = 96 << 20

// A readDigest is a digest file that was read.
type readDigest struct {
	json       digestJSON
	start, end time.Time
	hash       [sha256.Size]byte
}

// parseDigest reads a digest file's bytes. It checks the form, and no
// signature.
func parseDigest(body []byte) (*readDigest, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxDigest+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	case len(text) > maxDigest:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFormat, maxDigest)
	}
	d := &readDigest{hash: sha256.Sum256(text)}
	if err := json.Unmarshal(text, &d.json); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	j := &d.json
	for _, t := range []struct {
		text string
		time *time.Time
	}{{j.Start, &d.start}, {j.End, &d.end}} {
		if *t.time, err = time.Parse("2006-01-02T15:04:05Z", t.text); err != nil {
			return nil, fmt.Errorf("%w: %q is no time of a digest", ErrFormat, t.text)
		}
	}
	previous := 0
	for _, p := range []*string{j.PreviousBucket, j.PreviousObject, j.PreviousHash, j.PreviousAlgorithm, j.PreviousSignature} {
		if p != nil {
			previous++
		}
	}
	switch {
	case j.Algorithm != SignatureAlgorithm:
		return nil, fmt.Errorf("%w: signature algorithm %q", ErrFormat, j.Algorithm)
	case previous != 0 && previous != 5:
		return nil, fmt.Errorf("%w: it says half of what it should of the digest before", ErrFormat)
	case previous != 0 && *j.PreviousAlgorithm != hashAlgorithm:
		return nil, fmt.Errorf("%w: hash algorithm %q", ErrFormat, *j.PreviousAlgorithm)
	}
	for _, f := range j.Files {
		if f.Algorithm != hashAlgorithm {
			return nil, fmt.Errorf("%w: hash algorithm %q", ErrFormat, f.Algorithm)
		}
	}
	return d, nil
}

// link returns what the digest after this one must say of it.
func (d *readDigest) link(signature string) Link {
	return Link{Bucket: d.json.Bucket, Object: d.json.Object, Hash: hex.EncodeToString(d.hash[:]), Signature: signature}
}

// previous returns what the digest says of the one before it; nil if it is the
// first of a chain.
func (d *readDigest) previous() *Link {
	j := &d.json
	if j.PreviousObject == nil {
		return nil
	}
	return &Link{Bucket: *j.PreviousBucket, Object: *j.PreviousObject, Hash: *j.PreviousHash, Signature: *j.PreviousSignature}
}

// verify checks a signature, in hex.
func (d *readDigest) verify(key *rsa.PublicKey, signature string) bool {
	raw, err := hex.DecodeString(strings.TrimSpace(signature))
	if err != nil {
		return false
	}
	toSign := sha256.Sum256(stringToSign(&d.json, d.hash))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, toSign[:], raw) == nil
}

// PublicKey is the public half of a key that signs digests. Each Region has
// keys of its own.
type PublicKey struct {
	Region      string    `json:"region"`
	Fingerprint string    `json:"fingerprint"`
	Value       []byte    `json:"value"` // PKCS #1, DER; base64 in JSON
	Start       time.Time `json:"start"` // the first digest it signs ends no earlier
	End         time.Time `json:"end"`   // every digest it signs ends before
}

// rsaKey returns the key itself. An error if it is none that can verify
// digests.
func (p *PublicKey) rsaKey() (*rsa.PublicKey, error) {
	key, err := x509.ParsePKCS1PublicKey(p.Value)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", p.Fingerprint, err)
	}
	if key.Size() < 2048/8 {
		return nil, fmt.Errorf("public key %s: it has fewer than 2048 bits", p.Fingerprint)
	}
	return key, nil
}
